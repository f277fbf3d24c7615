"""--mode=summary: the layers of a network, their shapes and parameters."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict

from signjax.commands.cli import Options
from signjax.experiment import make_experiment
from signjax.runtime.console import Console
from signjax.runtime.devices import require_devices

SIGNS_CLASSES = 6  # a head of this size is counted, whatever data the config names


def run(options: Options) -> None:
    """Prints a line a layer of --config's network in order, and the totals last."""
    devices = require_devices(options.require_device)
    experiment = make_experiment(options.config, SIGNS_CLASSES, 0, devices)
    shape = (1, *experiment.view.input_shape)
    console = Console()
    console.info(
        f"{experiment.name}: {SIGNS_CLASSES} classes, input {_shape(shape[1:])}"
    )
    console.info(f"{'layer':32} {'output':>16} {'trainable':>12} {'other':>8}")
    outputs, variables = _trace(experiment.model, shape)
    params = _count_by_layer(variables["params"])
    statistics = _count_by_layer(variables.get("batch_stats", {}))
    for layer in (layer for layer in outputs if layer in params):
        console.info(
            f"{layer:32} {_shape(outputs[layer]):>16} {params[layer]:>12,} "
            f"{statistics[layer]:>8,}"
        )
    trainable = sum(params.values())
    total = trainable + sum(statistics.values())
    console.info(f"total {total:,} parameters, {trainable:,} trainable")


def _trace(
    model: nn.Module, shape: tuple[int, ...]
) -> tuple[dict[str, tuple[int, ...]], Mapping[str, Any]]:
    """(layer -> output shape without batch, in call order; variables' shapes)."""
    outputs: dict[str, tuple[int, ...]] = {}

    def note(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        output = call(*args, **kwargs)
        if context.method_name == "__call__":
            outputs["/".join(context.module.path)] = output.shape[1:]
        return output

    def init() -> Any:
        with nn.intercept_methods(note):
            return model.init(
                jax.random.key(0), np.zeros(shape, np.float32), train=False
            )

    return outputs, jax.eval_shape(init)


def _count_by_layer(collection: Any) -> Counter[str]:
    """Layer -> number of values that it holds itself."""
    counts: Counter[str] = Counter()
    leaves: dict[tuple[str, ...], Any] = flatten_dict(collection)
    for path, leaf in leaves.items():
        counts["/".join(path[:-1])] += leaf.size
    return counts


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
