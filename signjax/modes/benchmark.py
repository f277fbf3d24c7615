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

from signjax import build
from signjax.benchmarking import programs, report
from signjax.benchmarking.comparison import compare, has_partner, read_rows
from signjax.benchmarking.flops import train_flops
from signjax.benchmarking.machine import (
    device_name,
    git_commit,
    load_average,
    peak_memory_bytes,
)
from signjax.benchmarking.peaks import known_peaks, measure_matmul, peak_flops
from signjax.benchmarking.programs import Program
from signjax.benchmarking.timing import compile_apart, profile, quartiles, time_steps
from signjax.config import Config
from signjax.errors import InputError, RunError
from signjax.models.cnn import CNN
from signjax.modes.common import (
    keep_compiled_programs,
    refuse_arguments,
    require_config,
    require_devices,
)
from signjax.modes.options import Options
from signjax.reporting import plots
from signjax.reporting.logs import Console, write_json
from signjax.training.loop import memory_advice
from signjax.training.step import replicated
from signjax.workdir import versions

SIGNS_CLASSES, SIGNS_TRAIN = 6, 1080
DEFAULT_REPEATS = 30
PROGRAMS = ("step", "bare", "epoch")
DTYPES = ("float32", "bfloat16")
AXES = ("device_count", "dtype", "batch_size", "program")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Setting:
    """One combination of the sweep: a config, on devices, and what to run of it."""

    config: Config
    program: str
    network: build.Network
    recipe: build.Recipe
    train_size: int

    @property
    def devices(self) -> list[jax.Device]:
        return self.network.mesh.devices.ravel().tolist()


@dataclass(frozen=True)
class Yardstick:
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
    refuse_arguments(options)
    config = require_config(options)
    repeats, output = _repeats(options), _output(options)
    if options.trace and Path(options.trace).is_file():
        raise InputError(f"--trace={options.trace}: is a file; expected a folder")
    old = read_rows(options.compare) if options.compare else []
    keep_compiled_programs()
    devices = require_devices(options)
    settings = list(plan(config, parse_sweep(options.sweep), devices))
    if old and not any(has_partner(_identity(setting), old) for setting in settings):
        raise InputError(
            f"--compare={options.compare}: it has no row of this network, device and "
            "sweep, so there is nothing to compare"
        )
    console = Console()
    console.header(_header(settings))
    yardstick = make_yardstick(settings[0])
    console.info(report.HEADER)
    rows: list[Row] = []
    for setting in settings:
        rows.append(measure(setting, yardstick, repeats, options.trace))
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
) -> Iterator[Setting]:
    """All combinations of a sweep; an axis left out has what training would take.

    Programs left out: all, but no epoch of a ResNet on the CPU, where a loop may keep
    XLA from its faster operations.
    """
    as_trained = {"device_count": len(devices), **build.swept(config)}
    axes = [sweep.get(axis, [value]) for axis, value in as_trained.items()]
    for count, dtype, batch_size in product(*axes):
        if count > len(devices):
            raise InputError(
                f"--sweep=device_count: {count} are asked for and there are "
                f"{len(devices)} devices"
            )
        for program in sweep.get("program", PROGRAMS):
            varied = build.vary(
                config, dtype=dtype, batch_size=batch_size, bare=program == "bare"
            )
            network = build.make_network(varied, SIGNS_CLASSES, devices[:count])
            train_size = max(SIGNS_TRAIN, batch_size)
            recipe = build.make_recipe(varied, network, train_size)
            small = devices[0].platform != "cpu" or isinstance(network.model, CNN)
            if program != "epoch" or small or "program" in sweep:
                yield Setting(varied, program, network, recipe, train_size)


def make_yardstick(setting: Setting) -> Yardstick:
    """The same for all settings of a sweep."""
    flops = train_flops(
        setting.network.model,
        setting.network.image_size,
        head_alone=setting.recipe.freeze_backbone,
    )
    device = setting.devices[0]
    return Yardstick(
        flops, measure_matmul(device) if device.platform == "cpu" else None
    )


def measure(setting: Setting, yardstick: Yardstick, repeats: int, trace: str) -> Row:
    """One row. trace: where a profile goes; "": nowhere."""
    program = make_program(setting)
    batch_size, image_size = setting.recipe.batch_size, setting.network.image_size
    with memory_advice(batch_size, image_size):
        state = build.make_state(setting.config, setting.network, setting.recipe)
        compilation = compile_apart(program, state)
        program = compilation.ready
        state, samples = time_steps(program, state, repeats)
        if trace:
            profile(program, state, _profile_directory(setting, trace))
    step_ms = quartiles([1000 * seconds for seconds in samples])
    images_per_second = 1000 * program.images / program.steps / step_ms["median"]
    is_loop = setting.program == "epoch"  # whose bytes XLA does not tell
    return {
        **_identity(setting),
        "steps_per_call": program.steps,
        "trace_seconds": compilation.trace_seconds,
        "compile_seconds": compilation.compile_seconds,
        "compile_seconds_warm": compilation.compile_seconds_warm,
        "cache_hit": compilation.cache_hit,
        "step_ms": step_ms,
        "images_per_second": images_per_second,
        **_efficiency(
            setting,
            yardstick,
            images_per_second,
            None if is_loop else compilation.bytes_accessed,
        ),
        "program_memory_bytes": compilation.memory_bytes,
        "peak_memory_bytes": peak_memory_bytes(setting.devices),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "load_average": load_average(),
        "versions": versions(),
        "git_commit": git_commit(),
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _profile_directory(setting: Setting, trace: str) -> Path:
    parts = (
        setting.program,
        setting.recipe.batch_size,
        setting.network.dtype,
        len(setting.devices),
    )
    return Path(trace) / "-".join(map(str, parts))


def _identity(setting: Setting) -> dict[str, Any]:
    """What is measured and on what."""
    network = setting.network
    return {
        "model": type(network.model).__name__.lower(),
        "variant": network.name,
        "backend": setting.devices[0].platform,
        "device": device_name(setting.devices[0]),
        "device_count": len(setting.devices),
        "batch_size": setting.recipe.batch_size,
        "image_size": network.image_size,
        "dtype": network.dtype,
        "matmul_precision": _matmul_precision(),
        "program": setting.program,
    }


def _efficiency(
    setting: Setting,
    yardstick: Yardstick,
    images_per_second: float,
    accessed: float | None,
) -> dict[str, Any]:
    """How the work compares with the devices; accessed: bytes a step, of each device.

    None stands for what follows from something that is not known.
    """
    flops, count = yardstick.flops_per_image, len(setting.devices)
    peak, bandwidth = yardstick.matmul, None
    peaks = known_peaks(setting.devices[0].device_kind)
    if peaks:
        peak = peak_flops(peaks, setting.network.dtype, _matmul_precision())
        bandwidth = peaks.bandwidth
    # Devices of the CPU share its cores, and the product that was measured had all.
    total = peak and peak * (1 if yardstick.matmul else count)
    step_flops = flops * setting.recipe.batch_size / count
    return {
        "flops_per_image": flops,
        "matmul_peak": yardstick.matmul,
        "peak_flops": peak,
        "mfu": total and flops * images_per_second / total,
        "bytes_accessed": accessed,
        "flops_per_byte": accessed and step_flops / accessed,
        "ridge_flops_per_byte": peak and bandwidth and peak / bandwidth,
    }


def make_program(setting: Setting) -> Program:
    """The program of a setting, on random images: no pixel changes the speed."""
    network, recipe = setting.network, setting.recipe
    rng = np.random.default_rng(0)
    shape = (setting.train_size, network.image_size, network.image_size, 3)
    images = rng.integers(0, 256, shape, np.uint8)
    labels = rng.integers(0, SIGNS_CLASSES, setting.train_size).astype(np.int32)
    data = jax.device_put((images, labels), replicated(network.mesh))
    step, key, mesh = recipe.train_step, recipe.key, network.mesh
    if setting.program == "epoch":
        return programs.epoch_program(step, data, recipe.batches, key, mesh)
    batches = recipe.batches(0)
    full = batches[(batches >= 0).all(axis=1)]
    if setting.program == "bare":
        return programs.bare_program(step, data, full[0], key, mesh)
    return programs.step_program(step, data, full, key)


def _matmul_precision() -> str:
    settings: Any = jax.config  # whose attributes no type checker sees
    return settings.jax_default_matmul_precision or "default"


def _header(settings: Sequence[Setting]) -> dict[str, str]:
    network = settings[0].network
    size = max(setting.train_size for setting in settings)
    return {
        "device": device_name(settings[0].devices[0]),
        "model": f"{network.name}, {network.image_size} x {network.image_size} pixels",
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
