"""Rows against older ones: how many times as long, and is that noise."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from signjax.errors import InputError
from signjax.runtime.files import read_json

# A line of a benchmark's table and JSON, of `measure.measure` or `topology.estimate`.
Row = Mapping[str, Any]

# Rows alike in all of these measure the same thing.
KEYS = tuple(
    "model variant device device_count batch_size train_size image_size dtype "
    "matmul_precision program".split()
)
# Two processes differ by some percent however calm each was in itself.
TOLERANCE = 1.05


class Comparison(NamedTuple):
    """lines: one a row, for people. slower: the names of those slower beyond noise."""

    lines: list[str]
    slower: list[str]


def read_rows(path: str) -> list[Row]:
    """The rows of a file that the benchmark wrote; InputError if it is none."""
    rows = read_json(Path(path))
    if not isinstance(rows, list) or not rows or not all(map(_is_row, rows)):
        raise InputError(
            f"{path}: expected a JSON array of benchmark rows, as --mode=benchmark "
            "--output writes it"
        )
    keys = [_key(row) for row in rows]
    for row, key in zip(rows, keys, strict=True):
        if keys.count(key) > 1:
            raise InputError(
                f"{path}: {_name(row)} is there twice, so it cannot be told which to "
                "compare with: leave one"
            )
    return rows


def _is_row(row: Any) -> bool:
    if not isinstance(row, dict) or not row.keys() >= {*KEYS}:
        return False
    if "estimate" in row:
        return isinstance(row["estimate"], dict | None)
    step = row.get("step_ms")
    return isinstance(step, dict) and all(
        isinstance(step.get(name), int | float) and step[name] > 0
        for name in ("median", "p25", "p75")
    )


def compare(new: Sequence[Row], old: Sequence[Row]) -> Comparison:
    """Each row of `new` beside its partner in `old`; those without one are named.

    A row is slower beyond noise if its median is over TOLERANCE times the old one and
    the middle halves of the two samples do not overlap; faster, the other way round.
    Estimates are compared by their cycles, without any (GPU) by their kernels.
    """
    partners = {_key(row): row for row in old}
    lines, slower = [], []
    for row in new:
        partner = partners.pop(_key(row), None)
        if partner is None:
            lines.append(f"{_name(row)}: not among the old rows")
            continue
        (after, now, unit), (before, then, _) = _cost(row), _cost(partner)
        if not after or not before:
            lines.append(f"{_name(row)}: {then} -> {now}")
            continue
        ratio, verdict = _judge(after, before)
        lines.append(f"{_name(row)}: {then} -> {now} {unit}, x {ratio:.3f}: {verdict}")
        if verdict == "slower":
            slower.append(_name(row))
    lines += [f"{_name(row)}: not among the new rows" for row in partners.values()]
    return Comparison(lines, slower)


def has_partner(identity: Row, old: Sequence[Row]) -> bool:
    """Whether `old` has a row of what these values, KEYS among them, stand for."""
    return _key(identity) in map(_key, old)


def _judge(new: Mapping[str, float], old: Mapping[str, float]) -> tuple[float, str]:
    ratio = new["median"] / old["median"]
    if ratio > TOLERANCE and new["p25"] > old["p75"]:
        return ratio, "slower"
    if ratio < 1 / TOLERANCE and new["p75"] < old["p25"]:
        return ratio, "faster"
    return ratio, "no difference beyond noise"


def _cost(row: Row) -> tuple[Mapping[str, float] | None, str, str]:
    """median, p25 and p75, None of what cannot run; in words; and their unit."""
    if "estimate" not in row:
        step = row["step_ms"]
        words = f"{step['median']:.4g} [{step['p25']:.4g}, {step['p75']:.4g}]"
        return step, words, "ms"
    estimate = row["estimate"]
    if estimate is None:
        return None, "cannot run", ""
    cycles, kernels = estimate["estimated_cycles"], estimate["kernels"]
    cost, unit = (
        (sum(kernels.values()), "kernels") if cycles is None else (cycles, "cycles")
    )
    return dict.fromkeys(("median", "p25", "p75"), cost), f"{cost:,}", unit


def _key(row: Row) -> tuple[Any, ...]:
    """Estimates and measurements are never partners."""
    return ("estimate" in row, *(row[key] for key in KEYS))


def _name(row: Row) -> str:
    return (
        f"{row['variant']} {row['program']} batch {row['batch_size']} "
        f"{row['image_size']} px {row['dtype']} on {row['device_count']} x "
        f"{row['device']}"
    )
