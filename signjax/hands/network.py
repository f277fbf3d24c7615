"""A network of a .tflite file, read and made a jitted function."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax import Array

from signjax.errors import InputError
from signjax.hands.operations import apply, require_shapes
from signjax.hands.tflite import Graph, Params, read_tflite

# On a CPU, of jax 0.10 to 0.12: vectors of 512 bits halve the time of depthwise
# convolutions where there are any, and XLA's default library for products, YNNPACK,
# takes longer than the one that stands in without it, Eigen, on all but two of the
# shapes here.
_CPU_OPTIONS = {
    "xla_cpu_prefer_vector_width": 512,
    "xla_cpu_experimental_ynn_fusion_type": "",
}


class Network(NamedTuple):
    """graph: what is computed. params: tensor name -> float32 array, a plain pytree."""

    graph: Graph
    params: Params


def read_network(
    path: str | Path, inputs: tuple[int, ...], outputs: Sequence[tuple[int, ...]]
) -> Network:
    """The network of a .tflite file that takes and gives tensors of these shapes.

    inputs: (1, H, W, 3). outputs: in the file's order. Raises InputError as
    `read_tflite` does, and where the network is another or no operation gives what
    comes next.
    """
    graph, params = read_tflite(path)
    try:
        require_shapes(graph, params)
    except ValueError as error:
        raise InputError(
            f"{path}: a damaged network, get it again ({error})"
        ) from error
    shapes = {operator.output: operator.shape for operator in graph.operators}
    found = [shapes[name] for name in graph.outputs]
    if (graph.input_shape, found) != (inputs, list(outputs)):
        raise InputError(
            f"{path}: another network, which takes {graph.input_shape} and gives "
            f"{found}; expected {inputs} and {list(outputs)}"
        )
    return Network(graph, params)


def outputs_of(graph: Graph) -> Callable[[Any, Array], tuple[Array, ...]]:
    """(params, images float32 [B, H, W, 3] in [0, 1]) -> the outputs; pure."""

    def call(params: Any, images: Array) -> tuple[Array, ...]:
        tensors = apply(graph, params, images)
        return tuple(tensors[name] for name in graph.outputs)

    return call


def jitted(
    network: Network, device: jax.Device
) -> tuple[Any, Callable[[Any, Array], tuple[Array, ...]]]:
    """The parameters on the device, and `outputs_of` compiled as it runs fastest."""
    options = _CPU_OPTIONS if device.platform == "cpu" else None
    function = jax.jit(outputs_of(network.graph), compiler_options=options)
    return jax.device_put(network.params, device), function
