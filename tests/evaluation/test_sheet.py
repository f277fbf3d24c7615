"""A sheet shows each image, the answer to it and where the network looked."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from signjax.errors import InputError
from signjax.evaluation import plots, sheet
from signjax.evaluation.sheet import check_sheet, write_sheet
from signjax.runtime.console import Console

ANSWERS = [
    {
        "path": f"/some/folder/{name}.jpg",
        "label": label,
        "likeliest": "<b>",
        "confidence": 0.625,
    }
    for name, label in (("a/caf\udce9", "<b>"), ("b/second", None))
]
# Its second logit is the brightness of a corner.
SAID: dict[str, Any] = {"classes": ("a", "<b>"), "model": "cnn", "note": "beware"}
IMAGES = np.full((2, 32, 32, 3), 60, np.uint8)
IMAGES[:, 4:8, 20:24] = 250


def corner_logits(images: np.ndarray) -> np.ndarray:
    bright = images[:, 4:8, 20:24].mean((1, 2, 3)) / 50
    return np.stack([0 * bright, bright], axis=1)


def write(path: Path, answers: list[dict[str, Any]] = ANSWERS) -> None:
    images = IMAGES[np.arange(len(answers)) % 2]
    write_sheet(path, answers, images, corner_logits, Console(), **SAID)


def drawn(folder: Path, *names: str) -> np.ndarray:
    """The PNG of pictures of these names, as pixels."""
    write(folder / "x.png", [ANSWERS[0] | {"path": name} for name in names])
    with Image.open(folder / "x.png") as image:
        return np.asarray(image)


def test_a_page_names_each_image_with_its_answer(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    write(tmp_path / "sheet.html")
    page = " ".join((tmp_path / "sheet.html").read_text().split())
    for told in (">b/second.jpg<br><strong>unsure</strong>", "likeliest &lt;b&gt;"):
        assert told in page
    assert "<strong>&lt;b&gt;</strong>, confidence 0.625" in page
    assert r">a/caf\udce9.jpg<br>" in page and "folder" not in page
    assert "beware" in page
    assert page.count("<img") == 4


def test_a_picture_has_the_image_and_red_where_the_network_looked(
    tmp_path: Path,
) -> None:
    same = [answer | {"path": "1.jpg"} for answer in ANSWERS]
    write(tmp_path / "sheet.png", same * 9)  # more than are covered at once
    with Image.open(tmp_path / "sheet.png") as image:
        pixels = np.asarray(image).astype(int)
    assert pixels.shape == (5 * 176, 4 * 280, 3)
    seen, looked = pixels[8:136, 8:136], pixels[8:136, 144:272]
    assert (seen[::4, ::4] == IMAGES[0]).all()
    red = looked[..., 0] - looked[..., 1]
    assert red[20:28, 84:92].min() > 100 > red[100:, :60].max() == 0
    assert (pixels[140:170, 8:100] < 100).any()  # the words
    assert (pixels[-170:, 560:] == 255).all()  # two tiles in the last row


def test_what_cannot_be_made_is_told_before_any_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_sheet("a/sheet.png")
    with pytest.raises(InputError, match="ends in .html or .png"):
        check_sheet("sheet.jpg")
    monkeypatch.setattr(plots, "available", lambda: False)
    with pytest.raises(InputError, match="--sheet=sheet.png"):
        check_sheet("sheet.html")


def test_a_page_holds_no_image_larger_than_it_shows(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    large, page = np.zeros((1, 512, 512, 3), np.uint8), tmp_path / "sheet.html"
    write_sheet(
        page, ANSWERS[:1], large, corner_logits, Console(), looked=large, **SAID
    )
    assert page.read_text().count('width="256" height="256"') == 2


def test_letters_of_a_name_are_drawn_or_stand_as_escapes_which_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    for name in ("é.jpg", "Жук.jpg", "صورة.jpg")[: 2 + sheet.features.check("raqm")]:
        escaped = name.encode("unicode_escape").decode()
        assert not np.array_equal(drawn(tmp_path, name), drawn(tmp_path, escaped))
    assert capsys.readouterr().err == ""
    for name in ("日本.jpg", "a\nb\udce9.jpg"):
        escaped = name.encode("unicode_escape").decode()
        np.testing.assert_array_equal(drawn(tmp_path, name), drawn(tmp_path, escaped))
    (line,) = capsys.readouterr().err.splitlines()
    assert r"x.png: letters that cannot be drawn are escapes there, as \u65e5" in line
    assert line.endswith("--sheet=" + str(tmp_path / "x.html") + " shows them")


def test_letters_that_would_stand_reversed_are_escapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheet.features, "check", lambda feature: False)
    found, escaped = drawn(tmp_path, "ה.jpg"), drawn(tmp_path, r"\u05d4.jpg")
    np.testing.assert_array_equal(found, escaped)


def test_a_long_name_is_drawn_whole(tmp_path: Path) -> None:
    name = "a long name " * 20
    first, second = (drawn(tmp_path, name + end) for end in ("a.jpg", "b.jpg"))
    assert (first != second).any()
    assert len(first) > len(drawn(tmp_path, "a.jpg"))
