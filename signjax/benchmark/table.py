"""Rows as lines for people, of at most 100 columns."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from signjax.benchmark.comparison import Row
from signjax.benchmark.sweep import SweepPoint
from signjax.runtime.machine import device_name

HEADER = (
    "program  batch  dtype     devices   step ms  [p25, p75]         images/s    MFU"
    "  compile s   MiB"
)
ESTIMATES_HEADER = (
    "program  batch  images  dtype     devices   Mcycles  kernels  args MB  temp MB"
    "  GB read  compile s"
)
# The share of what memory and arithmetic allow below which neither is the limit.
_LAUNCH_BOUND = 0.3


def header(points: Sequence[SweepPoint]) -> dict[str, str]:
    """What all rows of a sweep have in common, for people."""
    experiment = points[0].experiment
    size = max(point.train_size for point in points)
    return {
        "device": device_name(points[0].devices[0]),
        "model": f"{experiment.name}, images of {experiment.image_size} pixels a side",
        "data": f"{size} random images on the device; pixels do not change the speed",
        "programs": "step: as training runs it; bare: no augmentation; epoch: all "
        "steps of an epoch in one call",
    }


def line(row: Row) -> str:
    """A row under HEADER, or ESTIMATES_HEADER; `-` stands for what is not known."""
    if "estimate" in row:
        return _estimate_line(row)
    step, peak, mfu = row["step_ms"], row["peak_memory_bytes"], row["mfu"]
    spread = f"[{step['p25']:.4g}, {step['p75']:.4g}]"
    return (
        f"{row['program']:7}  {row['batch_size']:5}  {row['dtype']:8}  "
        f"{row['device_count']:7}  {step['median']:8.4g}  {spread:16}  "
        f"{row['images_per_second']:9,.1f}  {'-' if mfu is None else f'{mfu:.1%}':>5}  "
        f"{row['compile_seconds']:9.2f}  {'-' if peak is None else peak >> 20:>4}"
    )


def _estimate_line(row: Row) -> str:
    about = (
        f"{row['program']:7}  {row['batch_size']:5}  {row['train_size']:6}  "
        f"{row['dtype']:8}  {row['device_count']:7}  "
    )
    found = row["estimate"]
    if found is None:
        return f"{about}cannot run: {row['error']}"
    kernels = found["kernels"] and sum(found["kernels"].values())
    cells = (
        (found["estimated_cycles"], 1e6, 8, 3),
        (kernels, 1, 7, 0),
        (found["argument_bytes"], 1e6, 7, 1),
        (found["temp_bytes"], 1e6, 7, 1),
        (found["bytes_accessed"], 1e9, 7, 2),
        (row["compile_seconds"], 1, 9, 1),
    )
    return about + "  ".join(
        f"{'-' if value is None else f'{value / unit:.{digits}f}':>{width}}"
        for value, unit, width, digits in cells
    )


def notes(rows: Sequence[Row]) -> list[str]:
    """What a reader of the lines has to know; rows: at least one, of one device."""
    first = rows[0]
    if "estimate" in first:
        return _estimate_notes(rows)
    on_cpu = first["backend"] == "cpu"
    by_dtype = {row["dtype"]: row for row in rows}
    return [
        f"step ms: median and quartiles of {first['step_ms']['n']} samples; compile s: "
        "nothing is taken from a cache",
        f"MFU: of {first['flops_per_image'] / 1e9:.4g} GFLOP an image, nominal: each "
        "convolution and its gradients as defined, though Winograd's algorithm and the "
        "gradients of pooled maps take fewer",
        *map(_peak, by_dtype.values()),
        "MiB: the most this process has had so far, compiler included"
        if on_cpu
        else "MiB: the most in use on a device since this process began",
        *map(_intensity, (row for row in rows if row["flops_per_byte"])),
    ]


def _estimate_notes(rows: Sequence[Row]) -> list[str]:
    lines = [
        "an estimate of the compiler's, never a measurement, and incomplete: a loop "
        "counts once, and what is listed as not estimated not at all",
        "GB read: what operations read and write, as if there were no caches",
    ]
    for row in rows:
        about = f"{row['program']}, batch {row['batch_size']}"
        lines += [f"{about}: {note}" for note in _parts(row["estimate"] or {})]
    return lines


def _parts(estimate: Mapping[str, Any]) -> Iterator[str]:
    """What an estimate is made of; nothing where there is none."""
    if estimate:
        needed = estimate["argument_bytes"] + estimate["temp_bytes"]
        yield f"takes {needed / estimate['chip_bytes']:.1%} of a chip's memory"
    for words, key in (
        ("cycles", "cycles_by_part"),
        ("not estimated", "unestimated"),
        ("kernels", "kernels"),
    ):
        if counts := estimate.get(key):
            listed = (f"{name} {count:,}" for name, count in counts.items())
            yield f"{words}: {', '.join(listed)}"
    for row in estimate.get("collectives", ()):
        about = f"{row['count']} x {row['operation']} of {row['type']}"
        yield f"{about}, {row['bytes'] / 1e6:.3g} MB"


def _peak(row: Row) -> str:
    peak, dtype, device = row["peak_flops"], row["dtype"], row["device"]
    if row["backend"] == "cpu":
        return (
            f"peak for {dtype}: {peak / 1e9:.4g} GFLOP/s, the best float32 matrix "
            "product just measured here"
        )
    if peak is None:
        return f"peak for {dtype}: not known for {device}, so MFU is not"
    return f"peak for {dtype}: {peak / 1e12:.4g} TFLOP/s, as the maker of {device} says"


def _intensity(row: Row) -> str:
    """What limits the step, and what would help."""
    found, ridge, mfu = (
        row[key] for key in ("flops_per_byte", "ridge_flops_per_byte", "mfu")
    )
    about = f"{row['program']}, batch {row['batch_size']}: {found:.4g} FLOP/byte"
    if ridge is None or mfu is None:
        return f"{about}; what limits it is not known, as the device's limits are not"
    reached = mfu / min(1, found / ridge)
    if reached < _LAUNCH_BOUND:
        limit = "launches and small operations are the limit, so a larger batch_size"
    elif found < ridge:
        limit = (
            f"below {ridge:.4g} memory is the limit, so a larger batch_size or image"
        )
    else:
        limit = "arithmetic is the limit, so bfloat16 if it is not that"
    return f"{about}, {reached:.0%} of what that allows: {limit} would help"
