"""Old rows and new ones: which are partners, and what counts as slower."""

import json
from pathlib import Path
from typing import Any

import pytest

from signjax.benchmark.comparison import KEYS, compare, read_rows
from signjax.errors import InputError


def row(median: float, p25: float, p75: float, **changes: Any) -> dict[str, Any]:
    return {
        "model": "resnet",
        "variant": "resnet-seed",
        "device": "NVIDIA H200",
        "device_count": 1,
        "batch_size": 32,
        "train_size": 1080,
        "image_size": 64,
        "dtype": "float32",
        "matmul_precision": "default",
        "program": "step",
        "step_ms": {"median": median, "p25": p25, "p75": p75, "n": 30},
        **changes,
    }


OLD = row(100.0, 98.0, 103.0)


@pytest.mark.parametrize(
    ("new", "verdict", "ratio"),
    [
        (row(120.0, 118.0, 125.0), "slower", "1.200"),
        (row(104.0, 103.5, 104.5), "no difference", "1.040"),  # within the tolerance
        (row(120.0, 102.0, 150.0), "no difference", "1.200"),  # the samples overlap
        (row(100.0, 98.0, 103.0), "no difference", "1.000"),
        (row(97.0, 96.0, 97.5), "no difference", "0.970"),
        (row(80.0, 60.0, 99.0), "no difference", "0.800"),
        (row(80.0, 79.0, 81.0), "faster", "0.800"),
    ],
)
def test_a_verdict_needs_a_ratio_and_samples_that_are_apart(
    new: dict[str, Any], verdict: str, ratio: str
) -> None:
    comparison = compare([new], [OLD])
    (line,) = comparison.lines
    assert f"x {ratio}: {verdict}" in line
    assert "100 [98, 103] -> " in line and "resnet-seed step batch 32" in line
    assert len(comparison.slower) == (verdict == "slower")


@pytest.mark.parametrize("key", KEYS)
def test_a_row_of_something_else_is_no_partner(key: str) -> None:
    comparison = compare([row(900.0, 890.0, 910.0, **{key: "another"})], [OLD])
    new, old = comparison.lines
    assert new.endswith("not among the old rows")
    assert old.endswith("not among the new rows")
    assert comparison.slower == []


def test_partners_are_found_in_any_order() -> None:
    bare = {"program": "bare"}
    new = [row(50.0, 49.0, 51.0, **bare), row(200.0, 190.0, 210.0)]
    comparison = compare(new, [OLD, row(50.0, 49.0, 51.0, **bare)])
    first, second = comparison.lines
    assert "bare" in first and "x 1.000" in first
    assert "step" in second and "x 2.000" in second
    assert len(comparison.slower) == 1 and "step" in comparison.slower[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "expected a JSON file"),
        ("{}", "array of benchmark rows"),
        ("[1]", "array of benchmark rows"),
        (json.dumps([OLD | {"step_ms": {"median": 1}}]), "array of benchmark rows"),
        (json.dumps([row(0.0, 1.0, 1.0)]), "array of benchmark rows"),
        (json.dumps([OLD, OLD]), "is there twice"),
    ],
)
def test_a_file_of_something_else_is_refused(
    tmp_path: Path, text: str, told: str
) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(InputError, match=told) as error:
        read_rows(str(path))
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_rows_are_read_back_and_a_missing_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    with pytest.raises(InputError, match=r"rows\.json: cannot be read"):
        read_rows(str(path))
    path.write_text(json.dumps([OLD]))
    assert read_rows(str(path)) == [OLD]
