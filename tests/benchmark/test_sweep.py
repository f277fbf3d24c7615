"""--mode=benchmark: what it times, what it writes, what it refuses."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

from configs import cnn, resnet
from signjax import build, step, train
from signjax.benchmark import table as report
from signjax.benchmark.peaks import measure_matmul
from signjax.commands import benchmark
from signjax.commands.cli import Options
from signjax.errors import InputError, RunError
from signjax.evaluation import plots
from signjax.runtime.machine import device_name, git_commit, peak_memory_bytes

ONE = jax.local_devices()[:1]
MATMUL = 1e11  # FLOP/s; measuring it takes seconds
# What design and readers of the file rely on.
FIELDS = {
    *("model", "variant", "backend", "device", "device_count", "batch_size"),
    *("image_size", "dtype", "program", "flops_per_image", "compile_seconds"),
    *("step_ms", "images_per_second", "mfu", "peak_memory_bytes", "versions"),
    *("git_commit", "timestamp"),
}
# As a GPU that no table has would give it.
ROW: dict[str, Any] = {
    **{"model": "cnn", "variant": "cnn-seed", "backend": "gpu", "device": "GPU 1"},
    **{"device_count": 1, "batch_size": 32, "image_size": 64, "dtype": "bfloat16"},
    **{"matmul_precision": "default", "program": "step", "flops_per_image": 2 * 10**9},
    **{"step_ms": {"median": 2.0, "p25": 1.9, "p75": 2.1, "n": 30}},
    **{"trace_seconds": 1.0, "compile_seconds": 1.0, "compile_seconds_warm": 0.5},
    **{"cache_hit": False, "images_per_second": 16000.0, "mfu": None},
    **dict.fromkeys(("peak_flops", "ridge_flops_per_byte", "flops_per_byte"), None),
    **dict.fromkeys(("matmul_peak", "peak_memory_bytes"), None),
}


def fake(monkeypatch: pytest.MonkeyPatch, row: dict[str, Any]) -> None:
    """Lets each measurement give this row at once."""
    monkeypatch.setattr(benchmark, "measure", lambda *_: row)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache of its own, which is off again in the tests after these."""
    monkeypatch.setenv("SIGNJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(benchmark, "measure_matmul", lambda device: MATMUL)
    before = jax.config.jax_compilation_cache_dir
    yield
    jax.config.update("jax_compilation_cache_dir", before)


def config(**changes: Any) -> Any:
    small = cnn.get_config("seed")
    flat = {"data.image_size": 32, "train.batch_size": 16, **changes}
    small.update_from_flattened_dict(flat)
    return small


def options(**changes: Any) -> Options:
    return Options("benchmark", **({"config": config(), "repeats": 2} | changes))


class Seen(Exception):
    """Carries the digest of the program that was about to be compiled or run."""


class Recorder:
    """A jitted step that stops whoever uses it in any way, and tells what for."""

    def __init__(self, jitted: Any) -> None:
        self.jitted = jitted

    def __call__(self, *arguments: Any) -> Any:
        text = self.jitted.lower(*arguments).as_text()
        raise Seen(hashlib.sha256(text.encode()).hexdigest())

    lower = trace = __call__


def test_it_times_the_program_that_training_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_step: Callable[..., Any] = step.compile_train_step

    def record(*arguments: Any, **keywords: Any) -> Recorder:
        return Recorder(compile_step(*arguments, **keywords))

    def make_state(config: Any, network: build.Network, recipe: build.Recipe) -> Any:
        return build.abstract_state(config, network, recipe.optimizer)

    def program(run: Callable[[Options], None], **changes: Any) -> str:
        with pytest.raises(Seen) as seen:
            run(options(config=small, **changes))
        return str(seen.value)

    monkeypatch.setattr(step, "compile_train_step", record)
    monkeypatch.setattr(build, "make_state", make_state)  # only the shapes are needed
    monkeypatch.setattr(benchmark, "SIGNS_TRAIN", 48)
    small = config(
        **{
            "data.source": "synthetic",
            "data.synthetic_train": 48,
            "data.synthetic_test": 12,
            "augment.rotation": 8.0,
        }
    )
    trained = program(train.run, workdir=str(tmp_path / "run"), repeats=0)
    assert program(benchmark.run, sweep="program=step") == trained
    assert program(benchmark.run, sweep="program=bare") != trained  # augments nothing


def test_rows_hold_what_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "rows.json"
    benchmark.run(
        options(output=str(output), sweep="device_count=2", trace=str(tmp_path / "t"))
    )
    rows = json.loads(output.read_text())
    assert [row["program"] for row in rows] == ["step", "bare", "epoch"]
    # 32 x 32 x 8 x 48 + 4 x 4 x 16 x 32 + 16 x 6 products, forward and backward.
    flops = 6 * (32 * 32 * 8 * 48 + 4 * 4 * 16 * 32 + 16 * 6)
    for row in rows:
        assert row.keys() >= FIELDS
        assert (row["model"], row["variant"]) == ("cnn", "cnn-seed")
        assert (row["backend"], row["dtype"]) == ("cpu", "float32")
        assert (row["batch_size"], row["image_size"]) == (16, 32)
        assert row["device_count"] == 2
        assert row["flops_per_image"] == flops
        assert row["cache_hit"] is True
        spread = row["step_ms"]
        assert 0 < spread["p25"] <= spread["median"] <= spread["p75"]
        assert spread["n"] == 2
        assert row["peak_flops"] == row["matmul_peak"] == MATMUL
        # The two devices are of one CPU, whose product was measured.
        achieved = flops * row["images_per_second"]
        assert row["mfu"] == pytest.approx(achieved / row["matmul_peak"])
        assert row["peak_memory_bytes"] > row["program_memory_bytes"] > 0
        assert row["ridge_flops_per_byte"] is None
        assert row["versions"]["jax"] == jax.__version__
        profiles = (tmp_path / "t").glob(
            f"{row['program']}-16-float32-*/**/*.xplane.pb"
        )
        assert len(list(profiles)) == 1
    one, _, epoch = rows[:3]
    assert one["images_per_second"] == pytest.approx(16e3 / one["step_ms"]["median"])
    # 1080 images are 67 batches of 16 and one of 8, padded.
    assert (one["steps_per_call"], epoch["steps_per_call"]) == (1, 68)
    speed = 1080 / 68 * 1e3 / epoch["step_ms"]["median"]
    assert epoch["images_per_second"] == pytest.approx(speed)
    assert one["flops_per_byte"] == pytest.approx(8 * flops / one["bytes_accessed"])
    assert epoch["flops_per_byte"] is None

    with Image.open(output.with_suffix(".png")) as picture:
        assert picture.format == "PNG" and picture.width == 1500
    told = capsys.readouterr().out
    assert "1080 random images" in told
    for row in rows:
        assert report.line(row) in told


def test_slower_than_before_is_status_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    monkeypatch.setattr(benchmark, "_identity", lambda setting: ROW)
    fake(monkeypatch, ROW)
    benchmark.run(options(output=str(old), sweep="program=step"))
    slow = {"median": 4.0, "p25": 3.8, "p75": 4.2, "n": 30}
    fake(monkeypatch, ROW | {"step_ms": slow})
    comparison = {"compare": str(old), "output": str(new), "sweep": "program=step"}
    with pytest.raises(RunError, match="slower than in .*old.json.*cnn-seed") as error:
        benchmark.run(options(**comparison))
    assert error.value.exit_status == 1
    assert ": slower" in capsys.readouterr().out
    assert json.loads(new.read_text())[0]["step_ms"] == slow  # written all the same
    fake(monkeypatch, ROW)
    benchmark.run(options(compare=str(new), sweep="program=step"))
    assert ": faster" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sweep": "program=train"}, "'train': expected step or bare or epoch"),
        ({"sweep": "batch_size=0"}, "'0': expected a whole number above 0"),
        ({"sweep": "batch_size=32,"}, "'': expected a whole number"),
        ({"sweep": "dtype=float16"}, "expected float32 or bfloat16"),
        ({"sweep": "batch=32"}, "device_count, dtype, batch_size, program"),
        ({"sweep": "batch_size"}, "'batch_size' is not an axis"),
        ({"sweep": "dtype=float32 dtype=float32"}, "each once"),
        ({"sweep": "batch_size=8,16,8"}, "'batch_size=8,16,8' has a value twice"),
        ({"output": "rows.png"}, "rows.png: expected a JSON file"),
        ({"output": "configs"}, "configs: expected a JSON file"),
        ({"trace": "README.md"}, "README.md: is a file; expected a folder"),
        ({"sweep": "device_count=9"}, "9 are asked for and there are 8 devices"),
        ({"sweep": "batch_size=30 device_count=8"}, "a multiple of 8"),
        ({"repeats": -1}, "--repeats=-1: expected at least 1"),
        ({"compare": "none.json"}, "none.json: cannot be read"),
        ({"config": None}, "--config is missing"),
        ({"require_device": "tpu"}, "--require_device=tpu"),
        ({"arguments": ("photo.jpg",)}, "unexpected argument 'photo.jpg'"),
    ],
)
def test_wrong_input_is_one_line_before_anything_is_timed(
    changes: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "measure", lambda *_: pytest.fail("it began"))
    with pytest.raises(InputError) as error:
        benchmark.run(options(**changes))
    assert told in str(error.value) and "\n" not in str(error.value)


def test_a_file_without_any_such_row_is_told_before_anything_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "old.json"
    path.write_text(json.dumps([ROW]))
    monkeypatch.setattr(benchmark, "measure", lambda *_: pytest.fail("it began"))
    with pytest.raises(InputError, match=r"old\.json: it has no row of this network"):
        benchmark.run(options(compare=str(path)))


def test_without_a_sweep_it_takes_what_training_would() -> None:
    devices = jax.local_devices()
    settings = list(benchmark.plan(config(), {}, devices))
    assert [s.program for s in settings] == ["step", "bare", "epoch"]
    assert {len(s.devices) for s in settings} == {8}
    assert {s.recipe.batch_size for s in settings} == {16}
    assert {s.network.dtype for s in settings} == {"float32"}  # of the CPU
    large = resnet.get_config()
    assert [s.program for s in benchmark.plan(large, {}, ONE)] == ["step", "bare"]
    asked = benchmark.plan(large, {"program": ["epoch"]}, ONE)
    assert [s.program for s in asked] == ["epoch"]
    assert large == resnet.get_config()  # a setting's changes are its own


def test_a_batch_larger_than_the_training_set_is_timed_all_the_same() -> None:
    (setting,) = benchmark.plan(
        resnet.get_config(), {"batch_size": [1280], "program": ["step"]}, ONE
    )
    assert benchmark.make_program(setting).images == 1280


def test_an_epoch_is_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same parameters as from one call a step, the padded last one included."""
    monkeypatch.setattr(benchmark, "SIGNS_TRAIN", 40)
    (setting,) = benchmark.plan(config(), {"program": ["epoch"]}, ONE)
    program = benchmark.make_program(setting)
    start = jax.device_get(
        build.make_state(setting.config, setting.network, setting.recipe)
    )
    at_once = program.run(start, 1)
    images, labels, batches, key = program.inputs(0)
    state = start
    for batch in batches:
        state, _ = setting.recipe.train_step(state, images, labels, batch, key)
    assert int(at_once.step) == len(batches) == program.steps == 3
    assert program.images == 40
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, 1e-4, 1e-6),
        at_once.params,
        state.params,
    )


def test_an_unknown_accelerator_has_no_mfu() -> None:
    assert report.line(ROW).split().count("-") == 3
    assert "0.50!" in report.line(ROW)
    notes = "\n".join(report.notes([ROW]))
    assert "peak for bfloat16: not known for GPU 1" in notes
    assert "ridge for bfloat16: not known" in notes
    assert "nominal" in notes and "Winograd" in notes
    assert "the persistent cache did not" in notes


def test_a_known_accelerator_is_told_with_its_limits() -> None:
    limits = {"peak_flops": 989.4e12, "ridge_flops_per_byte": 206.1, "mfu": 0.1634}
    known = ROW | limits | {"flops_per_byte": 81.5}
    assert "16.3%" in report.line(known) and "81.5" in report.line(known)
    notes = "\n".join(report.notes([known]))
    assert "peak for bfloat16: 989.4 TFLOP/s" in notes
    assert "206.1 FLOP/byte; with less" in notes


def test_the_machine_is_told() -> None:
    assert device_name(ONE[0]).endswith(" cores")
    peak = peak_memory_bytes(ONE)
    assert peak is not None and peak > 100 * 2**20  # JAX alone takes as much
    commit = git_commit()
    assert commit is None or 7 <= len(commit.rstrip("+")) <= 40
    assert measure_matmul(ONE[0], sizes=(64,)) > 1e6


def test_without_matplotlib_the_json_is_all_there_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(plots, "available", lambda: False)
    fake(monkeypatch, ROW)
    output = tmp_path / "rows.json"
    benchmark.run(options(output=str(output), sweep="program=bare"))
    assert [path.name for path in tmp_path.glob("rows.*")] == ["rows.json"]
    assert 'pip install "signjax[plots]"' in capsys.readouterr().out


def test_the_command_line_knows_it(root: Path) -> None:
    """What cannot be seen from within: the flags, and the exit status."""
    done = subprocess.run(
        [
            *(sys.executable, "main.py", "--mode=benchmark"),
            *("--config=configs/cnn.py", "--sweep=program=train", "--repeats=3"),
            *("--compare=", "--trace=", "--output="),
        ],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: --sweep: program 'train'")
    assert done.stderr.count("\n") == 1
