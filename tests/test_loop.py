"""The training loop's side effects, around the real steps of a small network."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import jax
import numpy as np
import pytest

from signjax import loop as loop_module
from signjax.config import default_config
from signjax.data.dataset import Dataset
from signjax.data.load import make_batches
from signjax.errors import RunError
from signjax.evaluation.metrics import score_split
from signjax.experiment import Experiment, make_experiment
from signjax.loop import train_loop
from signjax.runtime.checkpoint import Checkpoints
from signjax.runtime.console import Console
from signjax.runtime.recorder import Recorder
from signjax.state import TrainState
from tests.helpers.records import metrics

EPOCHS, STEPS, BATCH = 3, 4, 16
CONFIG = default_config()
CONFIG.augment.noise = 0.05
CONFIG.data.image_size = 32
CONFIG.train.update(epochs=EPOCHS, batch_size=BATCH, drop_remainder=False)
CONFIG.optimizer.update(name="sgd", learning_rate=0.05, schedule="cosine")
CONFIG.optimizer.warmup_epochs = 0.5
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, STEPS * BATCH).astype(np.int32)
IMAGES = RNG.integers(0, 100, (STEPS * BATCH, 32, 32, 3)) + 60 * LABELS.reshape(
    -1, 1, 1, 1
)
DATA = Dataset(IMAGES.astype(np.uint8), LABELS, ("a", "b", "c"))


@cache
def experiment() -> Experiment:
    return make_experiment(CONFIG, 3, len(LABELS), jax.devices()[:1])


def evaluate(state: TrainState) -> dict[str, float]:
    return score_split(experiment(), "test", DATA, state)


def opened(workdir: Path) -> Checkpoints:
    return Checkpoints(workdir / "checkpoints", warn=pytest.fail)


def train(workdir: Path, state: TrainState | None = None, **changes: Any) -> TrainState:
    """Trains from `state`, or from the beginning; changes: what is not as usual."""
    workdir.mkdir(exist_ok=True)
    made = replace(experiment(), **changes.pop("experiment", {}))
    console, data = Console(), changes.pop("data", DATA)
    with opened(workdir) as checkpoints:
        parts = {
            "train_step": made.train_step,
            "finish": lambda state: state,
            "evaluate": evaluate,
            "best_metric": "test_accuracy",
            "checkpoint_every_epochs": 1,
            "checkpoints": checkpoints,
            "recorder": Recorder(workdir, "synthetic", console, False),
            "console": console,
        }
        batches = make_batches(CONFIG, data, made.mesh)
        state = made.initial_state() if state is None else state
        return train_loop(state, made, batches, **(parts | changes))


def restore(workdir: Path, best: bool = False) -> TrainState:
    with opened(workdir) as checkpoints:
        state = checkpoints.restore(experiment().abstract_state(), best=best)
    assert state is not None
    return state


def saved_steps(workdir: Path) -> list[int]:
    with opened(workdir) as checkpoints:
        return checkpoints.steps()


def scores(accuracies: list[float], name: str = "test") -> Callable[..., Any]:
    """What evaluate gives, epoch by epoch."""
    left = iter(accuracies)
    return lambda _: {f"{name}_accuracy": next(left), f"{name}_loss": 1.0}


def before_step(number: int, action: Callable[[TrainState], Any]) -> Callable[..., Any]:
    """The train step; `action` sees, and may replace, the state of step `number`."""

    def stepping(state: TrainState, *batch: Any) -> Any:
        if int(state.step) + 1 == number:
            state = action(state) or state
        return experiment().train_step(state, *batch)

    return stepping


def interrupt(_: TrainState) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def ruin(state: TrainState) -> TrainState:
    return state.replace(params=jax.tree.map(lambda x: x * np.nan, state.params))


def bits(state: TrainState) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]


def test_a_run_trains_records_and_saves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = train(tmp_path)
    assert int(state.step) == EPOCHS * STEPS
    records = metrics(tmp_path)
    assert [record["epoch"] for record in records] == [1, 2, 3]
    assert [record["step"] for record in records] == [4, 8, 12]
    rates = [float(experiment().schedule(step)) for step in (3, 7, 11)]
    assert [record["learning_rate"] for record in records] == rates
    assert records[-1]["train_loss"] < records[0]["train_loss"]
    assert {record["data"] for record in records} == {"synthetic"}
    assert records[-1].items() >= evaluate(state).items()
    lines = capsys.readouterr().out.splitlines()
    told = [line.split()[1] for line in lines if line.startswith("epoch")]
    assert told == ["1/3", "2/3", "3/3"]
    assert bits(restore(tmp_path)) == bits(state)
    # A finished run has nothing left to do.
    assert train(tmp_path, state) is state
    assert metrics(tmp_path) == records


@pytest.mark.parametrize("stopped_in", [2, 4, 6, 8])
def test_a_stopped_and_resumed_run_ends_as_one_never_stopped(
    tmp_path: Path, stopped_in: int
) -> None:
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    expected = train(whole)
    with pytest.raises(RunError, match=f"SIGTERM after step {stopped_in} of 12"):
        train(parted, train_step=before_step(stopped_in, interrupt))
    state = restore(parted)
    assert int(state.step) == stopped_in
    recorder = Recorder(parted, "synthetic", Console(), False)
    recorder.resume_after(stopped_in, stopped_in // STEPS)
    assert bits(train(parted, state, recorder=recorder)) == bits(expected)
    assert metrics(parted) == metrics(whole)
    assert experiment().train_step._cache_size() == 1, "compiled again"


def test_a_signal_in_the_last_step_lets_the_run_finish(tmp_path: Path) -> None:
    train(tmp_path, train_step=before_step(EPOCHS * STEPS, interrupt))
    assert len(metrics(tmp_path)) == EPOCHS
    assert int(restore(tmp_path).step) == EPOCHS * STEPS


@pytest.mark.parametrize(("every", "expected"), [(1, [12, 8]), (2, [12, 8]), (5, [12])])
def test_checkpoints_are_saved_when_due_and_at_the_end(
    tmp_path: Path, every: int, expected: list[int]
) -> None:
    rising = scores([0.3, 0.6, 0.9])
    train(tmp_path, checkpoint_every_epochs=every, evaluate=rising)
    assert saved_steps(tmp_path) == expected


def test_the_best_checkpoint_is_that_of_the_best_metric(tmp_path: Path) -> None:
    held_out = scores([0.9, 0.5, 0.6], "validation")
    train(tmp_path, evaluate=held_out, best_metric="validation_accuracy")
    assert int(restore(tmp_path, best=True).step) == 4
    assert int(restore(tmp_path).step) == 12


def test_where_a_run_is_stopped_has_no_say_in_which_is_the_best(tmp_path: Path) -> None:
    usual = {"checkpoint_every_epochs": 2, "evaluate": scores([0.9, 0.5, 0.6])}
    with pytest.raises(RunError, match="after step 4 of 12"):
        train(tmp_path, train_step=before_step(STEPS, interrupt), **usual)
    train(tmp_path, restore(tmp_path), **usual)
    assert int(restore(tmp_path, best=True).step) == 12


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_state(
    tmp_path: Path,
) -> None:
    with pytest.raises(RunError) as error:
        train(tmp_path, train_step=before_step(6, ruin))
    rate = float(experiment().schedule(5))
    assert str(error.value).startswith(
        f"the loss of step 6 is not finite, at learning rate {rate:.3g}; the "
        "checkpoint of step 4 is kept. Lower config.optimizer.learning_rate or"
    )
    assert "\n" not in str(error.value)
    assert saved_steps(tmp_path) == [4]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(restore(tmp_path)))
    assert len(metrics(tmp_path)) == 1


def test_before_the_first_checkpoint_it_says_that_none_is_kept(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"step 1 is not finite.*none saved"):
        train(tmp_path, train_step=before_step(1, ruin))


def test_parameters_ruined_by_an_epochs_last_step_are_not_saved(tmp_path: Path) -> None:
    def stepping(state: TrainState, *batch: Any) -> Any:
        state, sums = experiment().train_step(state, *batch)
        return (ruin(state) if int(state.step) == 8 else state), sums

    told = r"after step 8 .*not finite.*checkpoint of step 4"
    with pytest.raises(RunError, match=told):
        train(tmp_path, train_step=stepping)
    assert saved_steps(tmp_path) == [4]
    assert len(metrics(tmp_path)) == 1


def ticking(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Lets so much time pass between two looks at the clock."""
    calls = iter(range(10_000))
    clock = lambda: seconds * next(calls)  # noqa: E731
    monkeypatch.setattr(loop_module.time, "perf_counter", clock)


@pytest.mark.parametrize("bad", [2, 3, 4, 5])
def test_the_first_bad_step_is_named_though_progress_is_read_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: int
) -> None:
    """Many steps lie between two readings of the metrics; the state knows all."""
    ticking(monkeypatch, 0.3 * loop_module.PROGRESS_INTERVAL)
    longer = {"epochs": 1, "steps_per_epoch": 12}
    with pytest.raises(RunError, match=f"loss of step {bad} is not finite"):
        train(
            tmp_path,
            train_step=before_step(bad, ruin),
            data=DATA.take(np.arange(12 * BATCH) % len(LABELS)),
            experiment=longer,
        )


def test_an_epochs_seconds_end_when_its_last_step_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a device that works on while Python goes ahead."""
    clock = [0.0]
    monkeypatch.setattr(loop_module.time, "perf_counter", lambda: clock[0])

    class Unfinished(int):
        def __int__(self) -> int:  # reading it waits for the device
            clock[0] += 8.0
            return super().__int__()

    def stepping(state: TrainState, *batch: Any) -> Any:
        state, seen = experiment().train_step(state, *batch)
        last = int(state.step) == STEPS
        return (state.replace(step=Unfinished(STEPS)) if last else state), seen

    saving = Mock(spec=Checkpoints)
    train(
        tmp_path,
        train_step=stepping,
        evaluate=scores([0.5]),
        checkpoints=saving,
        experiment={"epochs": 1},
    )
    (record,) = Recorder(tmp_path, "synthetic", Console(), False).read()
    assert (record["seconds"], record["images_per_second"]) == (8.0, 8.0)


def test_the_rate_counts_images_and_not_padding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticking(monkeypatch, 0.1)
    # As an epoch that is resumed: the images of before were another process's work.
    state = experiment().initial_state()
    before = state.metrics.replace(count=state.metrics.count + 1000)
    train(
        tmp_path,
        state.replace(metrics=before),
        data=DATA.take(np.arange(40)),
        experiment={"epochs": 1, "steps_per_epoch": 3},
    )
    (record,) = Recorder(tmp_path, "synthetic", Console(), False).read()
    counted = record["images_per_second"] * record["seconds"]
    assert counted == pytest.approx(40, rel=0.1)
