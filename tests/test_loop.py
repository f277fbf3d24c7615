"""The training loop's side effects, around the real steps of a small network."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
import pytest

from signjax import loop as loop_module
from signjax.data.batches import epoch_batches
from signjax.errors import RunError
from signjax.evaluation.metrics import predict_logits, score
from signjax.loop import Loop, memory_advice
from signjax.models.cnn import CNN
from signjax.optim import make_schedule
from signjax.runtime.checkpoint import Checkpoints
from signjax.runtime.console import Console
from signjax.runtime.files import MetricsFile
from signjax.state import TrainState, create_state
from signjax.step import (
    compile_eval_step,
    compile_train_step,
    make_mesh,
    replicated,
)
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

Step = Callable[[TrainState, np.ndarray], Any]


class Setup(NamedTuple):
    """compiled: the jitted train step, to ask how often it was compiled."""

    compiled: Any
    train_step: Step
    evaluate: Callable[[TrainState], dict[str, float]]
    make_state: Callable[[], TrainState]


@pytest.fixture(scope="module")
def setup() -> Setup:
    model = CNN(3, conv_impl="matmul")
    optimizer = optax.sgd(SCHEDULE, momentum=0.9, nesterov=True)
    mesh = make_mesh(jax.devices()[:1])
    compiled = compile_train_step(
        mesh,
        model=model,
        optimizer=optimizer,
        augment=lambda images, key: (
            images + 0.01 * jax.random.normal(key, images.shape)
        ),
        normalize=lambda images: images,
        label_smoothing=0.1,
    )
    eval_step = compile_eval_step(mesh, model=model, normalize=lambda images: images)
    create = jax.jit(
        partial(create_state, model, optimizer, image_size=SIZE),
        out_shardings=replicated(mesh),
    )
    images, labels = jax.device_put((IMAGES, LABELS), replicated(mesh))

    def evaluate(state: TrainState) -> dict[str, float]:
        logits = predict_logits(eval_step, state.variables, IMAGES, 32)
        scores = score(logits, LABELS, "abc")
        return {f"test_{name}": scores[name] for name in ("loss", "accuracy")}

    return Setup(
        compiled,
        lambda state, indices: compiled(
            state, images, labels, indices, jax.random.key(1)
        ),
        evaluate,
        lambda: create(jax.random.key(0)),
    )


class Workdir:
    """One run on disk, and what its loop is made of."""

    def __init__(self, directory: Path, setup: Setup) -> None:
        directory.mkdir()
        self.directory = directory
        self.setup = setup
        self.metrics_file = MetricsFile(directory / "metrics.jsonl")
        self.checkpoints = Checkpoints(directory / "checkpoints", warn=pytest.fail)

    def loop(self, **changes: Any) -> Loop:
        parts: dict[str, Any] = {
            "train_step": self.setup.train_step,
            "batches": lambda epoch: epoch_batches(
                len(LABELS),
                BATCH,
                seed=0,
                epoch=epoch,
                shuffle=True,
                drop_remainder=True,
            ),
            "finish": lambda state: state,
            "evaluate": self.setup.evaluate,
            "best_metric": "test_accuracy",
            "schedule": SCHEDULE,
            "epochs": EPOCHS,
            "steps_per_epoch": STEPS,
            "checkpoint_every_epochs": 1,
            "checkpoints": self.checkpoints,
            "metrics_file": self.metrics_file,
            "tensorboard": None,
            "console": Console(),
            "constants": {"data": "synthetic"},
        }
        return Loop(**(parts | changes))

    def restore(self, best: bool = False) -> TrainState:
        abstract = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
            self.setup.make_state(),
        )
        checkpoints = self.checkpoints
        restore = checkpoints.restore_best if best else checkpoints.restore
        restored = restore(abstract)
        assert restored is not None
        state, step = restored
        assert int(state.step) == step
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


def before_step(number: int, action: Callable[[TrainState], Any], setup: Setup) -> Step:
    """The train step; `action` sees, and may replace, the state of step `number`."""

    def train_step(state: TrainState, indices: np.ndarray) -> Any:
        if int(state.step) + 1 == number:
            state = action(state) or state
        return setup.train_step(state, indices)

    return train_step


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
    state = workdir.loop().run(setup.make_state())
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
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == [
        "1/3",
        "2/3",
        "3/3",
    ]
    assert bits(workdir.restore()) == bits(state)


def test_the_step_is_compiled_once(
    make: Callable[[str], Workdir], setup: Setup
) -> None:
    workdir = make("run")
    workdir.loop(epochs=2).run(setup.make_state())
    workdir.loop().run(workdir.restore())
    assert setup.compiled._cache_size() == 1


@pytest.mark.parametrize("stopped_in", [2, 4, 6, 8])
def test_a_stopped_and_resumed_run_ends_as_one_never_stopped(
    make: Callable[[str], Workdir], setup: Setup, stopped_in: int
) -> None:
    whole, parted = make("whole"), make("parted")
    expected = whole.loop().run(setup.make_state())
    stopping = before_step(stopped_in, interrupt, setup)
    with pytest.raises(RunError) as stop:
        parted.loop(train_step=stopping).run(setup.make_state())
    assert f"SIGTERM after step {stopped_in} of 12" in str(stop.value)
    state = parted.restore()
    assert int(state.step) == stopped_in
    parted.metrics_file.truncate_after(stopped_in)
    found = parted.loop().run(state)
    assert bits(found) == bits(expected)
    assert metrics(parted.directory) == metrics(whole.directory)


def test_a_signal_in_the_last_step_lets_the_run_finish(
    make: Callable[[str], Workdir], setup: Setup
) -> None:
    workdir = make("run")
    stopping = before_step(EPOCHS * STEPS, interrupt, setup)
    workdir.loop(train_step=stopping).run(setup.make_state())
    assert len(metrics(workdir.directory)) == EPOCHS
    assert int(workdir.restore().step) == EPOCHS * STEPS


def test_a_finished_run_has_nothing_left_to_do(
    make: Callable[[str], Workdir], setup: Setup
) -> None:
    workdir = make("run")
    workdir.loop().run(setup.make_state())
    state = workdir.restore()
    again = workdir.loop().run(state)
    assert again is state
    assert len(metrics(workdir.directory)) == EPOCHS


@pytest.mark.parametrize(("every", "expected"), [(1, [12, 8]), (2, [12, 8]), (5, [12])])
def test_checkpoints_are_saved_when_due_and_at_the_end(
    make: Callable[[str], Workdir], setup: Setup, every: int, expected: list[int]
) -> None:
    workdir = make("run")
    falling = iter([0.3, 0.6, 0.9])
    workdir.loop(
        checkpoint_every_epochs=every,
        evaluate=lambda _: {"test_accuracy": next(falling), "test_loss": 1.0},
    ).run(setup.make_state())
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

    loop = workdir.loop(evaluate=evaluate, best_metric="validation_accuracy")
    loop.run(setup.make_state())
    assert int(workdir.restore(best=True).step) == 4
    assert int(workdir.restore().step) == 12


def test_where_a_run_is_stopped_has_no_say_in_which_is_the_best(
    make: Callable[[str], Workdir], setup: Setup
) -> None:
    workdir = make("run")
    falling = iter([0.9, 0.5, 0.6])

    def changes(train_step: Step) -> dict[str, Any]:
        return {
            "train_step": train_step,
            "checkpoint_every_epochs": 2,
            "evaluate": lambda _: {"test_accuracy": next(falling), "test_loss": 1.0},
        }

    stopping = before_step(STEPS, interrupt, setup)  # the last one of an epoch
    with pytest.raises(RunError, match="after step 4 of 12"):
        workdir.loop(**changes(stopping)).run(setup.make_state())
    workdir.loop(**changes(setup.train_step)).run(workdir.restore())
    assert int(workdir.restore(best=True).step) == 12


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_state(
    make: Callable[[str], Workdir], setup: Setup
) -> None:
    workdir = make("run")
    with pytest.raises(RunError) as error:
        workdir.loop(train_step=before_step(6, ruin, setup)).run(setup.make_state())
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
        workdir.loop(train_step=before_step(1, ruin, setup)).run(setup.make_state())


def test_parameters_ruined_by_an_epochs_last_step_are_not_saved(
    make: Callable[[str], Workdir], setup: Setup
) -> None:
    workdir = make("run")

    def train_step(state: TrainState, indices: np.ndarray) -> Any:
        state, sums = setup.train_step(state, indices)
        return (ruin(state) if int(state.step) == 8 else state), sums

    with pytest.raises(
        RunError, match=r"after step 8 .*not finite.*checkpoint of step 4"
    ):
        workdir.loop(train_step=train_step).run(setup.make_state())
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
        "batches": lambda _: np.arange(steps * BATCH).reshape(steps, BATCH) % 64,
    }
    for bad in (2, 3, 4, 5):
        workdir = make(f"run{bad}")
        loop = workdir.loop(train_step=before_step(bad, ruin, setup), **longer)
        with pytest.raises(RunError, match=f"loss of step {bad} is not finite"):
            loop.run(setup.make_state())


def test_the_rate_counts_images_and_not_padding(
    make: Callable[[str], Workdir], setup: Setup
) -> None:
    workdir, real = make("run"), 40
    padded = np.append(np.arange(real), np.full(STEPS * BATCH - real, -1))
    loop = workdir.loop(epochs=1, batches=lambda _: padded.reshape(STEPS, BATCH))
    # As an epoch that is resumed: the images of before were another process's work.
    state = setup.make_state()
    before = state.metrics.replace(count=state.metrics.count + 1000)
    loop.run(state.replace(metrics=before))
    (record,) = workdir.metrics_file.read()
    counted = record["images_per_second"] * record["seconds"]
    assert counted == pytest.approx(real, rel=0.1)


def test_records_are_strict_json(make: Callable[[str], Workdir], setup: Setup) -> None:
    workdir = make("run")
    workdir.loop(epochs=1).run(setup.make_state())
    (line,) = workdir.metrics_file.path.read_text().splitlines()
    record = json.loads(line, parse_constant=pytest.fail)
    assert re.fullmatch(r"\d+(\.\d+)?", str(record["images_per_second"]))


def test_out_of_memory_says_what_to_lower() -> None:
    with pytest.raises(RunError, match=r"batch size 512 at 128 x 128.*batch_size"):
        with memory_advice(512, 128):
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        with memory_advice(512, 128):
            raise jax.errors.JaxRuntimeError("INTERNAL: something else")
