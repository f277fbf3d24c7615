"""--mode=benchmark: how fast training's own step is, and how fast it could be."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from signjax.benchmark import programs
from signjax.benchmark import table as report
from signjax.benchmark.comparison import compare, has_partner, read_rows
from signjax.benchmark.flops import train_flops
from signjax.benchmark.peaks import known_peaks, measure_matmul, peak_flops
from signjax.benchmark.programs import Program
from signjax.benchmark.timing import compile_apart, profile, quartiles, time_steps
from signjax.commands.cli import Options
from signjax.config import Config, check, check_batch_size, default_config
from signjax.data.dataset import Dataset
from signjax.data.load import make_batches
from signjax.errors import InputError, RunError
from signjax.evaluation import plots
from signjax.experiment import Experiment, make_experiment
from signjax.models.cnn import CNN
from signjax.runtime.console import Console
from signjax.runtime.devices import (
    enable_compilation_cache,
    memory_advice,
    require_devices,
)
from signjax.runtime.distributed import replicated
from signjax.runtime.files import write_json
from signjax.runtime.machine import (
    device_name,
    git_commit,
    load_average,
    peak_memory_bytes,
)
from signjax.workdir import versions

SIGNS_CLASSES, SIGNS_TRAIN = 6, 1080
DEFAULT_REPEATS = 30
PROGRAMS = ("step", "bare", "epoch")
DTYPES = ("float32", "bfloat16")
AXES = ("device_count", "dtype", "batch_size", "program")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class SweepPoint:
    """One combination of the sweep: a config, on devices, and what to run of it."""

    config: Config
    program: str
    experiment: Experiment
    train_size: int

    @property
    def devices(self) -> list[jax.Device]:
        return self.experiment.devices

    @property
    def batch_size(self) -> int:
        return self.config.train.batch_size


@dataclass(frozen=True)
class Roofline:
    """What the rows are held against.

    flops_per_image: of a train step. matmul: FLOP/s of the best matrix product, on the
    CPU, where it is measured; None elsewhere.
    """

    flops_per_image: int
    matmul: float | None


def run(options: Options) -> None:
    """Prints a table; writes JSON and a picture of it to --output.

    Raises RunError where --compare finds a row slower than it was.
    """
    config = options.config
    repeats, output = _repeats(options), _output(options)
    if options.trace and Path(options.trace).is_file():
        raise InputError(f"--trace={options.trace}: is a file; expected a folder")
    old = read_rows(options.compare) if options.compare else []
    enable_compilation_cache()
    devices = require_devices(options.require_device)
    points = list(plan(config, parse_sweep(options.sweep), devices))
    if old and not any(has_partner(_identity(point), old) for point in points):
        raise InputError(
            f"--compare={options.compare}: it has no row of this network, device and "
            "sweep, so there is nothing to compare"
        )
    console = Console()
    console.header(_header(points))
    roofline = make_roofline(points[0])
    console.info(report.HEADER)
    rows: list[Row] = []
    for point in points:
        rows.append(measure(point, roofline, repeats, options.trace))
        console.info(report.line(rows[-1]))
        if output:  # now, so that what is measured is kept whatever follows
            write_json(output, rows)
    for note in report.notes(rows):
        console.info(note)
    if output and output.is_file():  # beside what is no file there is no place
        _draw(rows, output, console)
    if options.compare:
        _compare(rows, old, options.compare, console)


def _repeats(options: Options) -> int:
    if options.repeats < 0:
        raise InputError(f"--repeats={options.repeats}: expected at least 1")
    return options.repeats or DEFAULT_REPEATS


def _output(options: Options) -> Path | None:
    if not options.output:
        return None
    output = Path(options.output)
    if output.is_dir() or output.suffix == ".png":
        raise InputError(
            f"--output={output}: expected a JSON file for the rows; the picture of "
            "them is drawn beside it, under its name with .png"
        )
    return output


def parse_sweep(text: str) -> dict[str, list[Any]]:
    """'batch_size=32,128 program=step' -> axis -> values; InputError if it is wrong."""
    sweep: dict[str, list[Any]] = {}
    for part in text.split():
        axis, equals, values = part.partition("=")
        if axis not in AXES or not equals or axis in sweep:
            raise InputError(
                f"--sweep: {part!r} is not an axis ({', '.join(AXES)}), each once, and "
                'its values after =, as --sweep="batch_size=32,128 program=step"'
            )
        sweep[axis] = [_parse(axis, value) for value in values.split(",")]
        if len(set(sweep[axis])) < len(sweep[axis]):
            raise InputError(f"--sweep: {part!r} has a value twice: give each once")
    return sweep


def _parse(axis: str, value: str) -> Any:
    legal = {"program": PROGRAMS, "dtype": DTYPES}.get(axis)
    if legal is None and value.isdecimal() and int(value) > 0:
        return int(value)
    if legal is None or value not in legal:
        expected = " or ".join(legal) if legal else "a whole number above 0"
        raise InputError(f"--sweep: {axis} {value!r}: expected {expected}")
    return value


def plan(
    config: Config, sweep: dict[str, list[Any]], devices: list[jax.Device]
) -> Iterator[SweepPoint]:
    """All combinations of a sweep; an axis left out has what training would take.

    Programs left out: all, but no epoch of a ResNet on the CPU, where a loop may keep
    XLA from its faster operations.
    """
    as_trained = {
        "device_count": len(devices),
        "dtype": config.dtype,
        "batch_size": config.train.batch_size,
    }
    axes = [sweep.get(axis, [value]) for axis, value in as_trained.items()]
    for count, dtype, batch_size in product(*axes):
        if count > len(devices):
            raise InputError(
                f"--sweep=device_count: {count} are asked for and there are "
                f"{len(devices)} devices"
            )
        for program in sweep.get("program", PROGRAMS):
            varied = vary(
                config, dtype=dtype, batch_size=batch_size, augmented=program != "bare"
            )
            train_size = max(SIGNS_TRAIN, batch_size)
            check_batch_size(varied, train_size, count)
            experiment = make_experiment(
                varied, SIGNS_CLASSES, train_size, devices[:count]
            )
            small = devices[0].platform != "cpu" or isinstance(experiment.model, CNN)
            if program != "epoch" or small or "program" in sweep:
                yield SweepPoint(varied, program, experiment, train_size)


def vary(config: Config, *, dtype: str, batch_size: int, augmented: bool) -> Config:
    """A copy with this dtype and batch size; not augmented: images stay as they are.

    Raises InputError where the values do not go together.
    """
    varied: Config = ConfigDict(config)
    varied.dtype = dtype
    varied.train.batch_size = batch_size
    if not augmented:
        varied.augment = default_config().augment
        varied.tta = default_config().tta
        varied.train.outlier_fraction = 0.0
    check(varied)
    return varied


def make_roofline(point: SweepPoint) -> Roofline:
    """The same for all points of a sweep."""
    flops = train_flops(
        point.experiment.model,
        point.experiment.image_size,
        head_alone=point.experiment.freeze_backbone,
    )
    device = point.devices[0]
    return Roofline(flops, measure_matmul(device) if device.platform == "cpu" else None)


def measure(point: SweepPoint, roofline: Roofline, repeats: int, trace: str) -> Row:
    """One row. trace: where a profile goes; "": nowhere."""
    program = make_program(point)
    batch_size, image_size = point.batch_size, point.experiment.image_size
    with memory_advice(batch_size, image_size):
        state = point.experiment.initial_state()
        compilation = compile_apart(program, state)
        program = compilation.ready
        state, samples = time_steps(program, state, repeats)
        if trace:
            profile(program, state, _profile_directory(point, trace))
    step_ms = quartiles([1000 * seconds for seconds in samples])
    images_per_second = 1000 * program.images / program.steps / step_ms["median"]
    is_loop = point.program == "epoch"  # whose bytes XLA does not tell
    return {
        **_identity(point),
        "steps_per_call": program.steps,
        "trace_seconds": compilation.trace_seconds,
        "compile_seconds": compilation.compile_seconds,
        "compile_seconds_warm": compilation.compile_seconds_warm,
        "cache_hit": compilation.cache_hit,
        "step_ms": step_ms,
        "images_per_second": images_per_second,
        **_efficiency(
            point,
            roofline,
            images_per_second,
            None if is_loop else compilation.bytes_accessed,
        ),
        "program_memory_bytes": compilation.memory_bytes,
        "peak_memory_bytes": peak_memory_bytes(point.devices),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "load_average": load_average(),
        "versions": versions(),
        "git_commit": git_commit(),
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _profile_directory(point: SweepPoint, trace: str) -> Path:
    parts = (
        point.program,
        point.batch_size,
        point.experiment.dtype,
        len(point.devices),
    )
    return Path(trace) / "-".join(map(str, parts))


def _identity(point: SweepPoint) -> dict[str, Any]:
    """What is measured and on what."""
    experiment = point.experiment
    return {
        "model": type(experiment.model).__name__.lower(),
        "variant": experiment.name,
        "backend": point.devices[0].platform,
        "device": device_name(point.devices[0]),
        "device_count": len(point.devices),
        "batch_size": point.batch_size,
        "image_size": experiment.image_size,
        "dtype": experiment.dtype,
        "matmul_precision": _matmul_precision(),
        "program": point.program,
    }


def _efficiency(
    point: SweepPoint,
    roofline: Roofline,
    images_per_second: float,
    accessed: float | None,
) -> dict[str, Any]:
    """How the work compares with the devices; accessed: bytes a step, of each device.

    None stands for what follows from something that is not known.
    """
    flops, count = roofline.flops_per_image, len(point.devices)
    peak, bandwidth = roofline.matmul, None
    peaks = known_peaks(point.devices[0].device_kind)
    if peaks:
        peak = peak_flops(peaks, point.experiment.dtype, _matmul_precision())
        bandwidth = peaks.bandwidth
    # Devices of the CPU share its cores, and the product that was measured had all.
    total = peak and peak * (1 if roofline.matmul else count)
    step_flops = flops * point.batch_size / count
    return {
        "flops_per_image": flops,
        "matmul_peak": roofline.matmul,
        "peak_flops": peak,
        "mfu": total and flops * images_per_second / total,
        "bytes_accessed": accessed,
        "flops_per_byte": accessed and step_flops / accessed,
        "ridge_flops_per_byte": peak and bandwidth and peak / bandwidth,
    }


def make_program(point: SweepPoint) -> Program:
    """The program of a point, on random images: no pixel changes the speed."""
    experiment = point.experiment
    rng = np.random.default_rng(0)
    shape = (point.train_size, experiment.image_size, experiment.image_size, 3)
    images = rng.integers(0, 256, shape, np.uint8)
    labels = rng.integers(0, SIGNS_CLASSES, point.train_size).astype(np.int32)
    classes = tuple(map(str, range(SIGNS_CLASSES)))
    dataset = Dataset(images, labels, classes)
    order = make_batches(point.config, dataset, experiment.mesh).order
    data = jax.device_put((images, labels), replicated(experiment.mesh))
    step, key, mesh = experiment.train_step, experiment.key, experiment.mesh
    if point.program == "epoch":
        return programs.epoch_program(step, data, order, key, mesh)
    batches = order(0)
    full = batches[(batches >= 0).all(axis=1)]
    if point.program == "bare":
        return programs.bare_program(step, data, full[0], key, mesh)
    return programs.step_program(step, data, full, key)


def _matmul_precision() -> str:
    points: Any = jax.config  # whose attributes no type checker sees
    return points.jax_default_matmul_precision or "default"


def _header(points: Sequence[SweepPoint]) -> dict[str, str]:
    experiment = points[0].experiment
    size = max(point.train_size for point in points)
    return {
        "device": device_name(points[0].devices[0]),
        "model": f"{experiment.name}, images of {experiment.image_size} pixels a side",
        "data": f"{size} random images on the device; pixels do not change the speed",
        "programs": "step: as training runs it; bare: without augmentation, the same "
        "batch each time; epoch: all steps of an epoch in one call",
    }


def _draw(rows: Sequence[Row], output: Path, console: Console) -> None:
    if plots.available():
        plots.step_times(rows, output.with_suffix(".png"))
    else:
        console.info('no picture: pip install "signjax[plots]" draws it')


def _compare(
    rows: Sequence[Row], old: Sequence[Row], path: str, console: Console
) -> None:
    comparison = compare(rows, old)
    console.info(f"compared with {path}, old -> new, median and quartiles:")
    for line in comparison.lines:
        console.info(line)
    if comparison.slower:
        raise RunError(
            f"--compare: slower than in {path} beyond noise: "
            f"{'; '.join(comparison.slower)}"
        )
