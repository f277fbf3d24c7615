"""--mode=benchmark: how fast training's own step is, and how fast it could be."""

from collections.abc import Sequence
from pathlib import Path

from signjax.benchmark import peaks, sweep, table
from signjax.benchmark.comparison import Row, compare, has_partner, read_rows
from signjax.benchmark.measure import identity, measure
from signjax.commands.cli import Options
from signjax.errors import InputError, RunError
from signjax.runtime.console import Console
from signjax.runtime.devices import enable_compilation_cache, require_devices
from signjax.runtime.files import write_json
from signjax.runtime.machine import device_name

DEFAULT_REPEATS = 30


def run(options: Options) -> None:
    """Prints a table; writes its rows as JSON to --output.

    Raises RunError where --compare finds a row slower than it was.
    """
    config = options.config
    output = Path(options.output) if options.output else None
    _check(options, output)
    old = read_rows(options.compare) if options.compare else []
    enable_compilation_cache()
    devices = require_devices(options.require_device)
    points = list(sweep.plan(config, sweep.parse_sweep(options.sweep), devices))
    if old and not any(has_partner(identity(point), old) for point in points):
        raise InputError(
            f"--compare={options.compare}: it has no row of this network, device and "
            "sweep, so there is nothing to compare"
        )
    console = Console()
    console.header(_header(points))
    on_cpu = devices[0].platform == "cpu"
    matmul = peaks.measure_matmul(devices[0]) if on_cpu else None
    console.info(table.HEADER)
    rows: list[Row] = []
    for point in points:
        repeats = options.repeats or DEFAULT_REPEATS
        row = measure(point, matmul=matmul, repeats=repeats, trace=options.trace)
        rows.append(row)
        console.info(table.line(row))
        if output:  # now, so that what is measured is kept whatever follows
            write_json(output, rows)
    for note in table.notes(rows):
        console.info(note)
    if options.compare:
        _compare(rows, old, options.compare, console)


def _check(options: Options, output: Path | None) -> None:
    """Raises InputError where a flag cannot be meant, before anything is timed."""
    if options.repeats < 0:
        raise InputError(f"--repeats={options.repeats}: expected at least 1")
    if options.trace and Path(options.trace).is_file():
        raise InputError(f"--trace={options.trace}: is a file; expected a folder")
    if output and output.is_dir():
        raise InputError(f"--output={output}: is a folder; expected a JSON file")


def _header(points: Sequence[sweep.SweepPoint]) -> dict[str, str]:
    experiment = points[0].experiment
    size = max(point.train_size for point in points)
    return {
        "device": device_name(points[0].devices[0]),
        "model": f"{experiment.name}, images of {experiment.image_size} pixels a side",
        "data": f"{size} random images on the device; pixels do not change the speed",
        "programs": "step: as training runs it; bare: no augmentation; epoch: all "
        "steps of an epoch in one call",
    }


def _compare(
    rows: Sequence[Row], old: Sequence[Row], path: str, console: Console
) -> None:
    comparison = compare(rows, old)
    console.info(f"compared with {path}, old -> new, median and quartiles:")
    for line in comparison.lines:
        console.info(line)
    if comparison.slower:
        slower = "; ".join(comparison.slower)
        raise RunError(f"--compare: slower than in {path} beyond noise: {slower}")
