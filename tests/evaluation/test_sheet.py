"""A sheet shows each image, the answer to it and where the network looked."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from signjax.errors import InputError
from signjax.evaluation import plots
from signjax.evaluation.sheet import check_sheet, write_sheet

ANSWERS = [
    {
        "path": f"some/folder/{name}.jpg",
        "label": label,
        "likeliest": "<b>",
        "confidence": 0.625,
    }
    for name, label in (("caf\udce9", "<b>"), ("second", None))
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
    write_sheet(path, answers, images, corner_logits, **SAID)


def test_a_page_names_each_image_with_its_answer(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    write(tmp_path / "sheet.html")
    page = " ".join((tmp_path / "sheet.html").read_text().split())
    for told in ("second.jpg<br><strong>unsure</strong>", "likeliest &lt;b&gt;"):
        assert told in page
    assert "<strong>&lt;b&gt;</strong>, confidence 0.625" in page
    assert "beware" in page and "some/folder" not in page
    assert page.count("<img") == 4


def test_a_picture_has_the_image_and_red_where_the_network_looked(
    tmp_path: Path,
) -> None:
    write(tmp_path / "sheet.png", ANSWERS * 9)  # more than are covered at once
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
