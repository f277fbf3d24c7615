"""The report is one whole page: it parses, loads nothing and shows what it is told."""

import base64
import html
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from signjax.evaluation.metrics import score, selective_accuracy, softmax
from signjax.evaluation.page import render
from signjax.evaluation.report import confusion_list

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
from signjax.evaluation.plots import learning_curves_svg  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Page(HTMLParser):
    """Collects text and images; fails where a tag is closed that is not open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "iframe")
        if tag == "img":
            self.images.append(dict(attrs))
        elif tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        pass  # of SVG

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def report(mistakes: int = 2, epochs: int = 3) -> dict[str, Any]:
    """What `gather` returns, of names that are markup."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(40, 3))
    labels = np.arange(40) % 3
    probabilities = softmax(logits)
    selective = selective_accuracy(probabilities, labels, 0.5)
    calibrated = {"selective": selective, "ece": 0.1, "held_out": {"count": 77}}
    records = [
        {"epoch": i + 1, "train_loss": 1.0, "train_accuracy": 0.5}
        for i in range(epochs)
    ]
    mistake = {
        "name": "photos/7.png",
        "image": rng.integers(0, 256, (48, 48, 3)).astype(np.uint8),
        "looked": rng.integers(0, 256, (48, 48, 3)).astype(np.uint8),
        "true": "cat",
        "predicted": "<dog>",
        "confidence": 0.9,
        "likelihood": 0.05,
    }
    return {
        "title": "cnn <b> & co",
        "facts": {"device": "1 x cpu"},
        "numbers": {"accuracy": "0.5, 95% interval 0.3 to 0.6", "KNOWN": "5 known"},
        "scores": score(logits, labels, ["cat", "<dog>", "a\udce9"])
        | {"calibrated": calibrated, "trained_on": "synthetic"},
        "curves": learning_curves_svg(records) if records else "",
        "accuracies": {"last_epoch": 0.71, "train": 0.82, "test": 0.63},
        "augmented": [mistake["image"]],
        "confusions": [],
        "reliability": {"as trained": [(0.4, 0.3), (0.8, 0.9)], "<i>": [(0.5, 0.5)]},
        "coverage": [(0.5, 0.9), (1.0, 0.8)],
        "mistakes": [mistake] * mistakes,
        "hands": False,
        "audit": ["LEAK: a & b"],
        "findings": {"train[1] = test[2]": [mistake["image"]] * 2},
        "config": '{"epochs": 77}',
        "versions": {"jax": "1.2.3"},
        "data": {"sha256": "abcdef"},
    }


def test_the_page_is_whole_and_says_everything() -> None:
    told = report()
    text = render("report", told)
    page = Page(text)
    shown = " ".join(page.text.split())
    for wanted in (
        "cnn <b> & co",
        "0.3 to 0.6",
        "synthetic hands",
        "5 known",
        "LEAK: a & b",
        "train[1] = test[2]",
        '"epochs": 77',
        "1.2.3",
        "abcdef",
        "photos/7.png: cat taken for <dog>, confidence 0.900 (of cat: 0.050)",
        "71.0% of the augmented images",
        "82.0% of the trained model",
        "63.0% on the test images",
        "Below a confidence of 0.500 the model abstains",
        "calibrated on 77 held-out images",
    ):
        assert wanted in shown, wanted
    assert len(page.images) == 1 + 2 * 2 + 2
    assert all(image["alt"] for image in page.images)
    # Small images are shown enlarged by whole pixels.
    assert {image["width"] for image in page.images} == {"144"}
    for address in re.findall('(?:src|href)="(.*?)"', text):
        assert re.match("data:image/png;base64,|#", address)
    # That of a mistake, after the augmented ones, is what the network saw.
    pixels = base64.b64decode((page.images[1]["src"] or "").partition(",")[2])
    with Image.open(io.BytesIO(pixels)) as image:
        np.testing.assert_array_equal(np.asarray(image), told["mistakes"][0]["image"])


def test_without_mistakes_curves_or_calibration_it_says_so() -> None:
    told = report(mistakes=0, epochs=0) | {"augmented": [], "accuracies": {}}
    told["findings"] = {}
    told["scores"] |= {"calibrated": None}
    page = Page(render("report", told))
    assert "There is none" in page.text
    assert "holds no metrics" in page.text
    assert page.images == []


def test_many_classes_are_told_by_their_most_frequent_confusions() -> None:
    counts = np.eye(30, dtype=int)
    counts[4, 7], counts[9, 2] = 5, 8
    scores = {"classes": [f"n{i}" for i in range(30)], "confusion": counts.tolist()}
    listed = confusion_list(scores)
    assert listed[:2] == [("n9", "n2", 8), ("n4", "n7", 5)]
    page = Page(render("report", report() | {"confusions": listed}))
    assert "n4n75" in "".join(page.text.split())
    assert confusion_list({"classes": ["a"], "confusion": [[1]]}) == []


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_shows_it_without_an_error(tmp_path: Path, width: int) -> None:
    told = report()
    told["facts"]["command"] = "x" * 300
    told["scores"]["classes"][0] = "a very long name of a class"
    # In a frame, as a window of Chromium is never as narrow as a phone.
    frame = html.escape(render("report", told).encode(errors="replace").decode())
    measure = "document.title = this.contentDocument.documentElement.scrollWidth"
    page = tmp_path / "report.html"
    page.write_text(
        f'<iframe width="{width}" height="900" style="border: 0" srcdoc="{frame}" '
        f'onload="{measure}"></iframe>'
    )
    flags = """--headless --no-sandbox --disable-gpu --no-first-run --disable-sync
        --disable-background-networking --disable-component-update --hide-scrollbars
        --enable-logging=stderr --dump-dom""".split()
    done = subprocess.run(
        [str(CHROMIUM), *flags, f"--user-data-dir={tmp_path / 'user'}", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    (title,) = re.findall("<title>(.*?)</title>", done.stdout.partition("<body>")[0])
    assert title == str(width)
    assert "CONSOLE" not in done.stderr
