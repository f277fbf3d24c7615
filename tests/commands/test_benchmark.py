"""--mode=benchmark: what it writes, compares and refuses."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest

from configs import cnn
from signjax.benchmark import table
from signjax.benchmark.sweep import SweepPoint
from signjax.commands import benchmark
from signjax.commands.cli import Options
from signjax.errors import InputError, RunError

SPREAD = {"median": 2.0, "p25": 1.9, "p75": 2.1, "n": 30}


@pytest.fixture(autouse=True)
def no_cache_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    monkeypatch.setenv("SIGNJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(benchmark, "measure", lambda *_, **__: pytest.fail("it began"))
    before = jax.config.jax_compilation_cache_dir
    yield
    jax.config.update("jax_compilation_cache_dir", before)


def run(**flags: Any) -> None:
    given = {"mode": "benchmark", "config": cnn.get_config("seed"), **flags}
    benchmark.run(Options(**given))


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
        ({"output": "configs"}, "configs: is a folder; expected a file"),
        ({"trace": "README.md"}, "README.md: is a file; expected a folder"),
        ({"topology": "v7"}, "--topology=v7: expected one of v4, v5e"),
        ({"topology": "v5e", "trace": "t"}, "--trace: --topology runs nothing"),
        ({"repeats": 0}, "--repeats=0: expected at least 1"),
        ({"compare": "none.json"}, "none.json: cannot be read"),
        ({"require_device": "tpu"}, "--require_device=tpu"),
    ],
)
def test_wrong_input_is_one_line_before_anything_is_timed(
    flags: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError) as error:
        run(**flags)
    assert told in str(error.value) and "\n" not in str(error.value)


def test_what_cannot_run_on_a_topology_is_status_one_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"estimated_cycles": 3_500_000, "kernels": None, "unestimated": {"copy": 4}}
    found |= {"cycles_by_part": {"forward": 3_500_000}, "bytes_accessed": 4.5e9}
    found |= {"argument_bytes": 3e8, "temp_bytes": 1e8, "chip_bytes": 16e9}
    reduced = {"operation": "all-reduce", "type": "f32", "count": 2, "bytes": 3000}
    found |= {"collectives": [reduced]}

    def estimate(point: SweepPoint, name: str) -> dict[str, Any]:
        row = benchmark.identity(point) | {"compile_seconds": 9.0}
        if point.program == "step":
            return row | {"estimate": found, "error": None}
        return row | {"estimate": None, "error": "needs 17.0 GB of the 16 GB of a chip"}

    monkeypatch.setattr(benchmark, "estimate", estimate)
    monkeypatch.setattr(benchmark, "open_topology", lambda name: jax.devices()[:1])
    output = str(tmp_path / "rows.json")
    with pytest.raises(RunError, match=r"v5e: 1 of 2 programs .* needs 17.0 GB"):
        run(topology="v5e", output=output, sweep="program=step,bare")
    told = capsys.readouterr().out
    assert "never a measurement" in told and "not estimated: copy 4" in told
    assert "2 x all-reduce of f32, 0.003 MB" in told
    assert all(len(line) <= 100 for line in told.splitlines() if "3.500 " in line)
    found["estimated_cycles"] = 5_000_000
    with pytest.raises(RunError, match="slower"):
        run(topology="v5e", compare=output, sweep="program=step")
    told = capsys.readouterr().out
    assert "3,500,000 -> 5,000,000 cycles, x 1.429: slower" in told
