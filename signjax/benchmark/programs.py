"""What is timed: training's own jitted step, or an epoch of it in one call."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from signjax.benchmark.sweep import CLASSES, SweepPoint
from signjax.data.dataset import Dataset
from signjax.data.load import make_batches
from signjax.runtime.distributed import shard_batch
from signjax.runtime.jit import jit_training
from signjax.state import TrainState


@dataclass(frozen=True)
class Program:
    """A jitted function (state, images, labels, indices, key) -> (state, metrics).

    inputs: all arguments after the state, of the call with this number. steps, images:
    optimizer steps and images that are trained on in each call.
    """

    function: Any
    inputs: Callable[[int], tuple[Any, ...]]
    steps: int
    images: int

    def repeat(self, state: TrainState, calls: int) -> TrainState:
        """Calls the function `calls` times in a row, then waits for all it made."""
        metrics: Any = None
        for call in range(calls):
            state, metrics = self.function(state, *self.inputs(call))
        jax.block_until_ready((state, metrics))
        return state


def make_program(point: SweepPoint) -> Program:
    """The program of a point, on random images: no pixel changes the speed.

    A step's batches come from the host, one a call, as in training, padded ones left
    out; an epoch is a scan over all of its batches.
    """
    experiment, key = point.experiment, point.experiment.key
    rng, size = np.random.default_rng(0), point.experiment.image_size
    images = rng.integers(0, 256, (point.train_size, size, size, 3), np.uint8)
    batches = make_batches(point.config, _dataset(images), experiment.mesh)
    placed, labels, _ = next(batches.epoch(0))
    if point.program == "epoch":
        first = batches.order(0)
        return Program(
            _jitted(point),
            lambda call: (placed, labels, batches.order(call), key),
            steps=len(first),
            images=int(np.sum(first >= 0)),
        )
    full = [batch for batch in batches.order(0) if (batch >= 0).all()]

    def inputs(call: int) -> tuple[Any, ...]:
        batch = shard_batch(experiment.mesh, full[call % len(full)])
        return placed, labels, batch, key

    return Program(_jitted(point), inputs, steps=1, images=point.batch_size)


def lower_program(
    point: SweepPoint, platforms: tuple[str, ...] | None = None
) -> jax.stages.Lowered:
    """The program of a point, lowered from shapes alone: its devices may be absent.

    platforms: such as tpu, cuda and rocm, by default that of the devices.
    """
    experiment, size = point.experiment, point.experiment.image_size
    images = np.broadcast_to(np.uint8(0), (point.train_size, size, size, 3))
    batches = make_batches(point.config, _dataset(images), experiment.mesh)
    placed, labels, indices = batches.shapes()
    if point.program == "epoch":
        indices = jax.ShapeDtypeStruct(batches.order(0).shape, np.int32)
    key = jax.ShapeDtypeStruct(experiment.key.shape, experiment.key.dtype)
    state = experiment.abstract_state()
    traced = _jitted(point).trace(state, placed, labels, indices, key)
    return traced.lower(lowering_platforms=platforms)


def _jitted(point: SweepPoint) -> Any:
    """Training's step, or a scan of it over indices int32 [steps, B], -1: padding."""
    train_step = point.experiment.train_step
    if point.program != "epoch":
        return train_step

    def epoch(state: TrainState, images: Any, labels: Any, batches: Any, key: Any):
        return jax.lax.scan(
            lambda state, indices: train_step(state, images, labels, indices, key),
            state,
            batches,
        )

    return jit_training(point.experiment.mesh, epoch, batch_axis=1)


def _dataset(images: np.ndarray) -> Dataset:
    labels = np.arange(len(images), dtype=np.int32) % CLASSES
    return Dataset(images, labels, tuple(map(str, range(CLASSES))))
