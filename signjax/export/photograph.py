"""A photograph's way to the network, as ONNX nodes: crop, resize, views.

They do what `data.image.square_resize` and `step.eval_step` do, so that whoever runs
the model needs no image library, and none that resizes otherwise.
"""

import numpy as np
from onnx import TensorProto

from signjax.data.image import CropResize, Interpolation
from signjax.export.graph import Graph


def add_crop_resize(
    graph: Graph, photograph: str, size: int, crop_resize: CropResize
) -> str:
    """The framed part of uint8 [N, H, W, 3], resized: float32 [N, 3, size, size].

    The values are whole numbers from 0 to 255. As in Pillow, the rows are resized
    first and rounded, then the columns.
    """
    add = graph.add
    shape = add("Shape", photograph)
    height, width = add("Gather", shape, [1]), add("Gather", shape, [2])
    side = add("Min", height, width)
    start = add("Div", add("Sub", add("Concat", height, width, axis=0), side), [2])
    square = add("Slice", photograph, start, add("Add", start, side), [1, 2])
    channels_first = add("Transpose", square, perm=[0, 3, 1, 2])
    pixels = add("Cast", channels_first, to=TensorProto.FLOAT)
    weights = _add_weights(graph, side, size, crop_resize)
    rows = add("MatMul", pixels, add("Transpose", weights, perm=[1, 0]))
    columns = add("MatMul", weights, add_rounding(graph, rows))
    return add_rounding(graph, columns)


def add_rounding(graph: Graph, values: str) -> str:
    """To the nearest of 0, 1, ... 255; halves go up."""
    return graph.add("Clip", graph.add("Floor", graph.add("Add", values, 0.5)), 0, 255)


def _add_weights(graph: Graph, side: str, size: int, crop_resize: CropResize) -> str:
    """How much each of `side` pixels gives to each of `size`: float32 [size, side]."""
    add, crop = graph.add, crop_resize.crop
    length = add("Cast", side, to=TensorProto.FLOAT)
    scale = add("Mul", length, crop / size)  # pixels read for each one written
    first = add("Mul", length, (1 - crop) / 2)
    steps = np.arange(size, dtype=np.float32)[:, None] + np.float32(0.5)
    centers = add("Add", add("Mul", steps, scale), first)
    pixels = add("Range", 0.0, add("Squeeze", length), 1.0)
    distance = add("Abs", add("Sub", add("Add", pixels, 0.5), centers))
    # The kernel is widened by the reduction, so that nothing aliases.
    distance = add("Div", distance, add("Max", scale, 1.0))
    values = _add_kernel(graph, distance, crop_resize.interpolation)
    return add("Div", values, add("ReduceSum", values, [1]))


def _add_kernel(graph: Graph, x: str, interpolation: Interpolation) -> str:
    """The resampling kernel at distances x >= 0, as Pillow's Resample.c has it."""
    add = graph.add
    within = add("Less", x, 1.0)
    if interpolation == "bilinear":
        return add("Where", within, add("Sub", 1.0, x), 0.0)
    if interpolation == "hamming":
        # sin(0) / 0 is 1; so near to 0 all of it is.
        angle = add("Mul", add("Max", x, 1e-4), np.pi)
        sinc = add("Div", add("Sin", angle), angle)
        window = add("Add", add("Mul", add("Cos", angle), 0.46), 0.54)
        return add("Where", within, add("Mul", sinc, window), 0.0)
    near = _add_polynomial(graph, x, 1.5, -2.5, 0.0, 1.0)
    far = _add_polynomial(graph, x, -0.5, 2.5, -4.0, 2.0)
    far = add("Where", add("Less", x, 2.0), far, 0.0)
    return add("Where", within, near, far)


def _add_polynomial(graph: Graph, x: str, highest: float, *others: float) -> str:
    value = graph.add("Mul", x, highest)
    for number, coefficient in enumerate(others, 1):
        value = graph.add("Add", value, coefficient)
        if number < len(others):
            value = graph.add("Mul", value, x)
    return value


def add_views(
    graph: Graph, images: str, size: int, *, flip: bool, rotation: float
) -> tuple[str, int]:
    """The test-time views of float [N, 3, size, size], and their number V an image.

    Returns float [V * N, 3, size, size]: all images, then all of the next view.
    """
    views = [images]
    if rotation:
        views += [
            _add_rotation(graph, images, size, degrees)
            for degrees in (rotation, -rotation)
        ]
    if flip:
        reverse = np.arange(size)[::-1].copy()
        views += [graph.add("Gather", view, reverse, axis=3) for view in views]
    return graph.add("Concat", *views, axis=0), len(views)


def _add_rotation(graph: Graph, images: str, size: int, degrees: float) -> str:
    """As `augment.geometry.rotate`: bilinear, positions clamped to the image."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    steps = (np.arange(size) + 0.5) * 2 / size - 1
    y, x = np.meshgrid(steps, steps, indexing="ij")
    grid = np.stack([sin * y + cos * x, cos * y - sin * x], axis=-1)  # (x, y)
    count = graph.add("Shape", images, start=0, end=1)
    shape = graph.add("Concat", count, [size, size, 2], axis=0)
    grids = graph.add("Expand", grid.astype(np.float32)[None], shape)
    return graph.add(
        "GridSample", images, grids, mode="bilinear", padding_mode="border"
    )
