"""Rows of measurements as lines for people."""

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

HEADER = (
    "program  batch  dtype     devices   step ms  [p25, p75]           images/s     MFU"
    "   trace s  compile s   warm s   MiB  FLOP/byte"
)


def line(row: Row) -> str:
    """A row under HEADER; `-` stands for what is not known."""
    step = row["step_ms"]
    spread = f"[{step['p25']:.4g}, {step['p75']:.4g}]"
    warm = f"{row['compile_seconds_warm']:.2f}" + ("" if row["cache_hit"] else "!")
    peak = row["peak_memory_bytes"]
    return (
        f"{row['program']:7}  {row['batch_size']:5}  {row['dtype']:8}  "
        f"{row['device_count']:7}  {step['median']:8.4g}  {spread:18}  "
        f"{row['images_per_second']:10,.1f}  {_percent(row['mfu']):>6}  "
        f"{row['trace_seconds']:8.2f}  {row['compile_seconds']:9.2f}  {warm:>7}  "
        f"{'-' if peak is None else round(peak / 2**20):>4}  "
        f"{_number(row['flops_per_byte']):>9}"
    )


def notes(rows: Sequence[Row]) -> list[str]:
    """What a reader of the lines has to know; rows: at least one, of one device."""
    first = rows[0]
    lines = [
        f"step ms: median and quartiles of {first['step_ms']['n']} samples. compile s: "
        "with an empty persistent cache; warm s: from that cache"
    ]
    if not all(row["cache_hit"] for row in rows):
        lines.append("!: the persistent cache did not take the program or give it back")
    lines.append(
        f"MFU: of {first['flops_per_image'] / 1e9:.4g} GFLOP an image, nominal: each "
        "convolution and its gradients as defined, though Winograd's algorithm and the "
        "gradients of pooled maps take fewer"
    )
    by_dtype = {row["dtype"]: row for row in rows}
    lines += map(_peak, by_dtype.values())
    if first["backend"] == "cpu":
        lines.append("MiB: the most this process has had so far, compiler included")
    else:
        lines.append("MiB: the most in use on a device since this process began")
    lines.append(
        "FLOP/byte: bytes are those that XLA's operations read and write, as if there "
        "were no caches; of a loop they are not known"
    )
    lines += map(_ridge, by_dtype.values())
    return lines


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


def _ridge(row: Row) -> str:
    ridge, dtype = row["ridge_flops_per_byte"], row["dtype"]
    if ridge is None:
        return f"ridge for {dtype}: not known, as the memory's bandwidth is not"
    return f"ridge for {dtype}: {ridge:.4g} FLOP/byte; with less, memory is the limit"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
