"""The runner that compares signjax with its baselines, on programs that are quick."""

import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import speed
from benchmarks.baselines import flax_step, measure
from signjax.models.resnet import ResNet

# Prints what a baseline does; its steps take as many ms as the next word of FILE says.
FAKE = """
import json, sys
from pathlib import Path
name, file, loss = sys.argv[1:]
file = Path(file)
with file.with_name("log").open("a") as log:
    print(name, "begins", file=log, flush=True)
    first, *others = file.read_text().split()
    file.write_text(" ".join(others))
    print("a line before it")
    step_ms = {"median": float(first), "p25": 1.0, "p75": 9.0, "n": 3}
    print(json.dumps({"step_ms": step_ms, "losses": [2.0, float(loss)]}))
    print(name, "ends", file=log)
"""


def compare_fakes(
    monkeypatch: pytest.MonkeyPatch,
    directory: Path,
    *,
    own: list[int],
    its: list[int],
    loss: float,
) -> dict[str, Any]:
    """The row of two processes whose steps take so many ms in one pair after another.

    loss: the baseline's last one, where signjax's is 1.
    """
    (directory / "fake.py").write_text(FAKE)
    processes = []
    for name, times, value in (("signjax", own, 1.0), ("baseline", its, loss)):
        file = directory / f"{name}.txt"
        file.write_text(" ".join(map(str, times)))
        script = str(directory / "fake.py")
        command = [sys.executable, script, name, str(file), str(value)]
        processes.append(speed.Process(name, command, {}))
    monkeypatch.setattr(speed, "make_processes", lambda *_: processes)
    arguments = speed.parse(["--baseline=torch-compile", f"--pairs={len(own)}"])
    return speed.compare(arguments, directory, cores=1)


def test_a_row_holds_pairs_that_ran_by_turns_and_never_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    times: dict[str, Any] = {"own": [10, 10, 20], "its": [15, 40, 50]}
    row = compare_fakes(monkeypatch, tmp_path, **times, loss=1.001)
    assert row["ratio"] == {"median": 2.5, "min": 1.5, "max": 4.0, "n": 3}
    assert row["times"] == {"signjax": 10, "baseline": 40}
    assert row["largest_difference"] == pytest.approx(0.001 / 1.001)
    kept = [pair["baseline"]["step_ms"]["median"] for pair in row["pairs"]]
    assert kept == [15, 40, 50]
    assert all(0 <= pair["signjax"]["others_cpu"] <= 1 for pair in row["pairs"])
    assert speed.summary_line(row).startswith(
        "train resnet, batch 32, float32: torch-compile takes 2.50 times as long as "
        "signjax (1.50 to 4.00, 3 pairs; 40 and 10 ms)"
    )
    turn = ["signjax begins", "signjax ends", "baseline begins", "baseline ends"]
    assert (tmp_path / "log").read_text().splitlines() == 3 * turn


@pytest.mark.parametrize("loss", [1.1, float("nan")])
def test_a_baseline_that_computes_something_else_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, loss: float
) -> None:
    told = "baseline does not compute what signjax computes: losses differ by"
    with pytest.raises(speed.SpeedError, match=told):
        compare_fakes(monkeypatch, tmp_path, own=[1], its=[1], loss=loss)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; print('out of coffee', file=sys.stderr); sys.exit(3)", "coffee"),
        ("import os; os.abort()", "ended with status -6"),
        ("print('nothing useful')", "printed no JSON object but 'nothing useful'"),
        ("print('[1]')", "printed no JSON object"),
        ("pass", "printed no JSON object"),
    ],
)
def test_a_baseline_that_fails_is_named(tmp_path: Path, code: str, said: str) -> None:
    process = speed.Process("lazy", [sys.executable, "-c", code], {})
    with pytest.raises(speed.SpeedError, match=f"(?s)^lazy .*{said}"):
        speed.execute(process, tmp_path / "workdir")


def test_a_training_is_told_by_its_result_file(tmp_path: Path) -> None:
    scores = {"loss": 0.5, "accuracy": 0.75}
    result = {"train": scores, "test": {"accuracy": 0.5}, "versions": {"jax": "1"}}
    workdir = tmp_path / "workdir"
    code = (
        f"import json, pathlib as p; d = p.Path({str(workdir)!r}); d.mkdir(); "
        f"(d / 'result.json').write_text(json.dumps({result!r}))"
    )
    process = speed.Process("signjax", [sys.executable, "-c", code], {})
    said = speed.execute(process, workdir)
    assert (said["train_accuracy"], said["test_accuracy"]) == (0.75, 0.5)
    assert speed.duration(said) == said["wall_seconds"] > 0
    assert not workdir.exists()  # else the next run would resume it


def test_differences_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    mine, theirs = rng.normal(size=(2, 7))
    expected = np.max(np.abs(mine - theirs) / np.abs(theirs))
    assert speed.largest_difference(list(mine), list(theirs)) == pytest.approx(expected)
    mine, theirs = rng.normal(size=(2, 5, 6))
    expected = np.max(np.abs(mine - theirs)) / np.max(np.abs(theirs))
    found = speed.largest_difference(mine.tolist(), theirs.tolist())
    assert found == pytest.approx(expected)
    assert speed.largest_difference([1.0], [1.0, 2.0]) == float("inf")


def test_a_row_replaces_the_one_of_the_same_comparison(tmp_path: Path) -> None:
    file = tmp_path / "results" / "speed.json"
    row = dict.fromkeys(speed.IDENTITY, "same")
    other = {**row, "baseline": "other"}
    for stored in ({**row, "ratio": 1}, other, {**row, "ratio": 2}):
        speed.store(stored, file)
    assert json.loads(file.read_text()) == [other, {**row, "ratio": 2}]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--baseline=flax", "--work=inference"], "flax does not do --work=inference"),
        (["--baseline=onnxruntime"], "onnxruntime does not do --work=train"),
        (["--baseline=keras-jax", "--work=fit"], "--work=fit needs --data"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        speed.parse(argv)
    assert said in capsys.readouterr().err


def test_the_clock_leaves_out_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = measure.make_parser(None)
    flags = ["--weights=none", "--warmup=2", "--steps=4"]
    clock = measure.Clock(parser.parse_args(flags))
    # Steps of 5, 2, then 0.1 to 0.4 seconds.
    times = iter([10.0, 15.0, 17.0, 17.1, 17.3, 17.6, 18.0])
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(times))
    clock.run(lambda number: 100 + number, int)
    summary = clock.summary()
    assert summary["first_step_seconds"] == 5.0
    assert summary["step_ms"] == {"median": 250.0, "p25": 175.0, "p75": 325.0, "n": 4}
    assert clock.outputs == [100, 101, 102, 103, 104, 105]


def test_plain_flax_has_the_variables_of_signjax() -> None:
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)

    def shapes(model: Any) -> Any:
        return jax.eval_shape(
            lambda x: model.init(jax.random.key(0), x, train=False), images
        )

    plain = shapes(flax_step.ResNet50(measure.CLASSES))
    assert plain == shapes(ResNet(measure.CLASSES))


def test_a_row_names_no_place_of_the_machine() -> None:
    command = ["-m", "benchmarks.baselines", "--weights=/some/where it/is", "--steps=3"]
    shown = speed.without_paths(command)
    assert shown == "-m benchmarks.baselines --weights=... --steps=3"
