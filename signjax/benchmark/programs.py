"""What is timed: training's own jitted step, alone, bare or an epoch of it at once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from signjax.runtime.distributed import batched
from signjax.state import TrainState
from signjax.step import jit_training

# (state, images, labels, indices, key) -> (state, metrics), as training jits it.
TrainStep = Callable[..., Any]


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

    def run(self, state: TrainState, calls: int) -> TrainState:
        """Calls the function `calls` times in a row, then waits for all it made."""
        metrics: Any = None
        for call in range(calls):
            state, metrics = self.function(state, *self.inputs(call))
        jax.block_until_ready((state, metrics))
        return state


def step_program(
    train_step: TrainStep, data: tuple[Any, Any], batches: np.ndarray, key: jax.Array
) -> Program:
    """One step a call, with the next of `batches` from the host, as training calls it.

    data: images and labels on the devices. batches: int32 [steps, B] without padding.
    """
    return Program(
        train_step,
        lambda call: (*data, batches[call % len(batches)], key),
        steps=1,
        images=batches.shape[1],
    )


def bare_program(
    train_step: TrainStep,
    data: tuple[Any, Any],
    batch: np.ndarray,
    key: jax.Array,
    mesh: Mesh,
) -> Program:
    """One step a call on the same batch each time, whose indices are on the devices.

    train_step: one that augments nothing, so that the network alone is left.
    """
    indices = jax.device_put(batch, batched(mesh))
    return Program(
        train_step,
        lambda call: (*data, indices, key),
        steps=1,
        images=len(batch),
    )


def epoch_program(
    train_step: TrainStep,
    data: tuple[Any, Any],
    batches: Callable[[int], np.ndarray],
    key: jax.Array,
    mesh: Mesh,
) -> Program:
    """An epoch a call: a scan over the batches of that epoch, which the host draws.

    batches: epoch -> int32 [steps, B], -1 is padding.
    """
    first = batches(0)

    def epoch(state: TrainState, images: Any, labels: Any, batches: Any, key: Any):
        return jax.lax.scan(
            lambda state, indices: train_step(state, images, labels, indices, key),
            state,
            batches,
        )

    return Program(
        jit_training(mesh, epoch, batch_axis=1),
        lambda call: (*data, batches(call), key),
        steps=len(first),
        images=int(np.sum(first >= 0)),
    )
