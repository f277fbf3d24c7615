"""What a compiled program's text (optimized HLO) says of it: cycles, kernels, sums."""

import re
from collections import Counter
from collections.abc import Iterator
from math import prod
from typing import NamedTuple

# Parts of a step and what the names of their operations hold, the first that fits.
_PARTS = (
    ("augment", "/augment/"),
    ("optimizer", "/optimizer/"),
    ("backward", "transpose(jvp"),
    ("forward", "jvp("),
    ("data", "/data/"),
)
# Operations that are no work of their own, or only wait for it.
_FREE = set(
    "after-all bitcast constant get-tuple-element parameter partition-id reshape tuple "
    "call conditional".split()
)
_COLLECTIVES = (
    "all-reduce all-gather reduce-scatter all-to-all collective-permute "
    "ragged-all-to-all collective-broadcast"
).split()
_BITS = {"pred": 8, "bf16": 16}

_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\(")
_CALLED = re.compile(r"(?:body|condition|(?:true|false)_computation)=%?([\w.\-]+)")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")


class Instruction(NamedTuple):
    """A line of HLO. shape: as written. text: the whole line, with its attributes."""

    name: str
    shape: str
    opcode: str
    text: str

    @property
    def base_name(self) -> str:
        """A fusion's name without its number, and of others the operation."""
        if self.opcode != "fusion":
            return self.opcode
        return re.sub(r"[.\d]+$", "", self.name)


def cycles_by_part(text: str) -> dict[str, int]:
    """The TPU compiler's own estimates, added up: part -> cycles; a loop counts once.

    Parts: augment, forward, backward, optimizer, data and other, by the named scopes
    of the train step. What has no estimate is not in any: see `unestimated`.
    """
    cycles: Counter[str] = Counter()
    for instruction in _executed(text):
        if estimate := _cycles(instruction):
            cycles[_part(instruction)] += estimate
    return dict(cycles)


def unestimated(text: str) -> dict[str, int]:
    """Operations that the TPU compiler gives no cycles: name -> how many.

    Scalars are left out, as are operations that are no work. `while`: a loop, whose
    body is counted once.
    """
    names = Counter(
        instruction.base_name
        for instruction in _executed(text)
        if not _cycles(instruction)
        and instruction.opcode not in _FREE
        and not instruction.opcode.endswith("-done")
        and any(size > 1 for _, size in _arrays(instruction.shape))
    )
    return dict(names.most_common())


def kernels_by_kind(text: str) -> dict[str, int]:
    """What a GPU is asked to run in each call: kind -> how many; a loop counts once."""
    kinds = Counter(
        _kernel(instruction)
        for instruction in _executed(text)
        if instruction.opcode not in {*_FREE, "while"}
        and not instruction.opcode.endswith("-done")
    )
    return dict(kinds.most_common())


def collectives(text: str) -> list[dict[str, str | int]]:
    """What devices exchange: rows of operation, type, count and bytes of a device.

    count: operations that move arrays of this type; bytes: of these arrays together.
    """
    counts: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    for instruction in _instructions(text.splitlines()):
        operation = instruction.opcode.removesuffix("-start")
        if operation in _COLLECTIVES:
            arrays = list(_arrays(instruction.shape))
            counts.update({(operation, dtype) for dtype, _ in arrays})
            for dtype, size in arrays:
                sizes[operation, dtype] += size * _bits(dtype) // 8
    return [
        {"operation": key[0], "type": key[1], "count": counts[key], "bytes": size}
        for key, size in sizes.items()
    ]


def _executed(text: str) -> Iterator[Instruction]:
    """What is run by itself: all of the entry and of its loops, nothing inside fusions.

    The bodies of loops and of conditions are given once.
    """
    computations: dict[str, list[str]] = {}
    entry, lines = "", []
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            lines = computations.setdefault(match[2], [])
            entry = match[2] if match[1] else entry
        else:
            lines.append(line)
    waiting, seen = [entry], {entry}
    while waiting:
        for instruction in _instructions(computations.get(waiting.pop(), [])):
            yield instruction
            called = set(_CALLED.findall(instruction.text)) - seen
            if instruction.opcode == "call":
                called |= set(re.findall(r"to_apply=%?([\w.\-]+)", instruction.text))
            seen |= called
            waiting += sorted(called)


def _instructions(lines: list[str]) -> Iterator[Instruction]:
    for line in lines:
        if match := _INSTRUCTION.match(line):
            yield Instruction(match[1], match[2], match[3], line)


def _arrays(shape: str) -> Iterator[tuple[str, int]]:
    """(type, number of values) of each array in a shape."""
    for dtype, sides in _ARRAY.findall(shape):
        yield dtype, prod(map(int, filter(None, sides.split(","))))


def _bits(dtype: str) -> int:
    return _BITS.get(dtype) or int(re.sub(r"^\D*(\d+).*", r"\1", dtype))


def _cycles(instruction: Instruction) -> int:
    match = re.search(r'"estimated_cycles":"(\d+)"', instruction.text)
    return int(match[1]) if match else 0


def _part(instruction: Instruction) -> str:
    match = re.search(r'op_name="([^"]*)"', instruction.text)
    name = f"/{match[1]}/" if match else ""
    if re.match(r"/(images|labels|indices)\b", name):
        return "data"
    return next((part for part, mark in _PARTS if mark in name), "other")


def _kernel(instruction: Instruction) -> str:
    name, opcode = instruction.base_name, instruction.opcode
    if opcode == "custom-call":
        match = re.search(r'custom_call_target="_*([a-zA-Z]+)', instruction.text)
        return match[1] if match else opcode
    if opcode != "fusion":
        return opcode.removesuffix("-start")
    kinds = ("gemm", "transpose", "scatter", "gather", "reduce", "copy")
    return f"fusion: {next((kind for kind in kinds if kind in name), 'elementwise')}"
