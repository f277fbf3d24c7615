"""--mode=benchmark: what it writes, compares and refuses."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest

from configs import cnn
from signjax.benchmark import peaks, table
from signjax.commands import benchmark
from signjax.errors import InputError, RunError
from tests.helpers.mode_options import options

SPREAD = {"median": 2.0, "p25": 1.9, "p75": 2.1, "n": 30}


@pytest.fixture(autouse=True)
def no_cache_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    monkeypatch.setenv("SIGNJAX_CACHE", str(tmp_path / "cache"))
    # Measuring either takes seconds.
    monkeypatch.setattr(peaks, "measure_matmul", lambda device: 1e11)
    monkeypatch.setattr(benchmark, "measure", lambda *_, **__: pytest.fail("it began"))
    before = jax.config.jax_compilation_cache_dir
    yield
    jax.config.update("jax_compilation_cache_dir", before)


def run(**flags: Any) -> None:
    benchmark.run(options(**{"config": cnn.get_config("seed"), **flags}))


def fake(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Lets each measurement give such a row at once."""
    row = dict.fromkeys(("mfu", "peak_flops", "flops_per_byte", "peak_memory_bytes"))
    row |= {"step_ms": SPREAD, "images_per_second": 16e3, "compile_seconds": 1.0}
    row |= {"flops_per_image": 10**7, "peak_flops": 1e11, **changes}
    monkeypatch.setattr(
        benchmark, "measure", lambda point, **_: benchmark.identity(point) | row
    )


def test_rows_are_printed_and_written_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake(monkeypatch)
    output = tmp_path / "new" / "rows.json"
    run(output=str(output), sweep="program=step,bare")
    rows = json.loads(output.read_text())
    assert [row["program"] for row in rows] == ["step", "bare"]
    told = capsys.readouterr().out
    assert "1080 random images" in told and "bare: no augmentation" in told
    assert all(table.line(row) in told for row in rows)


def test_slower_than_before_is_status_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    fake(monkeypatch)
    run(output=str(old), sweep="program=step")
    slow = {"median": 4.0, "p25": 3.8, "p75": 4.2, "n": 30}
    fake(monkeypatch, step_ms=slow)
    with pytest.raises(RunError, match="slower than in .*old.json.*cnn-seed") as error:
        run(compare=str(old), output=str(new), sweep="program=step")
    assert error.value.exit_status == 1
    assert ": slower" in capsys.readouterr().out
    assert json.loads(new.read_text())[0]["step_ms"] == slow  # written all the same
    fake(monkeypatch)
    run(compare=str(new), sweep="program=step")
    assert ": faster" in capsys.readouterr().out
    monkeypatch.setattr(benchmark, "measure", lambda *_, **__: pytest.fail("it began"))
    with pytest.raises(InputError, match=r"old\.json: it has no row of this network"):
        run(compare=str(old), sweep="program=bare")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"sweep": "program=train"}, "'train': expected step or bare or epoch"),
        ({"output": "configs"}, "configs: is a folder; expected a JSON file"),
        ({"trace": "README.md"}, "README.md: is a file; expected a folder"),
        ({"repeats": -1}, "--repeats=-1: expected at least 1"),
        ({"compare": "none.json"}, "none.json: cannot be read"),
        ({"config": None}, "--config is missing"),
        ({"require_device": "tpu"}, "--require_device=tpu"),
        ({"arguments": ("photo.jpg",)}, "unexpected argument 'photo.jpg'"),
    ],
)
def test_wrong_input_is_one_line_before_anything_is_timed(
    flags: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError) as error:
        run(**flags)
    assert told in str(error.value) and "\n" not in str(error.value)
