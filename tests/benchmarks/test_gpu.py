"""The GPU's command, without a GPU: what it measures, keeps and leaves."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu, speed


def run_for(
    monkeypatch: pytest.MonkeyPatch, directory: Path, *, minutes: float
) -> tuple[list[str], list[tuple[str, int]]]:
    """What was compared, and what was left; each row takes two minutes."""
    clock, asked = iter(range(0, 10_000, 120)), []

    def compare(arguments: argparse.Namespace, *_: Any) -> dict[str, Any]:
        asked.append(f"{arguments.baseline} {arguments.batch_size} {arguments.dtype}")
        row = {**vars(arguments), "processor": gpu.provenance()["processor"]}
        return json.loads(json.dumps({**row, "cores": 1}, default=str))

    monkeypatch.setattr(speed, "compare", compare)
    monkeypatch.setattr(gpu, "compare_losses", lambda _: None)
    monkeypatch.setattr(gpu.time, "monotonic", lambda: float(next(clock)))
    arguments = argparse.Namespace(
        minutes=minutes, output=directory / "gpu.json", baseline_python="python"
    )
    return asked, gpu.measure(arguments, directory)


def test_rows_are_kept_as_they_are_made_and_the_next_call_makes_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, left = run_for(monkeypatch, tmp_path, minutes=12)
    assert first[0] == "torch-max-autotune 32 bfloat16"
    assert 0 < len(first) == 8 - len(left)
    then, left = run_for(monkeypatch, tmp_path, minutes=60)
    assert not left and len({*first, *then}) == len(first) + len(then) == 8
    assert len(gpu.read_rows(tmp_path / "gpu.json")) == 8


def test_the_table_tells_rates_and_utilization() -> None:
    row = {
        "baseline": "flax",
        "batch_size": 1024,
        "times": {"signjax": 10.0, "baseline": 15.0},
        "ratio": {"median": 1.5, "min": 1.25, "max": 2.0},
        "pairs": [{"signjax": {"settings": {"device": "NVIDIA H200"}}}],
    }
    # 3 x 2 x 333.6 million products an image, of 989.4 TFLOP/s.
    line = list(gpu.table([row]))[-1]
    assert line == (
        "| NVIDIA H200 | 1024 | flax | 15 | 13.8% | 10 | 102,400 | 20.7% "
        "| 1.50 (1.25 to 2.00) |"
    )
