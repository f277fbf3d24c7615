"""--mode=benchmark: how fast training's own step is, and how fast it could be."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax

from signjax.benchmark import sweep, table
from signjax.benchmark.comparison import Row, compare, has_partner, read_rows
from signjax.benchmark.measure import identity, measure
from signjax.benchmark.topology import estimate, open_topology
from signjax.commands.cli import FLAGS, Options
from signjax.errors import InputError, RunError
from signjax.runtime.console import Console
from signjax.runtime.devices import enable_compilation_cache, require_devices
from signjax.runtime.files import write_json


def run(options: Options) -> None:
    """Prints a table; writes its rows as JSON to --output.

    Raises RunError where --compare finds a row slower than it was, or a program does
    not compile for --topology.
    """
    _check(options)
    old = read_rows(options.compare) if options.compare else []
    asked = sweep.parse_sweep(options.sweep)
    devices, make_row = _open_devices(options)
    points = list(sweep.plan(options.config, asked, devices))
    kind = {"estimate": None} if options.topology else {}
    if old and not any(has_partner(identity(point) | kind, old) for point in points):
        raise InputError(
            f"--compare={options.compare}: it has no row of this network, device and "
            "sweep, so there is nothing to compare"
        )
    console = Console()
    console.header(table.header(points))
    console.info(table.ESTIMATES_HEADER if options.topology else table.HEADER)
    rows: list[Row] = []
    for point in points:
        rows.append(make_row(point))
        console.info(table.line(rows[-1]))
        if options.output:  # now, so that what is measured is kept whatever follows
            write_json(options.output, rows)
    for note in table.notes(rows):
        console.info(note)
    if options.compare:
        _compare(rows, old, options.compare, console)
    if failed := [row for row in rows if row.get("error")]:
        raise RunError(
            f"--topology={options.topology}: {len(failed)} of {len(rows)} programs "
            f"cannot run there, the first as: {failed[0]['error']}"
        )


def _check(options: Options) -> None:
    """Raises InputError where a flag cannot be meant, before anything is timed."""
    if options.repeats < 1:
        raise InputError(f"--repeats={options.repeats}: expected at least 1")
    if options.trace and Path(options.trace).is_file():
        raise InputError(f"--trace={options.trace}: is a file; expected a folder")
    if options.output and Path(options.output).is_dir():
        raise InputError(f"--output={options.output}: is a folder; expected a file")
    for name in ("repeats", "trace", "require_device"):
        given = getattr(options, name) != FLAGS[name].default
        if options.topology and given:
            raise InputError(f"--{name}: --topology runs nothing: leave one out")


def _open_devices(options: Options) -> tuple[list[jax.Device], Callable[..., Row]]:
    """The devices of a sweep, and what makes the row of a point on them."""
    if options.topology:
        return open_topology(options.topology), partial(estimate, name=options.topology)
    enable_compilation_cache()
    devices = require_devices(options.require_device)
    return devices, partial(measure, repeats=options.repeats, trace=options.trace)


def _compare(rows: list[Row], old: list[Row], path: str, console: Console) -> None:
    comparison = compare(rows, old)
    console.info(f"compared with {path}, old -> new, median and quartiles:")
    for line in comparison.lines:
        console.info(line)
    if comparison.slower:
        slower = "; ".join(comparison.slower)
        raise RunError(f"--compare: slower than in {path} beyond noise: {slower}")
