"""The figures in docs and README are those of the committed results."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments import tables


def test_the_page_shows_what_the_result_files_hold() -> None:
    assert tables.PAGE.read_text() == tables.page()


@pytest.mark.parametrize(
    ("page", "make"),
    [
        *((tables.README, make) for make in tables.README_TABLES),
        *((tables.SCALING, make) for make in tables.SCALING_TABLES),
    ],
)
def test_other_pages_show_what_the_result_files_hold(
    page: Path, make: Callable[[], str]
) -> None:
    assert make() in page.read_text()


def test_the_table_of_speed_shows_losses_and_disturbed_pairs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    versions = {"python": "3.12", "torch": "1.5", "jax": "0.99"}
    said = {"peak_rss_bytes": 25 * 10**8, "others_cpu": 0.2, "versions": versions}
    row = {
        **{"work": "train", "model": "resnet", "batch_size": 32, "epochs": 100},
        **{"baseline": "torch-compile", "processor": "Chip", "cores": 1},
        "times": {"signjax": 15.0, "baseline": 9.0},
        "ratio": {"median": 0.65, "min": 0.5, "max": 0.8, "n": 2},
        "pairs": [{"signjax": said, "baseline": said}],
    }
    fit = {**row, "baseline": "keras-jax", "work": "fit"}
    file = tmp_path / "speed.json"
    file.write_text(json.dumps([row, fit]))
    monkeypatch.setattr(tables, "SPEED", file)
    _, _, train, whole, _, note = tables.speed().splitlines()
    assert train == (
        "| train, resnet, batch 32 | Chip | torch-compile (torch 1.5) | 9 ms | 15 ms | "
        "**0.65** (0.50 to 0.80) | 2 | 2.50 and 2.50 |"
    )
    assert whole.startswith("| 100 epochs of the CNN, whole process | Chip | keras-jax")
    assert "in a pair of: train, batch 32, torch-compile; fit" in note
    assert "Chip, 1 core, Python 3.12, jax 0.99" in note
