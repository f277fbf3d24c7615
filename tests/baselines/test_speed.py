"""The runner that compares signjax with its peers, on programs that are quick."""

import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from benchmarks.peers import flax_step, measure

from benchmarks import speed, tables
from signjax.models.resnet import ResNet

# Prints what a peer prints; its step takes as many ms as the next line of FILE says.
FAKE = """
import json, sys, time
from pathlib import Path
name, file, loss = sys.argv[1:]
file = Path(file)
log = file.with_name("log")
with log.open("a") as out: print(name, "begins", file=out)
lines = file.read_text().split()
file.write_text(" ".join(lines[1:]))
print("a line before it")
print(json.dumps({
    "step_ms": {"median": float(lines[0]), "p25": 1.0, "p75": 9.0, "n": 3},
    "losses": [2.0, float(loss)],
    "peak_rss_bytes": 2_500_000_000 if name == "ours" else 1_000_000_000,
    "versions": {"python": "3.12", name: "1.5", "jax": "0.99"},
}))
with log.open("a") as out: print(name, "ends", file=out)
"""


def fake_programs(
    directory: Path, *, ours: list[float], peer: list[float], loss: float = 1.0
) -> tuple[speed.Program, speed.Program]:
    script = directory / "fake.py"
    script.write_text(FAKE)
    programs = []
    for name, times, value in (("ours", ours, 1.0), ("peer", peer, loss)):
        file = directory / f"{name}.txt"
        file.write_text(" ".join(map(str, times)))
        command = [sys.executable, str(script), name, str(file), str(value)]
        programs.append(speed.Program(name, command, {}))
    return programs[0], programs[1]


def compare_fakes(
    monkeypatch: pytest.MonkeyPatch, directory: Path, **kwargs: Any
) -> dict[str, Any]:
    programs = fake_programs(directory, **kwargs)
    monkeypatch.setattr(speed, "make_programs", lambda *_: programs)
    pairs = len(kwargs["ours"])
    arguments = speed.parse(["--peer=torch-compile", f"--pairs={pairs}"])
    return speed.compare(arguments, directory, cores=1)


def test_a_row_holds_the_ratios_of_all_pairs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    row = compare_fakes(
        monkeypatch, tmp_path, ours=[10, 10, 20], peer=[15, 40, 50], loss=1.001
    )
    assert row["ratio"] == {"median": 2.5, "min": 1.5, "max": 4.0, "n": 3}
    assert row["times"] == {"ours": 10, "peer": 40}
    assert row["largest_difference"] == pytest.approx(0.001 / 1.001)
    assert [pair["peer"]["step_ms"]["median"] for pair in row["pairs"]] == [15, 40, 50]
    assert all(0 <= pair["ours"]["others_cpu"] <= 1 for pair in row["pairs"])
    assert speed.describe(row).startswith(
        "train resnet, batch 32: torch-compile takes 2.50 times as long as signjax "
        "(1.50 to 4.00, 3 pairs; 40 and 10 ms)"
    )


def test_the_two_run_by_turns_and_never_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compare_fakes(monkeypatch, tmp_path, ours=[1, 1], peer=[1, 1])
    turn = ["ours begins", "ours ends", "peer begins", "peer ends"]
    assert (tmp_path / "log").read_text().splitlines() == 2 * turn


def test_a_peer_that_computes_something_else_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(speed.SpeedError, match="peer does not compute what ours"):
        compare_fakes(monkeypatch, tmp_path, ours=[1], peer=[1], loss=1.1)
    with pytest.raises(speed.SpeedError, match="losses differ by"):
        compare_fakes(monkeypatch, tmp_path, ours=[1], peer=[1], loss=float("nan"))


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
def test_a_peer_that_fails_is_named(tmp_path: Path, code: str, said: str) -> None:
    program = speed.Program("lazy", [sys.executable, "-c", code], {})
    with pytest.raises(speed.SpeedError, match=f"(?s)^lazy .*{said}"):
        speed.execute(program, tmp_path / "workdir")


def test_a_training_is_told_by_its_result_file(tmp_path: Path) -> None:
    scores = {"loss": 0.5, "accuracy": 0.75}
    result = {"train": scores, "test": {"accuracy": 0.5}, "versions": {"jax": "1"}}
    workdir = tmp_path / "workdir"
    code = (
        f"import json, pathlib as p; d = p.Path({str(workdir)!r}); d.mkdir(); "
        f"(d / 'result.json').write_text(json.dumps({result!r}))"
    )
    program = speed.Program("ours", [sys.executable, "-c", code], {})
    said = speed.execute(program, workdir)
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
    other = {**row, "peer": "other"}
    for stored in ({**row, "ratio": 1}, other, {**row, "ratio": 2}):
        speed.store(stored, file)
    assert json.loads(file.read_text()) == [other, {**row, "ratio": 2}]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--peer=flax", "--work=inference"], "flax does not do --work=inference"),
        (["--peer=onnxruntime"], "onnxruntime does not do --work=train"),
        (["--peer=keras-jax", "--work=fit"], "--work=fit needs --data"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        speed.parse(argv)
    assert said in capsys.readouterr().err


def test_every_peer_has_its_script(root: Path) -> None:
    for peer in speed.PEERS.values():
        for module, *_ in peer.works.values():
            assert (root / "benchmarks" / "peers" / f"{module}.py").exists()


def test_the_table_shows_losses_as_well_as_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    row = compare_fakes(monkeypatch, tmp_path, ours=[10, 20], peer=[8, 10])
    row["processor"] = "Chip"
    fit = {**row, "peer": "keras-jax", "work": "fit", "epochs": 100}
    (tmp_path / "speed.json").write_text(json.dumps([row, fit]))
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    lines = tables.redraw("<!-- table: speed -->\nold\n<!-- end -->").splitlines()
    assert lines[3] == (
        "| train, resnet, batch 32 | Chip | torch-compile (peer 1.5) | 9 ms | 15 ms | "
        "**0.65** (0.50 to 0.80) | 2 | 1.00 and 2.50 |"
    )
    started = "| 100 epochs of the CNN, whole process | Chip | keras-jax "
    assert lines[4].startswith(started)
    assert "old" not in lines
    assert "Python 3.12, jax 0.99" in lines[6]


def test_the_clock_leaves_out_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = measure.make_parser(None)
    flags = ["--weights=none", "--warmup=2", "--steps=4"]
    clock = measure.Clock(parser.parse_args(flags))
    # Steps of 5, 2, then 0.1 to 0.4 seconds.
    times = iter([10.0, 15.0, 17.0, 17.1, 17.3, 17.6, 18.0])
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(times))
    clock.run(lambda number: 100 + number)
    summary = clock.summary()
    assert summary["first_step_seconds"] == 5.0
    assert summary["step_ms"] == {"median": 250.0, "p25": 175.0, "p75": 325.0, "n": 4}
    assert clock.outputs == [100, 101, 102, 103, 104, 105]


def test_batches_go_round_the_images_in_order() -> None:
    seen = np.concatenate([measure.batch_indices(step, 100) for step in range(22)])
    np.testing.assert_array_equal(seen, np.arange(2200) % measure.IMAGES)


def test_plain_flax_has_the_variables_of_signjax() -> None:
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)

    def shapes(model: Any) -> Any:
        return jax.eval_shape(
            lambda x: model.init(jax.random.key(0), x, train=False), images
        )

    plain = shapes(flax_step.ResNet50(measure.CLASSES))
    assert plain == shapes(ResNet(measure.CLASSES))


def test_a_row_names_no_place_of_the_machine() -> None:
    command = [
        "-m",
        "benchmarks.peers.ours",
        "--weights=/some/where it/is",
        "--steps=3",
    ]
    shown = speed.without_paths(command)
    assert shown == "-m benchmarks.peers.ours --weights=... --steps=3"
