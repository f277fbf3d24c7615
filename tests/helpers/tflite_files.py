"""Writes .tflite files, tiny ones too, without TensorFlow's tools."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

CODES = {np.dtype(np.float32): 0, np.dtype(np.float16): 1, np.dtype(np.int32): 2}


class Tensor(NamedTuple):
    """values: an array of its shape, or None where the network computes them."""

    name: str
    shape: tuple[int, ...]
    values: np.ndarray | None = None
    dtype: Any = np.float32


class Step(NamedTuple):
    """An operator. options: field number -> (struct format, value)."""

    code: int
    inputs: Sequence[str]
    output: str
    options: Mapping[int, tuple[str, int]] = {}


# A field is (struct format, number), a table (dict), a list of tables, or bytes: a
# vector with its length in front.
Fields = dict[int, Any]


def write_flatbuffer(root: Fields, identifier: bytes) -> bytes:
    """The root table and, after it, whatever it leads to, as offsets are positive."""
    content = bytearray(8)
    content[4:8] = identifier
    waiting: list[tuple[int, Any]] = [(0, root)]
    while waiting:
        place, value = waiting.pop(0)
        content.extend(bytes(-len(content) % 16))
        if isinstance(value, dict):
            at = _table(content, value, waiting)
        else:
            at = len(content)
            if isinstance(value, list):
                content += struct.pack("<I", len(value)) + bytes(4 * len(value))
                waiting += [(at + 4 + 4 * i, x) for i, x in enumerate(value)]
            else:  # 16-byte aligned after its length, as LiteRT wants buffers
                content += bytes(12)
                at = len(content)
                count, data = value
                content += struct.pack("<I", count) + data
        content[place : place + 4] = struct.pack("<I", at - place)
    return bytes(content)


def _table(content: bytearray, fields: Fields, waiting: list[tuple[int, Any]]) -> int:
    """Appends a vtable and its table, every field in 4 bytes."""
    slots = max(fields, default=-1) + 1
    size = 4 + 2 * slots
    content += struct.pack("<HH", size, 4 + 4 * len(fields))
    places = {field: 4 + 4 * i for i, field in enumerate(fields)}
    content += struct.pack(f"<{slots}H", *(places.get(i, 0) for i in range(slots)))
    content.extend(bytes(-len(content) % 4))
    at = len(content)
    padded = at - size - (-size % 4)
    content += struct.pack("<i", at - padded)
    for value in fields.values():
        if isinstance(value, tuple) and isinstance(value[0], str):
            content += struct.pack(*value).ljust(4, b"\0")
        else:
            waiting.append((len(content), value))
            content += bytes(4)
    return at


def numbers(values: Sequence[int]) -> tuple[int, bytes]:
    return len(values), np.asarray(values, "<i4").tobytes()


def text(value: str) -> tuple[int, bytes]:
    return len(value.encode()), value.encode() + b"\0"


def write_tflite(
    tensors: Sequence[Tensor],
    steps: Sequence[Step],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> bytes:
    """The content of a .tflite file with one subgraph."""
    index = {tensor.name: i for i, tensor in enumerate(tensors)}
    codes = sorted({step.code for step in steps})
    buffers: list[Fields] = [{}]
    rows: list[Fields] = []
    for tensor in tensors:
        dtype = np.dtype(tensor.dtype if tensor.values is None else tensor.values.dtype)
        row: Fields = {0: numbers(tensor.shape), 1: ("<b", CODES[dtype])}
        row |= {2: ("<I", 0), 3: text(tensor.name)}
        if tensor.values is not None:
            data = tensor.values.tobytes()
            row[2] = ("<I", len(buffers))
            buffers.append({0: (len(data), data)})
        rows.append(row)
    operators: list[Fields] = [
        {
            0: ("<I", codes.index(step.code)),
            1: numbers([index[x] for x in step.inputs]),
            2: numbers([index[step.output]]),
            3: ("<B", OPTIONS_TYPE.get(step.code, 0)),
            4: dict(step.options),
        }
        for step in steps
    ]
    subgraph: Fields = {
        0: rows,
        1: numbers([index[x] for x in inputs]),
        2: numbers([index[x] for x in outputs]),
        3: operators,
    }
    known: list[Fields] = [{0: ("<b", c), 2: ("<i", 1), 3: ("<i", c)} for c in codes]
    model = {0: ("<I", 3), 1: known, 2: [subgraph], 4: buffers}
    return write_flatbuffer(model, b"TFL3")


# Builtin operator -> the union member of its options, by the schema.
OPTIONS_TYPE = {0: 11, 2: 10, 3: 1, 4: 2, 6: 46, 9: 8, 17: 5, 22: 17, 23: 15, 34: 22}
OPTIONS_TYPE |= {40: 27}


def _f16(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(0, 0.5, shape).astype(np.float16)


def small_network() -> bytes:
    """Every operation that is known once: [1, 8, 8, 3] -> [1, 96] and [1, 5]."""
    rng = np.random.default_rng(0)
    same, valid = ("<b", 0), ("<b", 1)
    one, two = ("<i", 1), ("<i", 2)
    constants = {
        "stem/w": _f16(rng, 4, 5, 5, 3),
        "stem/b": _f16(rng, 4),
        "depth/w": _f16(rng, 1, 3, 3, 4),
        "depth/b": _f16(rng, 4),
        "point/w": _f16(rng, 4, 1, 1, 4),
        "point/b": _f16(rng, 4),
        "down/w": _f16(rng, 1, 3, 3, 4),
        "down/b": _f16(rng, 4),
        "slope": _f16(rng, 1, 1, 4),
        "dense/w": _f16(rng, 5, 6),
        "dense/b": _f16(rng, 5),
    }
    tensors = [Tensor("in", (1, 8, 8, 3))]
    steps = []
    for name, values in constants.items():
        tensors.append(Tensor(f"{name}/half", values.shape, values))
        tensors.append(Tensor(name, values.shape))
        steps.append(Step(6, [f"{name}/half"], name))
    for name, values in {
        "pads": [[0, 0], [0, 0], [0, 0], [0, 2]],
        "size": [4, 4],
        "axes": [1, 2],
        "flat": [1, 96],
    }.items():
        array = np.array(values, np.int32)
        tensors.append(Tensor(name, array.shape, array))
    shapes = {
        "stem": (1, 4, 4, 4),
        "depth": (1, 4, 4, 4),
        "prelu": (1, 4, 4, 4),
        "point": (1, 4, 4, 4),
        "sum": (1, 4, 4, 4),
        "down": (1, 2, 2, 4),
        "pool": (1, 2, 2, 4),
        "joined": (1, 2, 2, 8),
        "up": (1, 4, 4, 4),
        "wide": (1, 4, 4, 6),
        "reshaped": (1, 96),
        "mean": (1, 6),
        "dense": (1, 5),
        "sigmoid": (1, 5),
    }
    tensors += [Tensor(name, shape) for name, shape in shapes.items()]
    window = {1: one, 2: one}
    strided = {1: two, 2: two}
    steps += [
        Step(3, ["in", "stem/w", "stem/b"], "stem", {0: same, **strided, 3: ("<b", 3)}),
        Step(4, ["stem", "depth/w", "depth/b"], "depth", {0: same, **window, 3: one}),
        Step(54, ["depth", "slope"], "prelu"),
        Step(3, ["prelu", "point/w", "point/b"], "point", {0: valid, **window}),
        Step(0, ["point", "stem"], "sum", {0: ("<b", 1)}),
        Step(4, ["sum", "down/w", "down/b"], "down", {0: same, **strided, 3: one}),
        Step(17, ["sum"], "pool", {0: same, **strided, 3: two, 4: two}),
        Step(2, ["down", "pool"], "joined", {0: ("<i", 3)}),
        Step(23, ["pool", "size"], "up", {3: ("<b", 1)}),
        Step(34, ["up", "pads"], "wide"),
        Step(22, ["wide", "flat"], "reshaped"),
        Step(40, ["wide", "axes"], "mean"),
        Step(9, ["mean", "dense/w", "dense/b"], "dense", {0: ("<b", 0)}),
        Step(14, ["dense"], "sigmoid"),
    ]
    outputs = ["joined", "reshaped", "sigmoid"]
    return write_tflite(tensors, steps, ["in"], outputs)
