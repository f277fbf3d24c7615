"""The report is one whole page: it parses, loads nothing and shows what it is told."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from signjax.evaluation.metrics import reliability, score, softmax
from signjax.evaluation.page import Mistake, Report, overlay, render

pytest.importorskip("matplotlib")


class Page(HTMLParser):
    """Collects text and attributes; fails where a tag is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.addresses: list[str | None] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        assert tag not in ("script", "link", "iframe")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def report(mistakes: int = 2, records: int = 3) -> Report:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(40, 3))
    labels = np.arange(40) % 3
    image = rng.integers(0, 256, (48, 48, 3)).astype(np.uint8)
    heat = rng.normal(size=(48, 48))
    return Report(
        title="cnn <b> & co",
        numbers={"accuracy": "0.5, 95% interval 0.3 to 0.6"},
        scores=score(logits, labels, ["cat", "<dog>", "$\\x{$"]),
        reliability={"as trained": reliability(softmax(logits), labels)},
        records=[
            {"epoch": i + 1, "step": i, "train_loss": 1.0, "train_accuracy": 0.5}
            for i in range(records)
        ],
        mistakes=[Mistake(image, heat, "cat", "<dog>", 0.9, 0.05)] * mistakes,
        audit=["LEAK: a & b"],
        config={"train": {"epochs": 77}},
        versions={"jax": "1.2.3"},
        data={"sha256": "abcdef"},
    )


def parse(text: str) -> Page:
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    return page


def test_the_page_is_whole_and_says_everything() -> None:
    page = parse(render(report()))
    wanted = ("cnn <b> & co", "0.3 to 0.6", "<dog>", "LEAK: a & b", '"epochs": 77')
    for text in (*wanted, "1.2.3", "abcdef", "cat taken for <dog>, confidence 0.900"):
        assert text in page.text
    assert len(page.images) == 3 + 2 * 2
    for address in page.addresses:
        found = re.fullmatch("data:image/png;base64,(.+)", address or "")
        assert found
        with Image.open(io.BytesIO(base64.b64decode(found[1]))) as image:
            image.load()
    # Small pictures are shown enlarged by whole pixels.
    assert {image.get("width") for image in page.images[3:]} == {"144"}


def test_without_mistakes_or_curves_it_says_so() -> None:
    page = parse(render(report(mistakes=0, records=0)))
    assert "There is none" in page.text
    assert "holds no metrics" in page.text
    assert len(page.images) == 2


def test_the_picture_of_a_mistake_is_that_of_the_network() -> None:
    text = render(report(mistakes=1, records=0))
    shown = re.findall(r'base64,([^"]+)"', text)[2]
    with Image.open(io.BytesIO(base64.b64decode(shown))) as image:
        np.testing.assert_array_equal(np.asarray(image), report().mistakes[0].image)


def test_heat_is_red_and_the_rest_is_grey() -> None:
    image = np.full((2, 2, 3), 100, np.uint8)
    mixed = overlay(image, np.array([[2.0, 1.0], [0.0, -5.0]])).astype(int)
    red = mixed[..., 0] - mixed[..., 1]
    assert red[0, 0] > red[0, 1] > 30
    assert red[1].tolist() == [0, 0]
    assert (overlay(image, np.zeros((2, 2))) == overlay(image, -np.ones((2, 2)))).all()
