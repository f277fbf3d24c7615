"""One row of a benchmark: what was measured, on what, and how near the hardware's."""

import os
from pathlib import Path
from typing import Any

import jax

from signjax.benchmark.comparison import Row
from signjax.benchmark.flops import train_flops
from signjax.benchmark.peaks import PEAKS, measure_matmul, peak_flops
from signjax.benchmark.programs import make_program
from signjax.benchmark.sweep import SweepPoint
from signjax.benchmark.timing import compile_program, profile, quartiles, time_steps
from signjax.runtime.machine import device_name, peak_memory_bytes, provenance
from signjax.workdir import versions


def identity(point: SweepPoint) -> dict[str, Any]:
    """What a row is about: the program and what it runs on."""
    experiment = point.experiment
    return {
        "model": type(experiment.model).__name__.lower(),
        "variant": experiment.name,
        "backend": point.devices[0].platform,
        "device": device_name(point.devices[0]),
        "device_count": len(point.devices),
        "batch_size": point.batch_size,
        "train_size": point.train_size,
        "image_size": experiment.image_size,
        "dtype": experiment.dtype,
        "matmul_precision": _matmul_precision(),
        "program": point.program,
    }


def measure(point: SweepPoint, *, repeats: int, trace: str = "") -> Row:
    """The row of a point.

    repeats: samples of the step. trace: the folder for its profile; "": none is taken.
    """
    experiment = point.experiment
    program = make_program(point)
    state = experiment.initial_state()
    compilation = compile_program(program, state)
    program = compilation.ready
    state, samples = time_steps(program, state, repeats)
    if trace:
        name = f"{point.program}-{point.batch_size}-{experiment.dtype}-"
        profile(program, state, Path(trace) / f"{name}{len(point.devices)}")
    step_ms = quartiles([1000 * seconds for seconds in samples])
    images_per_second = 1000 * program.images / program.steps / step_ms["median"]
    is_loop = point.program == "epoch"  # whose bytes XLA does not tell
    accessed = None if is_loop else compilation.bytes_accessed
    return {
        **identity(point),
        "steps_per_call": program.steps,
        "trace_seconds": compilation.trace_seconds,
        "compile_seconds": compilation.compile_seconds,
        "step_ms": step_ms,
        "images_per_second": images_per_second,
        **_efficiency(point, images_per_second, accessed),
        "program_memory_bytes": compilation.memory_bytes,
        "peak_memory_bytes": peak_memory_bytes(point.devices),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "versions": versions(),
        **provenance(),
    }


def _efficiency(
    point: SweepPoint, images_per_second: float, accessed: float | None
) -> dict[str, Any]:
    """How the work compares with the devices; accessed: bytes a step, of each device.

    None stands for what follows from something that is not known.
    """
    flops, count, device = nominal_flops(point), len(point.devices), point.devices[0]
    matmul = measure_matmul(device) if device.platform == "cpu" else None
    peak, bandwidth = matmul, None
    peaks = PEAKS.get(device.device_kind)
    if peaks:
        peak = peak_flops(peaks, point.experiment.dtype, _matmul_precision())
        bandwidth = peaks.bandwidth
    # Devices of the CPU share its cores, and the product that was measured had all.
    total = peak and peak * (1 if matmul else count)
    step_flops = flops * point.batch_size / count
    return {
        "flops_per_image": flops,
        "matmul_peak": matmul,
        "peak_flops": peak,
        "mfu": total and flops * images_per_second / total,
        "bytes_accessed": accessed,
        "flops_per_byte": accessed and step_flops / accessed,
        "ridge_flops_per_byte": peak and bandwidth and peak / bandwidth,
    }


def nominal_flops(point: SweepPoint) -> int:
    """Operations of a train step for each image, by the network's definition."""
    model, size = point.experiment.model, point.experiment.image_size
    return train_flops(model, size, head_alone=point.head_alone)


def _matmul_precision() -> str:
    flags: Any = jax.config  # whose attributes no type checker sees
    return flags.jax_default_matmul_precision or "default"
