"""A Keras model's stored configuration -> its layers, and what they do to images."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from signjax.errors import InputError

_CONTAINERS = ("Functional", "Model", "Sequential")


class Layer(NamedTuple):
    """kind: Keras' class name. inputs: names of the layers it is called on.

    call: the arguments of that call, as stored. training: the one of that name. group:
    where Keras 3 stores its variables. Layers of a model within the model are named
    after the outermost one too, as `resnet50/conv1_conv`.
    """

    name: str
    kind: str
    settings: dict[str, Any]
    inputs: tuple[str, ...]
    call: Any
    training: bool | None
    group: str


def parse_layers(model: dict[str, Any]) -> dict[str, Layer]:
    """The layers of a Keras 2 or 3 model's stored configuration by name, in order.

    Raises InputError if it is none, KeyError and the like if it is malformed.
    """
    layers: dict[str, Layer] = {}
    _flatten(model, "", "layers", None, None, layers)
    return layers


def _flatten(
    model: dict[str, Any],
    prefix: str,
    group: str,
    feeds: list[str] | None,
    training: bool | None,
    layers: dict[str, Layer],
) -> list[str]:
    """Adds the layers of `model`, called on `feeds`; the names of its outputs."""
    settings = model["config"]
    if isinstance(settings, list):  # a Sequential's, once
        settings = {"layers": settings}
    if model["class_name"] not in _CONTAINERS or "layers" not in settings:
        raise InputError(
            f"its model is of class {model['class_name']}: expected a functional or a "
            "sequential one"
        )
    sequential = model["class_name"] == "Sequential"
    outputs: dict[str, list[str]] = {}  # of each layer here, by its own name
    counts: dict[str, int] = {}
    last, unfed = list(feeds or ()), list(feeds or ())
    for entry in settings["layers"]:
        kind, own = entry["class_name"], entry["config"]["name"]
        key = _snake_case(kind)
        number = counts[key] = counts.get(key, -1) + 1
        place = f"{group}/{key}_{number}" if number else f"{group}/{key}"
        nodes = entry.get("inbound_nodes") or [None]
        if len(nodes) > 1:
            raise InputError(f"layer {own} is used {len(nodes)} times: expected once")
        (call,) = nodes
        called, mode = _call(call)
        mode = training if mode is None else mode
        inputs = last if sequential else [outputs[name][0] for name in called]
        name = prefix + own
        if kind == "InputLayer" and feeds is not None:
            last = [unfed.pop(0)]
        elif kind in _CONTAINERS:
            below = prefix or f"{own}/"
            last = _flatten(entry, below, f"{place}/layers", inputs, mode, layers)
        elif name in layers:
            raise InputError(f"two of its layers are called {name}: expected one")
        else:
            layers[name] = Layer(
                name, kind, entry["config"], (*inputs,), call, mode, place
            )
            last = [name]
        outputs[own] = last
    if sequential:
        return last
    ends = settings["output_layers"]
    ends = [ends] if isinstance(ends[0], str) else ends
    return [outputs[name][0] for name, *_ in ends]


def _snake_case(kind: str) -> str:
    """BatchNormalization -> batch_normalization, Conv2D -> conv2d."""
    return re.sub(r"(?<!^)(?=[A-Z][a-z])", "_", kind).lower()


def _call(node: Any) -> tuple[list[str], bool | None]:
    """(names of the layers that a call takes, its `training` argument)."""
    if node is None:
        return [], None
    if isinstance(node, dict):  # Keras 3
        return list(_tensors(node["args"])), node["kwargs"].get("training")
    tensors = [node] if isinstance(node[0], str) else node
    return [tensor[0] for tensor in tensors], tensors[0][3].get("training")


def _tensors(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        yield value["config"]["keras_history"][0]


# Operations on tensors, as Keras 3 and, without their package, TensorFlow call them.
_OPERATIONS = {
    "add": np.add,
    "bias_add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "true_divide": np.divide,
    "truediv": np.divide,
}
_NONE_IN_USE = ("Resizing", "Dropout", "GaussianNoise", "Cast", "Identity")


def affine(
    layer: Layer, inputs: list[np.ndarray], arrays: Mapping[str, np.ndarray]
) -> np.ndarray:
    """What a layer makes of RGB from 0 to 255: float64 [channels, (R, G, B, 1)].

    inputs: the same of the layers before it. Layers of training alone do nothing.
    """
    settings, kind = layer.settings, layer.kind
    if kind == "InputLayer":
        return np.eye(3, 4)
    x, constants = inputs[0], _constants(layer.call)
    operation = str(settings.get("function", _snake_case(kind))).rpartition(".")[2]
    if kind.startswith("Random") or kind in _NONE_IN_USE or operation == "cast":
        return x
    if kind == "Rescaling":
        return _scaled(x, settings["scale"], settings["offset"])
    if kind == "Normalization" and not settings.get("invert"):
        mean, variance = settings["mean"], settings["variance"]
        if mean is None:  # adapted to images: its variables
            mean, variance = (arrays[f"{layer.name}/{x}"] for x in ("kernel", "bias"))
        deviation = np.maximum(np.sqrt(variance), 1e-7)
        return _scaled(x, 1 / deviation, np.negative(mean) / deviation)
    if operation == "stack":
        return np.concatenate(inputs)
    if operation in ("get_item", "getitem") and constants:
        index = constants[-1][-1]
        if isinstance(index, int):
            return x[[index]]
        if index.get("config", index) == {"start": None, "stop": None, "step": -1}:
            return x[::-1]
    if operation in _OPERATIONS and len(constants) == len(inputs) == 1:
        change, constant = _OPERATIONS[operation], constants[0]
        if change in (np.multiply, np.divide):
            return _scaled(x, change(1, constant), 0)
        return _scaled(x, 1, change(0, constant))
    raise InputError(
        f"{layer.name} ({kind}) prepares its images: expected Rescaling, Normalization "
        "or ResNet's preprocess_input"
    )


def _scaled(x: np.ndarray, scale: Any, offset: Any) -> np.ndarray:
    scaled = x * np.reshape(scale, (-1, 1))
    scaled[:, 3] += np.ravel(offset)
    return scaled


def _constants(call: Any) -> list[Any]:
    """The arguments of a call that are no tensors, where a tensor is the first."""
    if isinstance(call, dict):
        first, *others = call["args"]
        if list(_tensors(first)):
            values = [*others, *call["kwargs"].values()]
            return [_value(x) for x in values if not list(_tensors(x))]
        return []
    options = call[3] if call and isinstance(call[0], str) else {}
    return [x for key, x in options.items() if key in ("bias", "y", "slice_spec")]


def _value(stored: Any) -> Any:
    is_array = isinstance(stored, dict) and stored["class_name"] in (
        "__tensor__",
        "__numpy__",
    )
    return stored["config"]["value"] if is_array else stored
