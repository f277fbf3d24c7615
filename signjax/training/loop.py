"""The training loop: its side effects, in order."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from signjax.errors import RunError
from signjax.processes import alone, place
from signjax.reporting.logs import Console, MetricsFile, Progress
from signjax.reporting.tensorboard import TensorBoard
from signjax.training.checkpoint import Checkpoints
from signjax.training.interruption import SharedStopRequest, StopRequest
from signjax.training.metrics import Metrics
from signjax.training.state import TrainState

# Seconds between readings of the device's metrics; each waits for one step.
PROGRESS_INTERVAL = 0.5


@dataclass(frozen=True)
class Loop:
    """All that training needs, but the state it starts from.

    train_step: (state, indices) -> (state, metrics of the batch); donates the state.
    batches: epoch -> int32 [steps_per_epoch, batch_size]. finish: what is done to the
    state after the last step. evaluate: state -> numbers
    of one epoch's record, among them `best_metric`, the accuracy that the best
    checkpoint has most of. constants: what else goes into every record. metrics_file,
    tensorboard: None where none is written, as by all processes but the first.
    """

    train_step: Callable[[TrainState, np.ndarray], tuple[TrainState, Metrics]]
    batches: Callable[[int], np.ndarray]
    finish: Callable[[TrainState], TrainState]
    evaluate: Callable[[TrainState], dict[str, float]]
    best_metric: str
    schedule: Callable[[int], Any]
    epochs: int
    steps_per_epoch: int
    checkpoint_every_epochs: int
    checkpoints: Checkpoints
    metrics_file: MetricsFile | None
    tensorboard: TensorBoard | None
    console: Console
    constants: Mapping[str, Any]

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    def run(self, state: TrainState) -> TrainState:
        """Trains from `state` to the last epoch and returns the final state.

        Raises RunError when the loss is not finite or a signal asks to stop; the
        checkpoints then hold the last good state.
        """
        first = int(state.step)
        with (
            StopRequest() if alone() else SharedStopRequest() as stop,
            self.console.progress(self.total_steps, first) as progress,
        ):
            for epoch in range(first // self.steps_per_epoch, self.epochs):
                started, start = time.perf_counter(), int(state.step)
                state = self._train_epoch(state, epoch, progress, stop)
                self._check_finite(state.metrics)
                step = int(state.step)
                if step < (epoch + 1) * self.steps_per_epoch:
                    self._stop(state, step, stop, None)
                seconds = time.perf_counter() - started
                trained = state.metrics.compute()
                first_step = epoch * self.steps_per_epoch
                batches = self.batches(epoch)[start - first_step : step - first_step]
                images = np.count_nonzero(batches >= 0)  # -1 is padding
                state = state.replace(metrics=_zero_like(state.metrics))
                if step == self.total_steps:
                    state = self.finish(state)
                scores = self.evaluate(state)
                if not all(map(math.isfinite, scores.values())):
                    # Ruined by the epoch's last update, which no loss has seen yet.
                    raise self._diverged(f"after step {step} the held-out loss", step)
                record = {
                    "epoch": epoch + 1,
                    "step": step,
                    **self.constants,
                    **{f"train_{name}": value for name, value in trained.items()},
                    **scores,
                    "learning_rate": float(self.schedule(step - 1)),
                    "seconds": round(seconds, 3),
                    "images_per_second": round(images / seconds, 1),
                }
                # The record comes before the checkpoint: a kill between the two
                # repeats the epoch and drops the record, and loses neither.
                self._publish(record)
                due = self._is_checkpoint_due(epoch)
                # Only those that every run has may be the best, stopped or not.
                metrics = {"accuracy": record[self.best_metric]} if due else None
                if stop.received and step < self.total_steps:
                    self._stop(state, step, stop, metrics)
                if due:
                    self.checkpoints.save(step, state, metrics)
        self.checkpoints.wait()
        return state

    def _publish(self, record: dict[str, Any]) -> None:
        if self.metrics_file:
            self.metrics_file.append(record)
        self.console.epoch(record, epochs=self.epochs)
        if self.tensorboard:
            self.tensorboard.write(record["step"], record)

    def _train_epoch(
        self, state: TrainState, epoch: int, progress: Progress, stop: StopRequest
    ) -> TrainState:
        """The rest of the epoch that `state` stands in, or less when asked to stop."""
        done = int(state.step)
        started = shown = time.perf_counter()
        batches = self.batches(epoch)[done - epoch * self.steps_per_epoch :]
        previous: Metrics | None = None
        for count, indices in enumerate(batches, start=1):
            state, metrics = self.train_step(state, indices)
            now = time.perf_counter()
            if previous is not None and now - shown > PROGRESS_INTERVAL:
                # Of the step before, so that the device has the next one to work on.
                # Several processes would not all stop here after the same step.
                if int(previous.bad_step) >= 0 and alone():
                    break  # the state's sums know the first such step
                images = np.count_nonzero(batches[: count - 1] >= 0)  # -1 is padding
                progress.update(
                    done + count - 1,
                    **previous.compute(),
                    images_per_second=images / (now - started),
                )
                shown = now
            previous = metrics
            if stop.is_due(done + count):
                break
        return state

    def _is_checkpoint_due(self, epoch: int) -> bool:
        last = epoch + 1 == self.epochs
        return last or (epoch + 1) % self.checkpoint_every_epochs == 0

    def _check_finite(self, metrics: Metrics) -> None:
        bad_step = int(metrics.bad_step)
        if bad_step >= 0:
            raise self._diverged(f"the loss of step {bad_step + 1}", bad_step + 1)

    def _diverged(self, what: str, step: int) -> RunError:
        """The error for `what` that is not finite, seen in or after update `step`."""
        self.checkpoints.wait()
        saved = self.checkpoints.steps()
        kept = f"the checkpoint of step {saved[0]} is kept" if saved else "none saved"
        return RunError(
            f"{what} is not finite, at learning rate "
            f"{float(self.schedule(step - 1)):.3g}; {kept}. Lower "
            "config.optimizer.learning_rate or lengthen "
            "config.optimizer.warmup_epochs, with a new --workdir"
        )

    def _stop(
        self,
        state: TrainState,
        step: int,
        stop: StopRequest,
        metrics: dict[str, float] | None,
    ) -> None:
        self.checkpoints.save(step, state, metrics)
        self.checkpoints.wait()
        raise RunError(
            f"stopped by {stop.received} after step {step} of {self.total_steps}; "
            "the state is saved, and the same command goes on from here"
        )


def _zero_like(metrics: Metrics) -> Metrics:
    """Placed like `metrics`, as another placement would compile the step again."""
    return place(Metrics.zero(), metrics.count.sharding)


@contextmanager
def memory_advice(batch_size: int, image_size: int) -> Iterator[None]:
    """Turns running out of device memory into a RunError that says what to lower."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise RunError(
            f"the device ran out of memory with batch size {batch_size} at "
            f"{image_size} x {image_size} pixels; lower config.train.batch_size "
            "or config.data.image_size, with a new --workdir"
        ) from error
