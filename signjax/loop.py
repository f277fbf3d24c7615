"""The training loop: its side effects, in order."""

import math
import time
from collections.abc import Callable
from typing import Any

from signjax.data.batches import Batches
from signjax.errors import RunError
from signjax.experiment import Experiment
from signjax.runtime.checkpoint import Checkpoints
from signjax.runtime.console import Console, Progress
from signjax.runtime.distributed import device_put_global, single_process
from signjax.runtime.recorder import Recorder
from signjax.runtime.signals import SharedStopRequest, StopRequest
from signjax.state import Metrics, TrainState

# Seconds between readings of the device's metrics; each waits for one step.
PROGRESS_INTERVAL = 0.5


def train_loop(
    state: TrainState,
    experiment: Experiment,
    batches: Batches,
    *,
    train_step: Callable[..., Any],
    finish: Callable[[TrainState], TrainState],
    evaluate: Callable[[TrainState], dict[str, float]],
    best_metric: str,
    checkpoint_every_epochs: int,
    checkpoints: Checkpoints,
    recorder: Recorder,
    console: Console,
) -> TrainState:
    """Trains from `state` to the last epoch and returns the final state.

    train_step: the experiment's, compiled. finish: what is done to the state after the
    last step. evaluate: state -> numbers of an epoch's record, among them best_metric,
    the accuracy by which the best checkpoint is kept.

    Raises RunError when the loss is not finite or a signal asks to stop; the
    checkpoints then hold the last good state.
    """
    first, total = int(state.step), experiment.total_steps
    stop_request = StopRequest() if single_process() else SharedStopRequest()
    with stop_request as stop, console.progress(total, first) as progress:
        for epoch in range(first // experiment.steps_per_epoch, experiment.epochs):
            epoch_start, started = int(state.step), time.perf_counter()
            state = _train_epoch(
                state, experiment, batches, train_step, epoch, progress, stop
            )
            step, sums = int(state.step), state.metrics  # waits for the last step
            seconds = time.perf_counter() - started
            if (bad_step := int(sums.bad_step)) >= 0:
                checkpoints.wait()
                what = f"the loss of step {bad_step + 1}"
                raise _diverged(what, bad_step + 1, experiment, checkpoints.steps())
            if step < (epoch + 1) * experiment.steps_per_epoch:
                checkpoints.save(step, state)
                checkpoints.wait()
                raise _stopped(step, total, stop)
            # Placed like those of before: another placement would compile it again.
            zero = device_put_global(Metrics.zero(), sums.count.sharding)
            state = state.replace(metrics=zero)
            if step == total:
                state = finish(state)
            scores = evaluate(state)
            if not all(map(math.isfinite, scores.values())):
                # Ruined by the epoch's last update, which no loss has seen yet.
                checkpoints.wait()
                what = f"after step {step} the held-out loss"
                raise _diverged(what, step, experiment, checkpoints.steps())
            images = batches.count_images(epoch, epoch_start, step)
            record = {
                "epoch": epoch + 1,
                "step": step,
                **{f"train_{name}": value for name, value in sums.compute().items()},
                **scores,
                "learning_rate": float(experiment.schedule(step - 1)),
                "seconds": round(seconds, 3),
                "images_per_second": round(images / seconds, 1),
            }
            # The record comes before the checkpoint: a kill between the two repeats
            # the epoch and drops the record, and loses neither.
            recorder.add(record, epochs=experiment.epochs)
            due = step == total or (epoch + 1) % checkpoint_every_epochs == 0
            # Only those that every run has may be the best, stopped or not.
            metrics = {"accuracy": record[best_metric]} if due else None
            stopping = stop.received and step < total
            if due or stopping:
                checkpoints.save(step, state, metrics)
            if stopping:
                checkpoints.wait()
                raise _stopped(step, total, stop)
    checkpoints.wait()
    return state


def _train_epoch(
    state: TrainState,
    experiment: Experiment,
    batches: Batches,
    train_step: Callable[..., Any],
    epoch: int,
    progress: Progress,
    stop: StopRequest,
) -> TrainState:
    """The rest of the epoch that `state` stands in, or less when asked to stop."""
    first = step = int(state.step)
    started = shown = time.perf_counter()
    previous: Metrics | None = None
    for batch in batches.epoch(epoch, skip=first - epoch * experiment.steps_per_epoch):
        state, metrics = train_step(state, *batch, experiment.key)
        now = time.perf_counter()
        if previous is not None and now - shown > PROGRESS_INTERVAL:
            # Of the step before, so that the device has the next one to work on.
            # Several processes would not all stop here after the same step.
            if int(previous.bad_step) >= 0 and single_process():
                break  # the state's sums know the first such step
            rate = batches.count_images(epoch, first, step) / (now - started)
            progress.update(step, **previous.compute(), images_per_second=rate)
            shown = now
        previous, step = metrics, step + 1
        if stop.is_due(step):
            break
    return state


def _diverged(
    what: str, step: int, experiment: Experiment, saved: list[int]
) -> RunError:
    """The error for `what` that is not finite, seen in or after update `step`.

    saved: the steps that have a checkpoint, the latest first.
    """
    kept = f"the checkpoint of step {saved[0]} is kept" if saved else "none saved"
    return RunError(
        f"{what} is not finite, at learning rate {experiment.schedule(step - 1):.3g}; "
        f"{kept}. Lower config.optimizer.learning_rate or lengthen "
        "config.optimizer.warmup_epochs, with a new --workdir"
    )


def _stopped(step: int, total_steps: int, stop: StopRequest) -> RunError:
    """The error that ends a run on request."""
    return RunError(
        f"stopped by {stop.received} after step {step} of {total_steps}; "
        "the state is saved, and the same command goes on from here"
    )
