"""Rows of measurements as lines for people, of at most 100 columns."""

from collections.abc import Sequence

from signjax.benchmark.comparison import Row

HEADER = (
    "program  batch  dtype     devices   step ms  [p25, p75]         images/s    MFU"
    "  compile s   MiB"
)


def line(row: Row) -> str:
    """A row under HEADER; `-` stands for what is not known."""
    step, peak, mfu = row["step_ms"], row["peak_memory_bytes"], row["mfu"]
    spread = f"[{step['p25']:.4g}, {step['p75']:.4g}]"
    return (
        f"{row['program']:7}  {row['batch_size']:5}  {row['dtype']:8}  "
        f"{row['device_count']:7}  {step['median']:8.4g}  {spread:16}  "
        f"{row['images_per_second']:9,.1f}  {'-' if mfu is None else f'{mfu:.1%}':>5}  "
        f"{row['compile_seconds']:9.2f}  {'-' if peak is None else peak >> 20:>4}"
    )


def notes(rows: Sequence[Row]) -> list[str]:
    """What a reader of the lines has to know; rows: at least one, of one device."""
    first = rows[0]
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
    """FLOP a byte, and what that says of the limit."""
    found, ridge = row["flops_per_byte"], row["ridge_flops_per_byte"]
    about = f"{row['program']}, batch {row['batch_size']}: {found:.4g} FLOP/byte"
    if ridge is None:
        return f"{about}; where memory is the limit is not known for this device"
    limit = "memory" if found < ridge else "arithmetic"
    return f"{about}; below {ridge:.4g} memory is the limit: it is {limit}"
