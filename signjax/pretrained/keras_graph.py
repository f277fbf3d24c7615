"""A ResNet-50 found in the configuration that Keras stores with a whole model.

Layers may have any names and stand in models within the model: what a layer is follows
from what it does and what it is called on. What the configuration says of strides,
padding, BatchNorm and the preparation of images is read, never assumed.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from signjax.errors import InputError, listed
from signjax.pretrained.keras_model import Layer, affine
from signjax.pretrained.names import BLOCKS, LAYOUTS, STEM, V1_5, Layout, Unit, units
from signjax.pretrained.published import CAFFE, UNIT_RANGE, Preprocessing

# What tells layers of a kind apart, and the value that is not told.
_SETTINGS: dict[str, dict[str, Any]] = {
    "Conv2D": {
        "filters": None,
        "kernel_size": None,
        "strides": 1,
        "padding": "valid",
        "dilation_rate": 1,
        "groups": 1,
        "activation": "linear",
        "data_format": "channels_last",
    },
    "BatchNormalization": {"axis": -1},
    "Activation": {"activation": None},
    "ReLU": {"max_value": None, "negative_slope": 0, "threshold": 0},
    "ZeroPadding2D": {"padding": None},
    "MaxPooling2D": {"pool_size": None, "strides": None, "padding": "valid"},
    "AveragePooling2D": {"pool_size": None},
    "Dense": {"activation": None},
}
_SAME = {
    "BatchNormalization axis=3": "BatchNormalization",
    "Activation activation=relu": "ReLU",
    "Activation activation=softmax": "Softmax",
    "Activation activation=linear": "Softmax",
}
_LAST = Unit(len(BLOCKS), BLOCKS[-1], "3")
_ADDS = {8: 18, 33: 101, 50: 152}  # of other ResNets

# (places of what a layer is called on, what it does) -> its own place
Network = dict[tuple[frozenset[str], str], str]


def find_resnet50(
    layers: Mapping[str, Layer], arrays: Mapping[str, np.ndarray]
) -> Layout:
    """The layout of the ResNet-50 that `layers` are.

    arrays: those of all layers, by `layer/leaf`. Raises InputError naming the first
    layer that differs.
    """
    adds = sum(layer.kind == "Add" for layer in layers.values())
    if adds in _ADDS:
        raise InputError(f"a ResNet-{_ADDS[adds]}, which has {adds} residual blocks")
    network = _resnet50()
    prepared: dict[str, np.ndarray] = {}  # what layers before the network make
    places: dict[str, str] = {}
    found: dict[str, Layer] = {}
    size = None
    for layer in layers.values():
        before = frozenset(places.get(name, "images") for name in layer.inputs)
        if before <= {"images"} and layer.kind not in ("ZeroPadding2D", "Conv2D"):
            inputs = [prepared[name] for name in layer.inputs]
            prepared[layer.name] = affine(layer, inputs, arrays)
            size = _image_size(layer, size)
            continue
        does = _describe(layer)
        if does == f"AveragePooling2D pool_size={_map_size(size, 'pool pad' in found)}":
            does = "GlobalAveragePooling2D"
        place = network.get((before, does))
        if place is None or (place in found and place not in before):
            known = [does for inputs, does in network if inputs == before]
            raise InputError(
                f"{layer.name} ({does}) follows {listed(layer.inputs, 2)}: ResNet-50 "
                f"has {listed(known, 3, ' or ')} there"
            )
        places[layer.name] = place
        found.setdefault(place, layer)
    if f"relu {_LAST}" not in found:
        raise InputError(
            f"it ends at {listed([*layers][-1:])}: ResNet-50 goes on there"
        )
    return _layout(found, prepared[found["pad"].inputs[0]], size)


def _resnet50() -> Network:
    """All ways in which a ResNet-50's layers may follow each other."""
    network: Network = {}

    def edge(place: str, does: str, *before: str) -> str:
        network[frozenset(before), does] = place
        return place

    def convolve(
        x: str, unit: Unit, filters: int, kernel: int = 1, strides: tuple = (1,)
    ) -> str:
        """Adds a unit; the place of its BatchNorm."""
        padded = x
        if kernel > 1:
            padded = "pad" if x == "images" else f"pad {unit}"
            edge(padded, f"ZeroPadding2D padding={kernel // 2}", x)
        for stride in strides:
            does = f"Conv2D filters={filters} kernel_size={kernel}"
            does += f" strides={stride}" if stride > 1 else ""
            edge(f"conv {unit}", does, padded)
            # With more than stride 1 'same' pads unequally, but for nothing to pad.
            if stride == 1 or kernel == 1:
                edge(f"conv {unit}", f"{does} padding=same", x)
        return edge(f"norm {unit}", "BatchNormalization", f"conv {unit}")

    x = edge("relu", "ReLU", convolve("images", STEM, 64, 7, (2,)))
    edge("pool pad", "ZeroPadding2D padding=1", x)
    for before in (x, "pool pad"):
        x = edge("pool", "MaxPooling2D pool_size=3 strides=2", before)
    for stage, blocks in enumerate(BLOCKS, start=1):
        filters = 32 << stage
        for block in range(1, blocks + 1):
            strided = block == 1 and stage > 1
            strides = (1, 2) if strided else (1,)
            first, second, third, projected = (
                Unit(stage, block, branch) for branch in ("1", "2", "3", "shortcut")
            )
            y = edge(f"relu {first}", "ReLU", convolve(x, first, filters, 1, strides))
            y = convolve(y, second, filters, 3, strides)
            y = edge(f"relu {second}", "ReLU", y)
            y = convolve(y, third, 4 * filters)
            if block == 1:
                x = convolve(x, projected, 4 * filters, 1, strides[-1:])
            y = edge(f"add {first}", "Add", x, y)
            x = edge(f"relu {third}", "ReLU", y)
    x = edge("mean", "GlobalAveragePooling2D", x)
    for activation in ("softmax", "linear"):
        edge("head", f"Dense activation={activation}", x)
    for does in ("Flatten", "Dropout"):
        edge(x, does, x)
    edge("head", "Softmax", "head")
    return network


def _describe(layer: Layer) -> str:
    """What a layer does, in words that tell apart all layers of the network."""
    does = layer.kind
    for key, usual in _SETTINGS.get(layer.kind, {}).items():
        if (value := _plain(layer.settings.get(key, usual))) != usual:
            does += f" {key}={value}"
    return _SAME.get(does, does)


def _plain(value: Any) -> Any:
    """One number for what is the same in all directions."""
    if isinstance(value, list | tuple) and value:
        parts = [_plain(part) for part in value]
        return parts[0] if parts.count(parts[0]) == len(parts) else parts
    return value


def _image_size(layer: Layer, size: int | None) -> int | None:
    """Pixels a side of a layer's output, None for any."""
    if layer.kind in ("Resizing", "RandomCrop"):
        shape = (None, layer.settings["height"], layer.settings["width"], 3)
    elif layer.kind == "InputLayer":
        shape = layer.settings.get("batch_shape") or layer.settings["batch_input_shape"]
    else:
        return size
    if shape[3] != 3:
        raise InputError(f"its input has shape {shape}: expected RGB, [None, H, W, 3]")
    return shape[1] if shape[1] == shape[2] else None


def _map_size(image_size: int | None, pool_padding: bool) -> int | None:
    """Positions a side of the last maps."""
    if image_size is None:
        return None
    return -(-((-(-image_size // 2) + 2 * pool_padding - 1) // 2) // 8)


def _layout(found: Mapping[str, Layer], change: np.ndarray, size: int | None) -> Layout:
    """found: the network's layers by place. change: how its images are prepared."""
    named = {
        unit: (found[f"conv {unit}"].name, found[f"norm {unit}"].name)
        for unit in units()
    }
    norms = [found[f"norm {unit}"] for unit in units()]
    strides = [
        tuple(
            _plain(found[f"conv {Unit(stage, 1, branch)}"].settings["strides"])
            for branch in ("1", "2")
        )
        for stage in (2, 3, 4)
    ]
    notes = []
    if trained := sum(norm.training is True for norm in norms):
        notes.append(
            f"{trained} BatchNorm layers are called with training=True: in Keras they "
            "normalise by each batch's own statistics even when predicting, here by "
            "the running ones, so predictions differ"
        )
    bgr, published = False, LAYOUTS["keras_applications"].naming(STEM)[0]
    if not np.array_equal(change, np.eye(3, 4)):
        bgr, preprocessing = _prepared(change)
    elif named[STEM][0].rpartition("/")[2] == published:
        notes.append(
            "input assumed: BGR, 0 to 255, less ImageNet's mean, by the layers' names"
        )
        bgr, preprocessing = True, CAFFE
    else:
        notes.append("input assumed: RGB, divided by 255")
        preprocessing = UNIT_RANGE
    if size is None:
        size = preprocessing.image_size
        notes.append(f"input assumed: {size} pixels a side, as it takes any")
    momentum, epsilon = (
        float(_agreed(key, [norm.settings[key] for norm in norms]))
        for key in ("momentum", "epsilon")
    )
    first, second = _agreed("strides", strides)
    if {first, second} != {1, 2}:
        raise InputError(
            f"strides of {first} and {second} in a block: expected 1 and 2"
        )
    return Layout(
        "keras_model",
        "keras",
        named.__getitem__,
        found["head"].name if "head" in found else "",
        {
            **V1_5,
            "stride_on": "1x1" if first == 2 else "3x3",
            "pool_padding": int("pool pad" in found),
            "bn_momentum": momentum,
            "bn_epsilon": epsilon,
        },
        preprocessing._replace(image_size=size),
        bgr=bgr,
        notes=tuple(notes),
    )


def _agreed(what: str, values: list[Any]) -> Any:
    if values.count(values[0]) != len(values):
        raise InputError(f"{what} differs between layers: expected one value of all")
    return values[0]


def _prepared(change: np.ndarray) -> tuple[bool, Preprocessing]:
    """Whether blue comes first, and the preparation of RGB, of `keras_model.affine`."""
    bgr = not change[0, 0]
    change = change[::-1] if bgr else change  # channels in RGB order
    scale, offset = np.diagonal(change), change[:, 3]
    if np.count_nonzero(change[:, :3]) != 3 or not (scale > 0).all():
        raise InputError(
            "the layers before its network mix the colors: expected a scale and an "
            "offset for each"
        )
    # It takes 0 to 255; mean and std are of 0 to 1.
    mean, std = -offset / scale / 255, 1 / scale / 255
    usual = CAFFE if bgr else UNIT_RANGE
    return bgr, usual._replace(mean=(*mean.tolist(),), std=(*std.tolist(),))
