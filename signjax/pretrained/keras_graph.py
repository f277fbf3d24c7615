"""A ResNet-50 found in the configuration that Keras stores with a whole model.

Layers may have any names: what a layer is follows from how it is connected. What the
configuration says of strides, padding and BatchNorm is read, never assumed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from signjax.pretrained.names import BLOCKS, STEM, Unit


@dataclass(frozen=True)
class Layer:
    """kind: Keras' class name. inputs: names of the layers it is called on.

    training: the value of a `training` argument stored with the call.
    """

    name: str
    kind: str
    settings: dict[str, Any]
    inputs: tuple[str, ...]
    training: bool | None


@dataclass(frozen=True)
class KerasNetwork:
    """A ResNet-50's layers by what they do.

    units: names of each unit's convolution and BatchNorm. head: name of the classifier
    or None. image_size: pixels a side that it was built for, None for any.
    batch_statistics: the BatchNorm layers called with training=True.
    """

    units: dict[Unit, tuple[str, str]]
    head: str | None
    stride_on: str
    pool_padding: int
    bn_momentum: float
    bn_epsilon: float
    image_size: int | None
    batch_statistics: tuple[str, ...]


def parse_layers(model: dict[str, Any]) -> list[Layer]:
    """The layers of a Keras 2 or 3 functional model's stored configuration, in order.

    Raises ValueError if it is not one, KeyError or TypeError if it is malformed.
    """
    settings = model["config"]
    if model["class_name"] not in ("Functional", "Model") or "layers" not in settings:
        raise ValueError(
            f"its model is of class {model['class_name']}: expected a functional model"
        )
    layers = []
    for entry in settings["layers"]:
        nodes = entry["inbound_nodes"]
        name = entry["config"]["name"]
        if len(nodes) > 1:
            raise ValueError(f"layer {name} is used {len(nodes)} times: expected once")
        inputs, training = _call(nodes[0]) if nodes else ((), None)
        layers.append(
            Layer(name, entry["class_name"], entry["config"], inputs, training)
        )
    return layers


def storage_names(layers: list[Layer]) -> dict[str, str]:
    """Keras 3's group in a weights file -> the layer's name.

    It is named after the class, in snake case, and numbered in the model's order.
    """
    counts: dict[str, int] = {}
    found = {}
    for layer in layers:
        key = _snake_case(layer.kind)
        number = counts[key] = counts.get(key, -1) + 1
        found[f"{key}_{number}" if number else key] = layer.name
    return found


def _snake_case(kind: str) -> str:
    """BatchNormalization -> batch_normalization, Conv2D -> conv2d."""
    return re.sub(r"(?<!^)(?=[A-Z][a-z])", "_", kind).lower()


def _call(node: Any) -> tuple[tuple[str, ...], bool | None]:
    """(names of the layers that a call takes, its `training` argument)."""
    if isinstance(node, dict):  # Keras 3
        inputs = tuple(_tensors(node["args"]))
        return inputs, node["kwargs"].get("training")
    return tuple(tensor[0] for tensor in node), node[0][3].get("training")


def _tensors(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        yield value["config"]["keras_history"][0]


def find_resnet50(layers: list[Layer]) -> KerasNetwork:
    """The ResNet-50 that `layers` are; ValueError names the first that differs."""
    blocks = sum(layer.kind == "Add" for layer in layers)
    if blocks != sum(BLOCKS):
        raise ValueError(
            f"its network has {blocks} residual blocks: expected the {sum(BLOCKS)} of "
            "ResNet-50 (ResNet-101 has 33, ResNet-152 has 50)"
        )
    return _Walk(layers).network()


@dataclass
class _Walk:
    """A walk along the network from input to output, noting what it passes."""

    layers: list[Layer]
    units: dict[Unit, tuple[str, str]] = field(default_factory=dict)
    strides_on: set[str] = field(default_factory=set)
    norms: list[Layer] = field(default_factory=list)

    def network(self) -> KerasNetwork:
        (source,) = [layer for layer in self.layers if layer.kind == "InputLayer"]
        x, pool_padding = self._stem(source)
        for stage, count in enumerate(BLOCKS, start=1):
            for block in range(1, count + 1):
                x = self._block(x, stage, block)
        shape = source.settings.get("batch_shape") or source.settings.get(
            "batch_input_shape"
        )
        image_size = _one_side(shape)
        head = self._end(x, _last_map_size(image_size, pool_padding))
        (stride_on,) = self._agreed("the layer that strides", self.strides_on)
        momenta = {norm.settings["momentum"] for norm in self.norms}
        epsilons = {norm.settings["epsilon"] for norm in self.norms}
        (momentum,) = self._agreed("BatchNormalization's momentum", momenta)
        (epsilon,) = self._agreed("BatchNormalization's epsilon", epsilons)
        return KerasNetwork(
            units=self.units,
            head=head,
            stride_on=stride_on,
            pool_padding=pool_padding,
            bn_momentum=momentum,
            bn_epsilon=epsilon,
            image_size=image_size,
            batch_statistics=tuple(n.name for n in self.norms if n.training),
        )

    def _agreed(self, what: str, values: set[Any]) -> set[Any]:
        if len(values) != 1:
            raise ValueError(
                f"{what} differs between layers ({sorted(values)}): expected one value"
            )
        return values

    def _stem(self, source: Layer) -> tuple[Layer, int]:
        x, padding = self._skip_padding(source)
        conv = self._next(x, "Conv2D")
        _check_conv(conv, kernel=7, strides=2, padding=(padding, 3))
        x, pool_padding = self._skip_padding(self._relu(self._norm(STEM, conv)))
        pool = self._next(x, "MaxPooling2D")
        _expect(pool, "pool_size", _pair(pool.settings["pool_size"]), (3, 3))
        _expect(pool, "strides", _pair(pool.settings["strides"]), (2, 2))
        _expect(pool, "padding", pool.settings["padding"], "valid")
        if pool_padding not in (0, 1):
            raise ValueError(f"{x.name} pads by {pool_padding}: expected 0 or 1")
        return pool, pool_padding

    def _block(self, x: Layer, stage: int, block: int) -> Layer:
        convs = [c for c in self._consumers(x) if c.kind == "Conv2D"]
        shortcut = [c for c in convs if self._reaches_add(c)]
        main = [c for c in convs if c not in shortcut]
        if len(main) != 1 or len(shortcut) != (1 if block == 1 else 0):
            raise ValueError(
                f"after {x.name} a block with{'' if block == 1 else 'out'} a "
                f"convolution on the shortcut was expected (stage {stage}, block "
                f"{block} of ResNet-50)"
            )
        strides = 2 if block == 1 and stage > 1 else 1
        conv1 = main[0]
        on_first = strides == 2 and _pair(conv1.settings["strides"]) == (2, 2)
        if strides == 2:
            self.strides_on.add("1x1" if on_first else "3x3")
        _check_conv(conv1, kernel=1, strides=strides if on_first else 1)
        x, padding = self._skip_padding(
            self._relu(self._norm(Unit(stage, block, "1"), conv1))
        )
        conv2 = self._next(x, "Conv2D")
        second = 1 if on_first else strides
        _check_conv(conv2, kernel=3, strides=second, padding=(padding, 1))
        x = self._relu(self._norm(Unit(stage, block, "2"), conv2))
        conv3 = self._next(x, "Conv2D")
        _check_conv(conv3, kernel=1, strides=1)
        total = self._next(self._norm(Unit(stage, block, "3"), conv3), "Add")
        for conv in shortcut:
            _check_conv(conv, kernel=1, strides=strides)
            self._norm(Unit(stage, block, "shortcut"), conv)
        return self._relu(total)

    def _end(self, x: Layer, map_size: int | None) -> str | None:
        """Checks the average pool; the name of the classifier, None without one."""
        pool = self._consumers(x)
        if not pool:
            return None
        (x,) = pool
        if x.kind == "AveragePooling2D":
            size = _pair(x.settings["pool_size"])
            if size != (map_size, map_size):
                raise ValueError(
                    f"{x.name} pools {size} of a map of side {map_size or 'unknown'}: "
                    "expected the average over the whole map"
                )
        elif x.kind != "GlobalAveragePooling2D":
            raise ValueError(
                f"{x.name} is a {x.kind}: expected the average pool over the whole map"
            )
        while (after := self._consumers(x)) and after[0].kind in ("Flatten", "Dropout"):
            x = after[0]
        if not after:
            return None
        head = self._next(x, "Dense")
        if head.settings["activation"] not in ("linear", "softmax"):
            raise ValueError(
                f"{head.name} ends in {head.settings['activation']}: expected softmax "
                "or linear"
            )
        if after := self._consumers(head):
            raise ValueError(f"after {head.name} comes {after[0].name}: expected none")
        return head.name

    def _norm(self, unit: Unit, conv: Layer) -> Layer:
        norm = self._next(conv, "BatchNormalization")
        axis = norm.settings["axis"]
        _expect(norm, "axis", axis[0] if isinstance(axis, list) else axis, 3, -1)
        self.units[unit] = conv.name, norm.name
        self.norms.append(norm)
        return norm

    def _relu(self, x: Layer) -> Layer:
        (after,) = self._consumers(x) or [x]
        if after.kind == "ReLU" or after.settings.get("activation") == "relu":
            return after
        raise ValueError(f"{after.name} after {x.name} is {after.kind}: expected ReLU")

    def _skip_padding(self, x: Layer) -> tuple[Layer, int]:
        """The padding layer after x and what it pads a side, or x and 0."""
        after = self._consumers(x)
        if len(after) != 1 or after[0].kind != "ZeroPadding2D":
            return x, 0
        padding = after[0].settings["padding"]
        sides = {side for pair in padding for side in _pair(pair)}
        if len(sides) != 1:
            raise ValueError(f"{after[0].name} pads {padding}: expected equal sides")
        return after[0], sides.pop()

    def _reaches_add(self, conv: Layer) -> bool:
        norm = self._consumers(conv)
        return len(norm) == 1 and [c.kind for c in self._consumers(norm[0])] == ["Add"]

    def _next(self, x: Layer, kind: str) -> Layer:
        after = self._consumers(x)
        if len(after) != 1 or after[0].kind != kind:
            found = ", ".join(f"{c.name} ({c.kind})" for c in after) or "nothing"
            raise ValueError(f"after {x.name} comes {found}: expected one {kind}")
        return after[0]

    def _consumers(self, x: Layer) -> list[Layer]:
        return [layer for layer in self.layers if x.name in layer.inputs]


def _check_conv(
    conv: Layer, *, kernel: int, strides: int, padding: tuple[int, int] = (0, 0)
) -> None:
    """padding: (pixels that a layer before it adds, pixels there should be)."""
    settings = conv.settings
    _expect(conv, "kernel_size", _pair(settings["kernel_size"]), (kernel, kernel))
    _expect(conv, "strides", _pair(settings["strides"]), (strides, strides))
    _expect(conv, "dilation_rate", _pair(settings["dilation_rate"]), (1, 1))
    _expect(conv, "groups", settings.get("groups", 1), 1)
    _expect(conv, "activation", settings["activation"], "linear")
    _expect(conv, "data_format", settings["data_format"], "channels_last")
    before, wanted = padding
    # With stride 1 'same' pads equally on both sides; with more it does not.
    same = settings["padding"] == "same" and strides == 1 and before == 0
    if kernel > 1 and not same:
        _expect(conv, "padding", settings["padding"], "valid")
        _expect(conv, "padding before it", before, wanted)


def _expect(layer: Layer, what: str, found: Any, *expected: Any) -> None:
    if found not in expected:
        wanted = " or ".join(map(str, expected))
        raise ValueError(f"{layer.name}'s {what} is {found}: expected {wanted}")


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _one_side(shape: Any) -> int | None:
    if shape[3] != 3:
        raise ValueError(f"its input has shape {shape}: expected RGB, [None, H, W, 3]")
    return shape[1] if shape[1] == shape[2] else None


def _last_map_size(image_size: int | None, pool_padding: int) -> int | None:
    if image_size is None:
        return None
    size = (image_size - 1) // 2 + 1
    size = (size + 2 * pool_padding - 3) // 2 + 1
    for _ in range(len(BLOCKS) - 1):
        size = (size - 1) // 2 + 1
    return size
