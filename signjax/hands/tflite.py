"""A network of a .tflite file: what it computes, and its parameters.

The file is a FlatBuffers of TensorFlow Lite's schema
(tensorflow/lite/schema/schema.fbs); field numbers and codes are that schema's. Only the
operations of `signjax/hands/operations.py` are read, on float32 and float16 tensors.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from signjax.data.content import HEAD_BYTES, describe_content
from signjax.errors import InputError, one_line
from signjax.hands.flatbuffer import Table

_MOST_BYTES = 1 << 26  # of a file, and of its values
_MOST = 4096  # tensors, operators, buffers
_MOST_VALUES = 1 << 25  # of one tensor
_FLOAT32, _FLOAT16, _INT32 = 0, 1, 2
_DTYPES = {_FLOAT32: "<f4", _FLOAT16: "<f2", _INT32: "<i4"}
_PADDING = {0: "SAME", 1: "VALID"}
_ACTIVATION = {0: "", 1: "relu", 3: "relu6"}

# Option -> (field number, struct format, default, code -> value or None).
Fields = Mapping[str, tuple[int, str, int, Mapping[int, Any] | None]]
_STRIDES = {"stride_w": (1, "<i", 0, None), "stride_h": (2, "<i", 0, None)}
# Code -> (name, its options).
KINDS: dict[int, tuple[str, Fields]] = {
    0: ("ADD", {"activation": (0, "<b", 0, _ACTIVATION)}),
    2: (
        "CONCATENATION",
        {"axis": (0, "<i", 0, None), "activation": (1, "<b", 0, _ACTIVATION)},
    ),
    3: (
        "CONV_2D",
        {
            "padding": (0, "<b", 0, _PADDING),
            **_STRIDES,
            "activation": (3, "<b", 0, _ACTIVATION),
            "dilation_w": (4, "<i", 1, {1: 1}),
            "dilation_h": (5, "<i", 1, {1: 1}),
        },
    ),
    4: (
        "DEPTHWISE_CONV_2D",
        {
            "padding": (0, "<b", 0, _PADDING),
            **_STRIDES,
            "multiplier": (3, "<i", 0, {0: 1, 1: 1}),
            "activation": (4, "<b", 0, _ACTIVATION),
            "dilation_w": (5, "<i", 1, {1: 1}),
            "dilation_h": (6, "<i", 1, {1: 1}),
        },
    ),
    6: ("DEQUANTIZE", {}),
    9: (
        "FULLY_CONNECTED",
        {
            "activation": (0, "<b", 0, _ACTIVATION),
            "format": (1, "<b", 0, {0: "default"}),
        },
    ),
    14: ("LOGISTIC", {}),
    17: (
        "MAX_POOL_2D",
        {
            "padding": (0, "<b", 0, _PADDING),
            **_STRIDES,
            "width": (3, "<i", 0, None),
            "height": (4, "<i", 0, None),
            "activation": (5, "<b", 0, _ACTIVATION),
        },
    ),
    22: ("RESHAPE", {}),
    23: (
        "RESIZE_BILINEAR",
        {
            "align_corners": (2, "<b", 0, {0: False}),
            "half_pixel_centers": (3, "<b", 0, {1: True}),
        },
    ),
    34: ("PAD", {}),
    40: ("MEAN", {"keep_dims": (0, "<b", 0, {0: False, 1: True})}),
    54: ("PRELU", {}),
}


class Operator(NamedTuple):
    """kind: as `CONV_2D`. inputs, output: tensors by name. options: of its kind.

    sizes: the whole numbers of its constant input, such as a new shape. shape: of the
    output, for a batch of one.
    """

    kind: str
    inputs: tuple[str, ...]
    output: str
    options: Mapping[str, Any]
    sizes: tuple[int, ...]
    shape: tuple[int, ...]


class Graph(NamedTuple):
    """What a network computes: its input and outputs by name, operators in order.

    input_shape: (1, H, W, 3) of the one input, float32.
    """

    input: str
    input_shape: tuple[int, ...]
    outputs: tuple[str, ...]
    operators: tuple[Operator, ...]


Params = dict[str, np.ndarray]


def read_tflite(path: str | Path) -> tuple[Graph, Params]:
    """The network of a .tflite file: (what it computes, tensor name -> float32 array).

    Kernels of CONV_2D are as JAX has them, [height, width, channels, filters]; the file
    has filters first.
    Raises InputError where it is no such file, is damaged, or has an operation, an
    option or a type that is not known here.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}; expected a .tflite file"
        ) from error
    if content[4:8] != b"TFL3":
        found = describe_content(content[:HEAD_BYTES])
        raise InputError(f"{path}: not a .tflite file: it is {found}")
    if len(content) > _MOST_BYTES:
        raise InputError(f"{path}: more than {_MOST_BYTES:,} bytes; expected a network")
    try:
        return _read(Table.root(content))
    except ValueError as error:
        raise InputError(
            f"{path}: cannot be read as a .tflite network, get it again "
            f"({one_line(error, 150)})"
        ) from error


class _Tensor(NamedTuple):
    """values: None where the network computes them."""

    name: str
    shape: tuple[int, ...]
    values: np.ndarray | None


def _read(model: Table) -> tuple[Graph, Params]:
    graphs = model.tables(2, most=_MOST)
    if len(graphs) != 1:
        raise ValueError(f"{len(graphs)} subgraphs, expected 1")
    buffers = [table.array(0, "u1") for table in model.tables(4, most=_MOST)]
    tensors = [_tensor(table, buffers) for table in graphs[0].tables(0, most=_MOST)]
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise ValueError("two tensors have the same name")
    kinds = [
        # The first field is of before there were more than 127 operations.
        max(table.number(0, "<b"), table.number(3, "<i"))
        for table in model.tables(1, most=_MOST)
    ]
    inputs, outputs = (_at(tensors, graphs[0].array(i, "<i4")) for i in (1, 2))
    if len(inputs) != 1 or not outputs:
        raise ValueError(f"{len(inputs)} inputs and {len(outputs)} outputs")
    floats = {
        tensor.name: tensor.values
        for tensor in tensors
        if tensor.values is not None and tensor.values.dtype != np.int32
    }
    if 4 * sum(values.size for values in floats.values()) > _MOST_BYTES:
        raise ValueError("more values than a file of its size holds")
    params = {name: values.astype(np.float32) for name, values in floats.items()}
    operators = list(_operators(graphs[0], kinds, tensors, params))
    _require_order(inputs[0].name, params, operators, outputs)
    used = {name for operator in operators for name in operator.inputs}
    kernels = {x.inputs[1] for x in operators if x.kind == "CONV_2D" and x.inputs[1:]}
    for name in kernels & params.keys():
        params[name] = np.ascontiguousarray(params[name].transpose(1, 2, 3, 0))
    graph = Graph(
        inputs[0].name,
        inputs[0].shape,
        tuple(tensor.name for tensor in outputs),
        tuple(operators),
    )
    return graph, {name: value for name, value in params.items() if name in used}


def _tensor(table: Table, buffers: list[np.ndarray]) -> _Tensor:
    shape = tuple(map(int, table.array(0, "<i4")[:9]))
    if len(shape) > 4 or not all(0 < side <= _MOST_VALUES for side in shape):
        raise ValueError(f"a tensor of shape {shape}")
    if math.prod(shape) > _MOST_VALUES:
        raise ValueError(f"a tensor of shape {shape}")
    code, buffer = table.number(1, "<b"), table.number(2, "<I")
    if code not in _DTYPES:
        raise ValueError(f"values of type {code}")
    if buffer >= len(buffers):
        raise ValueError(f"buffer {buffer} of {len(buffers)}")
    values, dtype = buffers[buffer], np.dtype(_DTYPES[code])
    if not len(values):
        return _Tensor(table.text(3), shape, None)
    if len(values) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(values):,} bytes for a tensor of shape {shape}")
    return _Tensor(table.text(3), shape, values.view(dtype).reshape(shape))


def _at(tensors: list[_Tensor], indices: np.ndarray) -> list[_Tensor]:
    """The tensors of these numbers; -1, one left out, is refused as others are."""
    if len(indices) > 64 or not all(0 <= i < len(tensors) for i in indices):
        raise ValueError(f"tensors {indices[:8]} of {len(tensors)}")
    return [tensors[i] for i in indices]


def _operators(
    graph: Table, kinds: list[int], tensors: list[_Tensor], params: Params
) -> Iterator[Operator]:
    """Those that compute; what makes float32 of a constant adds to `params` here."""
    for table in graph.tables(3, most=_MOST):
        code = table.number(0, "<I")
        if code >= len(kinds) or kinds[code] not in KINDS:
            kind = kinds[code] if code < len(kinds) else f"{code} of {len(kinds)}"
            raise ValueError(f"operation {kind} is not known")
        kind, fields = KINDS[kinds[code]]
        inputs, outputs = (_at(tensors, table.array(i, "<i4")) for i in (1, 2))
        if not inputs or len(outputs) != 1 or outputs[0].values is not None:
            raise ValueError(
                f"{kind} with {len(inputs)} inputs, {len(outputs)} outputs"
            )
        if kind == "DEQUANTIZE":
            if len(inputs) != 1 or inputs[0].name not in params:
                raise ValueError("DEQUANTIZE of what is no constant")
            if inputs[0].shape != outputs[0].shape:
                raise ValueError("DEQUANTIZE changes a shape")
            params[outputs[0].name] = params[inputs[0].name]
            continue
        sizes = [
            x.values for x in inputs if x.name not in params and x.values is not None
        ]
        if len(sizes) > 1 or any(size.size > 16 for size in sizes):
            raise ValueError(f"{kind} with more whole numbers than it takes")
        yield Operator(
            kind,
            tuple(x.name for x in inputs if x.name in params or x.values is None),
            outputs[0].name,
            {name: _option(table, name, *field) for name, field in fields.items()},
            tuple(int(x) for size in sizes for x in size.ravel()),
            outputs[0].shape,
        )


def _option(
    operator: Table,
    name: str,
    field: int,
    form: str,
    default: int,
    values: Mapping[int, Any] | None,
) -> Any:
    number = operator.table(4).number(field, form, default)
    if values is None:
        if not -8 <= number <= 64:
            raise ValueError(f"{name} of {number}")
        return number
    if number not in values:
        raise ValueError(f"{name} of code {number}")
    return values[number]


def _require_order(
    start: str, params: Params, operators: list[Operator], outputs: list[_Tensor]
) -> None:
    """Raises ValueError where something is asked for before it is computed."""
    known = {start, *params}
    for operator in operators:
        if missing := [name for name in operator.inputs if name not in known]:
            raise ValueError(f"{operator.kind} takes {missing[0]}, not computed before")
        if operator.output in known:
            raise ValueError(f"{operator.output} is computed twice")
        known.add(operator.output)
    if missing := [x.name for x in outputs if x.name not in known or x.name in params]:
        raise ValueError(f"the output {missing[0]} is not computed")
