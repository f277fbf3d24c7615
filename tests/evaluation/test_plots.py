"""Learning curves as a picture: size, what is drawn where, no global state."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from signjax.evaluation import plots

pytest.importorskip("matplotlib")

BLUE, ORANGE = (0, 114, 178), (213, 94, 0)


def _records(epochs: int, held_out: str = "test") -> list[dict[str, float | None]]:
    return [
        {
            "epoch": epoch,
            "step": 33 * epoch,
            "train_loss": 2 / epoch,
            "train_accuracy": 1 - 0.8 / epoch,
            f"{held_out}_loss": 2.5 / epoch,
            f"{held_out}_accuracy": 0.9 - 0.8 / epoch,
        }
        for epoch in range(1, epochs + 1)
    ]


def _pixels(path: Path) -> np.ndarray:
    """uint8 [675, 1500, 3]"""
    with Image.open(path) as image:
        assert image.format == "PNG" and image.size == (1500, 675)
        return np.asarray(image.convert("RGB"))


def _count(pixels: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((pixels == color).all(axis=-1).sum())


@pytest.mark.parametrize("held_out", ["test", "validation"])
def test_both_splits_are_drawn_where_they_belong(tmp_path, held_out):
    path = tmp_path / "curves.png"
    plots.learning_curves(_records(20, held_out), path, title="cnn on signs")
    pixels = _pixels(path)
    for panel in (pixels[:, :750], pixels[:, 750:]):
        assert _count(panel, BLUE) > 500 and _count(panel, ORANGE) > 500
    column = pixels[:, 1400]  # the last epochs, clear of both legends
    train, test = (np.flatnonzero((column == c).all(-1)).mean() for c in (BLUE, ORANGE))
    assert train < test  # rows count downwards: 0.96 is above 0.86
    rows, columns = np.nonzero((pixels[:, :400] == BLUE).all(-1))
    early, late = columns < np.quantile(columns, 0.2), columns > 350
    assert rows[early].mean() < rows[late].mean()


def test_the_title_is_drawn_as_given(tmp_path):
    plots.learning_curves(_records(2), tmp_path / "plain.png", title="signs")
    plots.learning_curves(_records(2), tmp_path / "odd.png", title=r"$\runs{a_b$")
    plain, odd = (_pixels(tmp_path / f"{name}.png") for name in ("plain", "odd"))
    assert (plain[:50] != odd[:50]).any() and (plain[70:] == odd[70:]).all()


def test_one_epoch_and_gaps_are_drawn(tmp_path):
    records = _records(200)
    for record in records[50:60]:
        record["test_loss"] = None
    for record in records[60:70]:
        del record["test_accuracy"]
    records[-1]["train_loss"] = 0.0
    for shown, color, least in ((_records(1), ORANGE, 50), (records, BLUE, 500)):
        plots.learning_curves(shown, tmp_path / "curves.png", title="")
        assert _count(_pixels(tmp_path / "curves.png"), color) > least


def test_losses_over_many_decades_are_on_a_logarithmic_scale(tmp_path):
    records = _records(41)
    for record in records:
        record["train_loss"] = 10 ** (-record["epoch"] / 10)
    records[0]["train_loss"] = None
    plots.learning_curves(records, tmp_path / "log.png", title="t")
    rows, columns = np.nonzero((_pixels(tmp_path / "log.png")[:, :750] == BLUE).all(-1))
    curve = rows > 150  # below the legend
    slope, start = np.polyfit(columns[curve], rows[curve], 1)
    assert np.abs(rows[curve] - slope * columns[curve] - start).max() < 10  # straight


def test_no_pyplot_and_no_matplotlib_before_drawing(tmp_path):
    code = f"""
import sys
from signjax.evaluation import plots
assert plots.available() and "matplotlib" not in sys.modules
plots.learning_curves({_records(3)!r}, {str(tmp_path / "a.png")!r}, title="t")
assert "matplotlib.pyplot" not in sys.modules
"""
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_absent_extra_is_told_with_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not plots.available()
    assert 'pip install "signjax[plots]"' in plots.HOW_TO_GET


def test_the_svg_takes_its_colors_from_the_page():
    svg = plots.learning_curves_svg(_records(3))
    assert svg.startswith("<svg") and "train, last 0.733" in svg
    for name in ("ink", "faint", "train", "test"):
        assert f"var(--{name})" in svg
    assert set(re.findall("#[0-9a-f]{6}", svg)) <= {"#000000"}
    assert svg == plots.learning_curves_svg(_records(3))
