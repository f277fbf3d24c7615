"""The training loop's side effects, around the real steps of a small network."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
import pytest

from configs import cnn
from signjax import loop as loop_module
from signjax.data.batches import Batches
from signjax.data.dataset import Dataset
from signjax.errors import RunError
from signjax.evaluation.metrics import score_split
from signjax.experiment import Experiment, make_experiment
from signjax.loop import train_loop
from signjax.models import CNN
from signjax.optim import make_schedule
from signjax.runtime.checkpoint import Checkpoints
from signjax.runtime.console import Console
from signjax.runtime.distributed import make_mesh
from signjax.runtime.files import MetricsFile
from signjax.runtime.recorder import Recorder
from signjax.state import TrainState, create_state
from signjax.step import eval_step, jit_inference, jit_training, train_step
from tests.helpers.records import metrics

EPOCHS, STEPS, BATCH, SIZE = 3, 4, 16, 32
SCHEDULE: Any = make_schedule(
    "cosine", learning_rate=0.05, warmup_steps=2, total_steps=EPOCHS * STEPS
)
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, STEPS * BATCH).astype(np.int32)
IMAGES = (
    RNG.integers(0, 100, (STEPS * BATCH, SIZE, SIZE, 3))
    + 60 * LABELS[:, None, None, None]
).astype(np.uint8)


class Setup(NamedTuple):
    """experiment: of a small CNN with jitted steps, which tests share.

    make_state: a new, equal state at each call.
    """

    experiment: Experiment
    evaluate: Callable[[TrainState], dict[str, float]]
    make_state: Callable[[], TrainState]


@pytest.fixture(scope="module")
def setup() -> Setup:
    network = {"model": CNN(3, conv_impl="matmul"), "normalize": lambda images: images}
    mesh = make_mesh(jax.devices()[:1])
    step = partial(
        train_step,
        **network,
        optimizer=optax.sgd(SCHEDULE, momentum=0.9, nesterov=True),
        augment=lambda images, key: (
            images + 0.01 * jax.random.normal(key, images.shape)
        ),
        label_smoothing=0.1,
    )
    config = cnn.get_config()
    config.train.epochs, config.train.batch_size = EPOCHS, BATCH
    config.data.image_size = SIZE
    experiment = replace(
        make_experiment(config, 3, len(LABELS), jax.devices()[:1]),
        train_step=jit_training(mesh, step),
        eval_step=jit_inference(mesh, partial(eval_step, **network)),
        schedule=SCHEDULE,
        create_state=partial(
            create_state,
            model=network["model"],
            optimizer=step.keywords["optimizer"],
            image_size=SIZE,
        ),
    )
    data = Dataset(IMAGES, LABELS, ("a", "b", "c"))
    return Setup(
        experiment,
        partial(score_split, experiment, "test", data),
        experiment.initial_state,
    )


class Workdir:
    """One run on disk, and what its loop is made of."""

    def __init__(self, directory: Path, setup: Setup) -> None:
        directory.mkdir()
        self.directory = directory
        self.setup = setup
        self.metrics_file = MetricsFile(directory / "metrics.jsonl")
        self.checkpoints = Checkpoints(directory / "checkpoints", warn=pytest.fail)

    def train(self, state: TrainState, **changes: Any) -> TrainState:
        """Trains on from `state`; changes: arguments, or fields of the experiment."""
        experiment = self.setup.experiment
        names = {field.name for field in fields(experiment)} - {"train_step"}
        changed = {k: v for k, v in changes.items() if k in names}
        order = changes.pop("order", None)
        data = Dataset(IMAGES, LABELS, ("a", "b", "c"))
        batches = Batches(
            data,
            experiment.mesh,
            epochs=EPOCHS,
            batch_size=BATCH,
            seed=0,
            shuffle=True,
            drop_remainder=True,
        )
        if order:
            batches.order = order
        console = Console()
        parts: dict[str, Any] = {
            "train_step": experiment.train_step,
            "finish": lambda state: state,
            "evaluate": self.setup.evaluate,
            "best_metric": "test_accuracy",
            "checkpoint_every_epochs": 1,
            "checkpoints": self.checkpoints,
            "recorder": Recorder(self.directory, "synthetic", console, False),
            "console": console,
        }
        experiment = replace(experiment, **changed)
        parts |= {k: v for k, v in changes.items() if k in parts}
        return train_loop(state, experiment, batches, **parts)

    def restore(self, best: bool = False) -> TrainState:
        abstract = self.setup.experiment.abstract_state()
        state = self.checkpoints.restore(abstract, best=best)
        assert state is not None
        return state


@pytest.fixture
def make(tmp_path: Path, setup: Setup) -> Iterator[Callable[[str], Workdir]]:
    made: list[Workdir] = []

    def create(name: str) -> Workdir:
        made.append(Workdir(tmp_path / name, setup))
        return made[-1]

    yield create
    for workdir in made:
        workdir.checkpoints.close()


def before_step(number: int, action: Callable[[TrainState], Any], setup: Setup) -> Any:
    """The train step; `action` sees, and may replace, the state of step `number`."""

    def stepping(state: TrainState, *batch: Any) -> Any:
        if int(state.step) + 1 == number:
            state = action(state) or state
        return setup.experiment.train_step(state, *batch)

    return stepping


def interrupt(_: TrainState) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def ruin(state: TrainState) -> TrainState:
    return state.replace(params=jax.tree.map(lambda x: x * np.nan, state.params))


def bits(state: TrainState) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]


def test_a_run_trains_records_and_saves(
    make: Callable[[str], Workdir], setup: Setup, capsys: pytest.CaptureFixture[str]
) -> None:
    workdir = make("run")
    state = workdir.train(setup.make_state())
    assert int(state.step) == EPOCHS * STEPS
    records = workdir.metrics_file.read()
    assert [record["epoch"] for record in records] == [1, 2, 3]
    assert [record["step"] for record in records] == [4, 8, 12]
    rates = [float(SCHEDULE(step)) for step in (3, 7, 11)]
    assert [record["learning_rate"] for record in records] == rates
    assert records[-1]["train_loss"] < records[0]["train_loss"]
    assert {record["data"] for record in records} == {"synthetic"}
    final = setup.evaluate(state)
    assert {key: records[-1][key] for key in final} == final
    lines = capsys.readouterr().out.splitlines()  # progress too, if the machine is slow
    assert [line.split()[1] for line in lines if line.startswith("epoch")] == [
        "1/3",
        "2/3",
        "3/3",
    ]
    assert bits(workdir.restore()) == bits(state)


def test_the_step_is_compiled_once(
    make: Callable[[str], Workdir], setup: Setup
) -> None:
    workdir = make("run")
    workdir.train(setup.make_state(), epochs=2)
    workdir.train(workdir.restore())
    assert setup.experiment.train_step._cache_size() == 1


@pytest.mark.parametrize("stopped_in", [2, 4, 6, 8])
def test_a_stopped_and_resumed_run_ends_as_one_never_stopped(
    make: Callable[[str], Workdir], setup: Setup, stopped_in: int
) -> None:
    whole, parted = make("whole"), make("parted")
    expected = whole.train(setup.make_state())
    stopping = before_step(stopped_in, interrupt, setup)
    with pytest.raises(RunError) as stop:
        parted.train(setup.make_state(), train_step=stopping)
    assert f"SIGTERM after step {stopped_in} of 12" in str(stop.value)
    state = parted.restore()
    assert int(state.step) == stopped_in
    parted.metrics_file.truncate_after(stopped_in)
    found = parted.train(state)
    assert bits(found) == bits(expected)
    assert metrics(parted.directory) == metrics(whole.directory)


def test_a_signal_in_the_last_step_lets_the_run_finish(
    make: Callable[[str], Workdir], setup: Setup
) -> None:
    workdir = make("run")
    stopping = before_step(EPOCHS * STEPS, interrupt, setup)
    workdir.train(setup.make_state(), train_step=stopping)
    assert len(metrics(workdir.directory)) == EPOCHS
    assert int(workdir.restore().step) == EPOCHS * STEPS


def test_a_finished_run_has_nothing_left_to_do(
    make: Callable[[str], Workdir], setup: Setup
) -> None:
    workdir = make("run")
    workdir.train(setup.make_state())
    state = workdir.restore()
    again = workdir.train(state)
    assert again is state
    assert len(metrics(workdir.directory)) == EPOCHS


@pytest.mark.parametrize(("every", "expected"), [(1, [12, 8]), (2, [12, 8]), (5, [12])])
def test_checkpoints_are_saved_when_due_and_at_the_end(
    make: Callable[[str], Workdir], setup: Setup, every: int, expected: list[int]
) -> None:
    workdir = make("run")
    falling = iter([0.3, 0.6, 0.9])
    workdir.train(
        setup.make_state(),
        checkpoint_every_epochs=every,
        evaluate=lambda _: {"test_accuracy": next(falling), "test_loss": 1.0},
    )
    assert workdir.checkpoints.steps() == expected


def test_the_best_checkpoint_is_that_of_the_best_metric(
    make: Callable[[str], Workdir], setup: Setup
) -> None:
    workdir = make("run")
    held_out = iter([(0.9, 0.1), (0.5, 0.2), (0.6, 0.3)])

    def evaluate(_: TrainState) -> dict[str, float]:
        validation, other = next(held_out)
        return {
            "validation_accuracy": validation,
            "validation_loss": 1.0,
            "other_accuracy": other,
        }

    workdir.train(
        setup.make_state(), evaluate=evaluate, best_metric="validation_accuracy"
    )
    assert int(workdir.restore(best=True).step) == 4
    assert int(workdir.restore().step) == 12


def test_where_a_run_is_stopped_has_no_say_in_which_is_the_best(
    make: Callable[[str], Workdir], setup: Setup
) -> None:
    workdir = make("run")
    falling = iter([0.9, 0.5, 0.6])

    def changes(train_step: Any) -> dict[str, Any]:
        return {
            "train_step": train_step,
            "checkpoint_every_epochs": 2,
            "evaluate": lambda _: {"test_accuracy": next(falling), "test_loss": 1.0},
        }

    stopping = before_step(STEPS, interrupt, setup)  # the last one of an epoch
    with pytest.raises(RunError, match="after step 4 of 12"):
        workdir.train(setup.make_state(), **changes(stopping))
    workdir.train(workdir.restore(), **changes(setup.experiment.train_step))
    assert int(workdir.restore(best=True).step) == 12


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_state(
    make: Callable[[str], Workdir], setup: Setup
) -> None:
    workdir = make("run")
    with pytest.raises(RunError) as error:
        workdir.train(setup.make_state(), train_step=before_step(6, ruin, setup))
    message = str(error.value)
    assert "loss of step 6 is not finite" in message
    assert f"learning rate {float(SCHEDULE(5)):.3g}" in message
    assert "checkpoint of step 4" in message
    assert "learning_rate" in message
    assert "\n" not in message
    assert workdir.checkpoints.steps() == [4]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(workdir.restore()))
    assert len(metrics(workdir.directory)) == 1


def test_before_the_first_checkpoint_it_says_that_none_is_kept(
    make: Callable[[str], Workdir], setup: Setup
) -> None:
    workdir = make("run")
    with pytest.raises(RunError, match=r"step 1 is not finite.*none saved"):
        workdir.train(setup.make_state(), train_step=before_step(1, ruin, setup))


def test_parameters_ruined_by_an_epochs_last_step_are_not_saved(
    make: Callable[[str], Workdir], setup: Setup
) -> None:
    workdir = make("run")

    def stepping(state: TrainState, *batch: Any) -> Any:
        state, sums = setup.experiment.train_step(state, *batch)
        return (ruin(state) if int(state.step) == 8 else state), sums

    with pytest.raises(
        RunError, match=r"after step 8 .*not finite.*checkpoint of step 4"
    ):
        workdir.train(setup.make_state(), train_step=stepping)
    assert workdir.checkpoints.steps() == [4]
    assert len(metrics(workdir.directory)) == 1


def test_the_first_bad_step_is_named_though_progress_is_read_later(
    make: Callable[[str], Workdir], setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many steps lie between two readings of the metrics; the state knows all."""
    calls = iter(range(10_000))
    clock = lambda: 0.3 * loop_module.PROGRESS_INTERVAL * next(calls)  # noqa: E731
    monkeypatch.setattr(loop_module.time, "perf_counter", clock)
    steps = 12
    longer = {
        "epochs": 1,
        "steps_per_epoch": steps,
        "order": lambda _: np.arange(steps * BATCH).reshape(steps, BATCH) % 64,
    }
    for bad in (2, 3, 4, 5):
        workdir = make(f"run{bad}")
        stepping = before_step(bad, ruin, setup)
        with pytest.raises(RunError, match=f"loss of step {bad} is not finite"):
            workdir.train(setup.make_state(), train_step=stepping, **longer)


def test_the_rate_counts_images_and_not_padding(
    make: Callable[[str], Workdir], setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(10_000))
    monkeypatch.setattr(loop_module.time, "perf_counter", lambda: 0.1 * next(calls))
    workdir, real = make("run"), 40
    padded = np.append(np.arange(real), np.full(STEPS * BATCH - real, -1))
    # As an epoch that is resumed: the images of before were another process's work.
    state = setup.make_state()
    before = state.metrics.replace(count=state.metrics.count + 1000)
    workdir.train(
        state.replace(metrics=before),
        epochs=1,
        order=lambda _: padded.reshape(STEPS, BATCH),
    )
    (record,) = workdir.metrics_file.read()
    counted = record["images_per_second"] * record["seconds"]
    assert counted == pytest.approx(real, rel=0.1)


def test_records_are_strict_json(make: Callable[[str], Workdir], setup: Setup) -> None:
    workdir = make("run")
    workdir.train(setup.make_state(), epochs=1)
    (line,) = workdir.metrics_file.path.read_text().splitlines()
    record = json.loads(line, parse_constant=pytest.fail)
    assert re.fullmatch(r"\d+(\.\d+)?", str(record["images_per_second"]))
