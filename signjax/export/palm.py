"""palm.onnx: a photograph in, the box of its surest hand out.

It is MediaPipe's palm detector with what comes before and after it, so that the page
needs neither an image library nor arithmetic of its own.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto
from onnx.helper import make_tensor_value_info

from signjax.errors import InputError
from signjax.export.graph import Graph
from signjax.export.photograph import add_rounding
from signjax.hands.boxes import FILLS, INSIDE, LIMIT, SHARE
from signjax.hands.network import Network
from signjax.hands.operations import window
from signjax.hands.palms import SAME_PALM, SIDE, anchors
from signjax.hands.squares import PALM_SCALE, PALM_SHIFT
from signjax.hands.tflite import Operator, Params

PHOTOGRAPH, BOX = "photograph", "box"
VIEW, RAW, LOGITS = "view", "raw", "logits"


def palm_model(network: Network) -> onnx.ModelProto:
    """What `hands.boxes.BoxFinder` does, for the surest hand.

    Input `photograph`: uint8 [1, H, W, 3], RGB, of any size. Outputs: `box`, float32
    [3], left, top and side of the hand's box in its pixels, where the side is 0 if
    there is no hand; `view`, float32 [1, 3, 192, 192], what the detector looks at;
    `raw` and `logits`, its own outputs. Raises InputError for another network.
    """
    graph = Graph(half=True)  # which keeps all of them: they are float16 in the file
    size = graph.add("Gather", graph.add("Shape", PHOTOGRAPH), [2, 1])
    sides, before = _add_inside(graph, size)
    _add_view(graph, sides, before)
    names = {network.graph.input: VIEW}
    for operator in network.graph.operators:
        names[operator.output] = _add_operator(graph, operator, network.params, names)
    for name, output in zip((RAW, LOGITS), network.graph.outputs, strict=True):
        graph.add("Identity", names[output], name=name)
    _add_box(graph, *_add_palm(graph), size, sides, before)
    return graph.model(
        [make_tensor_value_info(PHOTOGRAPH, TensorProto.UINT8, [1, "H", "W", 3])],
        [
            make_tensor_value_info(BOX, TensorProto.FLOAT, [3]),
            make_tensor_value_info(VIEW, TensorProto.FLOAT, [1, 3, SIDE, SIDE]),
            make_tensor_value_info(RAW, TensorProto.FLOAT, [1, 2016, 18]),
            make_tensor_value_info(LOGITS, TensorProto.FLOAT, [1, 2016, 1]),
        ],
        metadata={"source": "MediaPipe Hands, palm_detection_full (Apache-2.0)"},
    )


def _add_inside(graph: Graph, size: str) -> tuple[str, str]:
    """As `hands.boxes.inside`: int64 [2] each, x and y."""
    add = graph.add
    longest = add("ReduceMax", size, [0])
    doubled = add("Add", add("Mul", size, [2 * INSIDE]), longest)
    sides = add("Max", add("Div", doubled, add("Mul", longest, [2])), [1])
    return sides, add("Div", add("Sub", [SIDE], sides), [2])


def _add_view(graph: Graph, sides: str, before: str) -> None:
    """As `hands.boxes.view`."""
    add = graph.add
    pixels = add("Transpose", PHOTOGRAPH, perm=[0, 3, 1, 2])
    pixels = add("Cast", pixels, to=TensorProto.FLOAT)
    shape = add("Concat", [1, 3], add("Gather", sides, [1, 0]), axis=0)
    small = add(
        "Resize", pixels, "", "", shape, mode="linear", antialias=1, exclude_outside=1
    )
    after = add("Sub", add("Sub", [SIDE], sides), before)
    pads = [add("Gather", pad, [1, 0]) for pad in (before, after)]
    pads = add("Concat", [0, 0], pads[0], [0, 0], pads[1], axis=0)
    padded = add("Pad", add_rounding(graph, small), pads, mode="edge")
    add("Div", padded, 255.0, name=VIEW)


def _add_operator(
    graph: Graph, operator: Operator, params: Params, names: dict[str, str]
) -> str:
    """One operation of the .tflite file, on [1, C, H, W] in place of [1, H, W, C]."""
    options = operator.options
    given = [names[x] for x in operator.inputs if x in names]
    weights = [params[x] for x in operator.inputs if x not in names]
    if operator.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        kernel, bias = weights
        depthwise = operator.kind == "DEPTHWISE_CONV_2D"
        (x,) = given
        size, order = kernel.shape[:2], (3, 2, 0, 1)
        if depthwise:
            size, order = kernel.shape[1:3], (3, 0, 1, 2)
        return graph.add(
            "Conv",
            x,
            graph.kernel(kernel.transpose(*order)),
            bias,
            group=len(bias) if depthwise else 1,
            **_window(operator, size),
        )
    if operator.kind == "MAX_POOL_2D":
        size = (options["height"], options["width"])
        return graph.add(
            "MaxPool", *given, kernel_shape=list(size), **_window(operator, size)
        )
    if operator.kind not in _SIMPLE:
        raise InputError(
            f"another palm detector than MediaPipe's: its {operator.kind} has no ONNX "
            "node in signjax/export/palm.py"
        )
    return _SIMPLE[operator.kind](graph, operator, *given, *weights)


def _window(operator: Operator, size: tuple[int, ...]) -> dict[str, Any]:
    """A window's attributes. The input is as much larger as its stride says."""
    strides = (operator.options["stride_h"], operator.options["stride_w"])
    height, width = (
        side * stride for side, stride in zip(operator.shape[1:3], strides, strict=True)
    )
    strides, pads = window(operator, (height, width), size)
    (top, bottom), (left, right) = pads
    return {"strides": [*strides], "pads": [top, left, bottom, right]}


def _add_pad(graph: Graph, operator: Operator, x: str) -> str:
    pairs = np.array(operator.sizes).reshape(-1, 2)[[0, 3, 1, 2]]
    return graph.add("Pad", x, [*pairs[:, 0].tolist(), *pairs[:, 1].tolist()])


def _add_reshape(graph: Graph, operator: Operator, x: str) -> str:
    rows = graph.add("Transpose", x, perm=[0, 2, 3, 1])
    return graph.add("Reshape", rows, [1, *operator.shape[1:]])


def _add_resize(graph: Graph, operator: Operator, x: str) -> str:
    _, height, width, channels = operator.shape
    return graph.add("Resize", x, "", "", [1, channels, height, width], mode="linear")


_SIMPLE: dict[str, Callable[..., str]] = {
    "ADD": lambda graph, _, x, y: graph.add("Add", x, y),
    # Of what is reshaped to [1, N, 18], as in the file.
    "CONCATENATION": lambda graph, operator, *parts: graph.add(
        "Concat", *parts, axis=operator.options["axis"]
    ),
    "PAD": _add_pad,
    "PRELU": lambda graph, _, x, slope: graph.add("PRelu", x, slope.reshape(-1, 1, 1)),
    "RESHAPE": _add_reshape,
    "RESIZE_BILINEAR": _add_resize,
}


def _add_palm(graph: Graph) -> tuple[str, str]:
    """As `hands.palms`, for the surest: (palm [1, 18] in the view's pixels, score)."""
    add = graph.add
    shift = np.tile(anchors() * SIDE, 9)
    shift[:, 2:4] = 0
    palms = add("Add", add("Squeeze", RAW, [0]), shift)
    scores = add("Sigmoid", add("Squeeze", LOGITS, [0, 2]))
    best = add("Gather", palms, add("ArgMax", scores, axis=0), axis=0)
    center, sides = (add("Slice", palms, [i], [i + 2], [1]) for i in (0, 2))
    own, size = (add("Slice", best, [i], [i + 2], [1]) for i in (0, 2))
    low, high = [], []
    for middle, extent in ((center, sides), (own, size)):
        half = add("Mul", extent, 0.5)
        low.append(add("Sub", middle, half))
        high.append(add("Add", middle, half))
    shared = add("Sub", add("Min", *high), add("Max", *low))
    inside = add("ReduceProd", add("Max", shared, 0.0), [1], keepdims=0)
    areas = [add("ReduceProd", x, [1], keepdims=0) for x in (sides, size)]
    union = add("Sub", add("Add", *areas), inside)
    same = add("Greater", inside, add("Mul", union, SAME_PALM))
    taken = add("Where", same, scores, 0.0)
    weights = add("Where", add("Less", taken, LIMIT), 0.0, taken)
    total = add("Max", add("ReduceSum", weights, [0]), 1e-9)
    merged = add("MatMul", add("Unsqueeze", weights, [0]), palms)
    return add("Div", merged, total), add("ReduceMax", scores, [0])


def _add_box(
    graph: Graph, palm: str, score: str, size: str, sides: str, before: str
) -> None:
    """As `hands.boxes.boxes`: `box` of the palm [1, 18] and its score [1]."""
    add = graph.add
    whole, inner, start = (
        add("Cast", x, to=TensorProto.FLOAT) for x in (size, sides, before)
    )
    scale = add("Div", whole, inner)

    def point(first: int) -> str:
        place = add("Squeeze", add("Slice", palm, [first], [first + 2], [1]), [0])
        return add("Mul", add("Sub", place, start) if first != 2 else place, scale)

    center, extent, wrist, middle = (point(first) for first in (0, 2, 4, 8))
    up = add("Sub", middle, wrist)
    up = add("Div", up, add("Max", add("ReduceL2", up, [0]), 1e-9))
    height = add("Slice", extent, [1], [2], [0])
    center = add("Add", center, add("Mul", up, add("Mul", height, PALM_SHIFT)))
    side = add("Mul", add("ReduceMax", extent, [0]), SHARE * PALM_SCALE)
    shorter = add("ReduceMin", whole, [0])
    fits = add("Less", side, add("Mul", shorter, FILLS))
    side = add("Where", fits, add("Round", side), shorter)
    corner = add("Round", add("Sub", center, add("Mul", side, 0.5)))
    corner = add("Max", add("Min", corner, add("Sub", whole, side)), 0.0)
    box = add("Concat", corner, side, axis=0)
    add("Where", add("Less", score, LIMIT), 0.0, box, name=BOX)
