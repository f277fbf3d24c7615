"""A ResNet-50 found in the configuration that Keras stores with a whole model.

Layers may have any names and stand in models within the model: what a layer is follows
from how it is connected. What the configuration says of strides, padding, BatchNorm and
the preparation of images is read, never assumed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from signjax.errors import InputError
from signjax.pretrained.keras_model import Layer, affine
from signjax.pretrained.names import (
    BLOCKS,
    KERAS_LEAVES,
    LAYOUTS,
    STEM,
    Layout,
    Unit,
    variant,
)
from signjax.pretrained.published import CAFFE, UNIT_RANGE, Preprocessing


def find_resnet50(
    layers: Mapping[str, Layer], arrays: Mapping[str, np.ndarray]
) -> Layout:
    """The layout of the ResNet-50 that `layers` are.

    arrays: those of all layers, by `layer/leaf`. Raises InputError naming the first
    layer that differs.
    """
    return _Walk(layers, arrays).layout()


@dataclass
class _Walk:
    """A walk along the network from input to output, noting what it passes."""

    layers: Mapping[str, Layer]
    arrays: Mapping[str, np.ndarray]
    units: dict[Unit, tuple[str, str]] = field(default_factory=dict)
    strides_on: set[str] = field(default_factory=set)
    norms: list[Layer] = field(default_factory=list)
    consumers: dict[str, list[Layer]] = field(default_factory=dict)

    def layout(self) -> Layout:
        for layer in self.layers.values():
            for name in layer.inputs:
                self.consumers.setdefault(name, []).append(layer)
        convs = [layer for layer in self.layers.values() if layer.kind == "Conv2D"]
        if len(convs) < 2:
            raise InputError(f"its network has {len(convs)} convolutions: expected 53")
        images, padding = self._before(convs[0])
        x, pool_padding = self._stem(convs[0], padding)
        blocks = sum(
            x.kind == "Add" and len(x.inputs) == 2 for x in self.layers.values()
        )
        if blocks != sum(BLOCKS):
            raise InputError(
                f"its network has {blocks} residual blocks: expected the {sum(BLOCKS)} "
                "of ResNet-50 (ResNet-101 has 33, ResNet-152 has 50)"
            )
        for stage, count in enumerate(BLOCKS, start=1):
            for block in range(1, count + 1):
                x = self._block(x, stage, block)
        image_size = self._image_size(images)
        head = self._end(x, _last_map_size(image_size, pool_padding))
        stride_on = self._agreed("the layer that strides", self.strides_on)
        momentum, epsilon = (
            self._agreed(
                f"BatchNormalization's {key}", {n.settings[key] for n in self.norms}
            )
            for key in ("momentum", "epsilon")
        )
        notes = []
        if trained := sum(norm.training is True for norm in self.norms):
            notes.append(
                f"{trained} BatchNorm layers are called with training=True: in Keras "
                "they normalise by each batch's own statistics even when predicting, "
                "here by the running ones, so predictions differ"
            )
        preprocessing, bgr, note = self._prepared(images)
        if image_size is not None:
            preprocessing = preprocessing._replace(image_size=image_size)
        return Layout(
            "keras_model",
            self.units.__getitem__,
            head or "",
            KERAS_LEAVES,
            variant(stride_on, pool_padding, momentum, epsilon),
            preprocessing,
            bgr=bgr,
            notes=(*notes, *note),
        )

    def _agreed(self, what: str, values: set[Any]) -> Any:
        if len(values) != 1:
            raise InputError(
                f"{what} differs between layers ({sorted(values)}): expected one value"
            )
        return values.pop()

    def _before(self, conv: Layer) -> tuple[Layer, int]:
        """The layer whose output the stem takes, and what is padded between them."""
        before = self.layers[conv.inputs[0]]
        if before.kind != "ZeroPadding2D":
            return before, 0
        return self.layers[before.inputs[0]], _padding(before)

    def _image_size(self, x: Layer) -> int | None:
        """Pixels a side that the network is built for, None for any."""
        while x.kind not in ("InputLayer", "Resizing"):
            x = self.layers[x.inputs[0]]
        if x.kind == "Resizing":
            shape = (None, x.settings["height"], x.settings["width"], 3)
        else:
            shape = x.settings.get("batch_shape") or x.settings["batch_input_shape"]
        if shape[3] != 3:
            raise InputError(
                f"its input has shape {shape}: expected RGB, [None, H, W, 3]"
            )
        return shape[1] if shape[1] == shape[2] else None

    def _prepared(self, images: Layer) -> tuple[Preprocessing, bool, list[str]]:
        """(how images are prepared, whether blue comes first, a note if guessed)."""
        values: dict[str, np.ndarray] = {}
        for layer in self.layers.values():
            inputs = [values[name] for name in layer.inputs]
            values[layer.name] = affine(layer, inputs, self.arrays)
            if layer is images:
                break
        change = values[images.name]
        published = LAYOUTS["keras_applications"].naming(STEM)[0]
        if np.array_equal(change, np.eye(3, 4)):
            if self.units[STEM][0].rpartition("/")[2] != published:
                return UNIT_RANGE, False, ["input: RGB, divided by 255"]
            note = "input: BGR, 0 to 255, less ImageNet's mean, by the layers' names"
            return CAFFE, True, [note]
        bgr = not change[0, 0]
        change = change[::-1] if bgr else change  # channels in RGB order
        scale, offset = np.diagonal(change), change[:, 3]
        if np.count_nonzero(change[:, :3]) != 3 or not (scale > 0).all():
            raise InputError(
                f"the layers up to {images.name} mix the colors: expected a scale and "
                "an offset for each"
            )
        # It takes 0 to 255; mean and std are of 0 to 1.
        mean, std = -offset / scale / 255, 1 / scale / 255
        prepared = UNIT_RANGE._replace(mean=(*mean.tolist(),), std=(*std.tolist(),))
        return prepared, bgr, []

    def _stem(self, conv: Layer, padding: int) -> tuple[Layer, int]:
        norm = self._unit(STEM, conv, kernel=7, strides=2, padding=padding)
        x, pool_padding = self._skip_padding(self._relu(norm))
        pool = self._next(x, "MaxPooling2D")
        _expect(pool, pool_size=(3, 3), strides=(2, 2), padding="valid")
        if pool_padding not in (0, 1):
            raise InputError(f"{x.name} pads by {pool_padding}: expected 0 or 1")
        return pool, pool_padding

    def _block(self, x: Layer, stage: int, block: int) -> Layer:
        convs = [c for c in self._after(x) if c.kind == "Conv2D"]
        shortcut = [c for c in convs if self._reaches_add(c)]
        main = [c for c in convs if c not in shortcut]
        if len(main) != 1 or len(shortcut) != (1 if block == 1 else 0):
            raise InputError(
                f"after {x.name} a block with{'' if block == 1 else 'out'} a "
                f"convolution on the shortcut was expected (stage {stage}, block "
                f"{block} of ResNet-50)"
            )
        strides, second = (2 if block == 1 and stage > 1 else 1), 1
        first = strides
        if strides == 2:
            on_first = _pair(main[0].settings["strides"]) == (2, 2)
            first, second = (2, 1) if on_first else (1, 2)
            self.strides_on.add("1x1" if on_first else "3x3")
        y = self._unit(Unit(stage, block, "1"), main[0], strides=first)
        y, pad = self._skip_padding(self._relu(y))
        y = self._next(y, "Conv2D")
        y = self._unit(
            Unit(stage, block, "2"), y, kernel=3, strides=second, padding=pad
        )
        y = self._unit(Unit(stage, block, "3"), self._next(self._relu(y), "Conv2D"))
        total = self._next(y, "Add")
        for conv in shortcut:
            x = self._unit(Unit(stage, block, "shortcut"), conv, strides=strides)
        if {*total.inputs} != {x.name, y.name}:
            raise InputError(f"{total.name} adds other than {x.name} and {y.name}")
        return self._relu(total)

    def _end(self, x: Layer, map_size: int | None) -> str | None:
        """Checks the average pool; the name of the classifier, None without one."""
        if not (pool := self._after(x)):
            return None
        (x,) = pool
        if x.kind == "AveragePooling2D":
            size = _pair(x.settings["pool_size"])
            if size != (map_size, map_size):
                raise InputError(
                    f"{x.name} pools {size} of a map of side {map_size or 'unknown'}: "
                    "expected the average over the whole map"
                )
        elif x.kind != "GlobalAveragePooling2D":
            raise InputError(
                f"{x.name} is a {x.kind}: expected the average pool over the whole map"
            )
        while (after := self._after(x)) and after[0].kind in ("Flatten", "Dropout"):
            x = after[0]
        if not after:
            return None
        head = x = self._next(x, "Dense")
        activations = [head.settings["activation"]]
        while (after := self._after(x)) and after[0].kind in ("Activation", "Softmax"):
            x = after[0]
            activations.append(x.settings.get("activation", "softmax"))
        if any(y.kind == "Dense" for y in self.layers.values() if y is not head):
            raise InputError(
                f"{head.name} is a hidden layer of its head: expected one Dense layer "
                "after the average pool"
            )
        if after:
            raise InputError(f"after {x.name} comes {after[0].name}: expected none")
        if not {"softmax", "linear"}.issuperset(activations):
            raise InputError(
                f"{head.name}'s activation is {activations[-1]}: expected softmax or "
                "linear"
            )
        return head.name

    def _unit(
        self, unit: Unit, conv: Layer, *, kernel: int = 1, strides: int = 1, padding=0
    ) -> Layer:
        """Checks and notes a unit; its BatchNorm. padding: of a layer before it."""
        _expect(
            conv,
            kernel_size=(kernel, kernel),
            strides=(strides, strides),
            dilation_rate=(1, 1),
            groups=1,
            activation="linear",
            data_format="channels_last",
        )
        # With stride 1 'same' pads equally on both sides; with more it does not.
        same = conv.settings["padding"] == "same" and strides == 1 and padding == 0
        if kernel > 1 and not same:
            _expect(conv, padding="valid")
            if padding != kernel // 2:
                raise InputError(
                    f"{conv.name}'s padding before it is {padding}: expected "
                    f"{kernel // 2}"
                )
        norm = self._next(conv, "BatchNormalization")
        axis = norm.settings["axis"]
        if axis not in (3, -1, [3], [-1]):
            raise InputError(f"{norm.name}'s axis is {axis}: expected the last")
        self.units[unit] = conv.name, norm.name
        self.norms.append(norm)
        return norm

    def _relu(self, x: Layer) -> Layer:
        (after,) = self._after(x) or [x]
        if after.kind == "ReLU":
            _expect(after, max_value=None, negative_slope=0, threshold=0)
        elif after.kind != "Activation" or after.settings["activation"] != "relu":
            raise InputError(
                f"{after.name} after {x.name} is {after.kind}: expected ReLU"
            )
        return after

    def _skip_padding(self, x: Layer) -> tuple[Layer, int]:
        """The padding layer after x and what it pads a side, or x and 0."""
        after = self._after(x)
        if len(after) != 1 or after[0].kind != "ZeroPadding2D":
            return x, 0
        return after[0], _padding(after[0])

    def _reaches_add(self, conv: Layer) -> bool:
        norm = self._after(conv)
        return len(norm) == 1 and [c.kind for c in self._after(norm[0])] == ["Add"]

    def _next(self, x: Layer, kind: str) -> Layer:
        after = self._after(x)
        if len(after) != 1 or after[0].kind != kind:
            found = ", ".join(f"{c.name} ({c.kind})" for c in after[:3]) or "nothing"
            raise InputError(f"after {x.name} comes {found}: expected one {kind}")
        return after[0]

    def _after(self, x: Layer) -> list[Layer]:
        return self.consumers.get(x.name, [])


def _expect(layer: Layer, **expected: Any) -> None:
    """Settings that a layer must have where it has them; a number stands for a pair."""
    for what, value in expected.items():
        found = layer.settings.get(what, value)
        found = _pair(found) if isinstance(value, tuple) else found
        if found != value:
            raise InputError(f"{layer.name}'s {what} is {found}: expected {value}")


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _padding(layer: Layer) -> int:
    padding = layer.settings["padding"]
    sides = {side for pair in padding for side in _pair(pair)}
    if len(sides) != 1:
        raise InputError(f"{layer.name} pads {padding}: expected equal sides")
    return sides.pop()


def _last_map_size(image_size: int | None, pool_padding: int) -> int | None:
    if image_size is None:
        return None
    size = (image_size - 1) // 2 + 1
    size = (size + 2 * pool_padding - 3) // 2 + 1
    for _ in range(len(BLOCKS) - 1):
        size = (size - 1) // 2 + 1
    return size
