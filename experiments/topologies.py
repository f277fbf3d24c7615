"""The tables of what compilers say of chips that were not there."""

import json
from collections.abc import Mapping
from typing import Any

from benchmarks.topology import FILE, RUNS, run_of
from experiments.markdown import table

SOURCE = "`benchmarks/results/topology.json`, by `python -m benchmarks.topology`"
# Several chips, each row beside its chip alone.
SLICES = {"v5e:2x2": "v5e", "h200:4": "h200"}
# chips -> links in GB/s in one direction, in a slice or a node and between nodes, and
# the microseconds of a small all-reduce, assumed; docs/scaling.md has the sources.
LINKS = {
    ("v5e", 4): (100, 0, 5),
    ("v5e", 64): (200, 0, 10),
    ("v5e", 256): (200, 0, 20),
    ("h200", 8): (450, 50, 10),
    ("h200", 64): (450, 50, 25),
    ("h200", 512): (450, 50, 40),
}
GPUS_A_NODE = 8
# All-reduces of BatchNorm's statistics: see tests/test_collectives.py.
STATISTICS = 2 * (1 + 3 * 16)
V5E_GHZ = 1.5


def topology() -> str:
    """Every program: cycles or kernels, memory."""
    rows, lines = read(), []
    made = {run_of(row) for row in rows}
    missing = [f"{run[0]} {run[1]} {run[2]}" for run in RUNS if run not in made]
    for row in rows:
        found = row["estimate"]
        about = (row["topology"], f"`configs/{row['config']}`", row["program"])
        about = (*about, row["batch_size"])
        if found is None:
            lines.append((*about, f"cannot run: {row['error']}", "", "", "", "", ""))
            continue
        largest = max((found["cycles_by_part"] or {"": 0}).items(), key=lambda x: x[1])
        cycles, read_bytes = found["estimated_cycles"], found["bytes_accessed"]
        lines.append(
            (
                *about,
                _millions(cycles),
                f"{largest[0]} {largest[1] / cycles:.0%}" if cycles else "",
                _kernels(found),
                f"{found['argument_bytes'] / 1e6:.0f}",
                f"{found['temp_bytes'] / 1e6:.0f}",
                f"{read_bytes / 1e9:.2f}" if read_bytes else "",
            )
        )
    return table(
        "chip | recipe | program | batch | cycles | largest part | kernels | args, MB "
        "| temp, MB | read and written, GB",
        lines,
        "Compiled ahead of time, nothing was run: cycles are the TPU compiler's own "
        "estimate, incomplete (`unestimated` in the file lists what has none), and no "
        f"measurement. jax {rows[0]['versions']['jax']}, bfloat16. {SOURCE}. Not made: "
        f"{'; '.join(missing) or 'none'}.",
    )


def slices() -> str:
    """A chip alone beside one of several, with as many images each."""
    lines = []
    for name, alone in SLICES.items():
        one, several = (_resnet(topology) for topology in (alone, name))
        found = [row["estimate"] for row in (one, several)]
        parts = [row["cycles_by_part"] or {} for row in found]
        costs = [row["estimated_cycles"] or _kernels(row) for row in found]
        shown = [_millions(row["estimated_cycles"]) or _kernels(row) for row in found]
        grown = {part: parts[1][part] - parts[0].get(part, 0) for part in parts[1]}
        largest = max(grown, key=lambda part: grown[part], default="")
        lines.append(
            (
                name,
                f"{several['batch_size'] // several['device_count']}",
                "cycles" if parts[0] else "kernels",
                *shown,
                f"{costs[1] / costs[0]:.2f}",
                f"{largest} + {grown[largest] / 1e6:.2f} M" if largest else "",
                f"{found[1]['temp_bytes'] / found[0]['temp_bytes']:.2f}",
            )
        )
    return table(
        "chips | images a chip | | one chip | a chip of these | ratio | grows most "
        "| ratio of temporary memory",
        lines,
    )


def collectives() -> str:
    """What the devices of a slice exchange in a step."""
    lines = [
        (
            *(name, found["operation"], found["type"], found["count"]),
            f"{found['bytes'] / 1e6:.6f}".rstrip("0").rstrip("."),
        )
        for name in SLICES
        for found in _resnet(name)["estimate"]["collectives"]
    ]
    return table("chips | operation | type | how many | MB", lines)


def estimates() -> str:
    """What the sums cost by arithmetic, in milliseconds a step."""
    lines = []
    for (chip, count), (inside, between, latency) in LINKS.items():
        (name,) = (name for name, alone in SLICES.items() if alone == chip)
        found = _resnet(name)["estimate"]
        size = {row["type"]: row["bytes"] / 1e6 for row in found["collectives"]}
        # MB over GB/s are milliseconds.
        near = min(count, GPUS_A_NODE) if between else count
        gradients = 2 * (near - 1) / near * size["bf16"] / inside
        if count > near:
            nodes = count // near
            gradients += 2 * (nodes - 1) / nodes * size["bf16"] / near / between
        statistics = STATISTICS * latency / 1e3
        efficiency = ""
        if cycles := found["estimated_cycles"]:
            alone = _resnet(chip)["estimate"]["estimated_cycles"] / V5E_GHZ / 1e6
            step = cycles / V5E_GHZ / 1e6 + gradients + statistics
            efficiency = f"{alone / step:.2f}"
        times = (f"{gradients:.2f}", f"{statistics:.2f}", efficiency)
        lines.append((f"{count} x {chip}", inside, between or "", latency, *times))
    return table(
        "chips | GB/s | between nodes | a, us, assumed | gradients, ms | BatchNorm, ms "
        "| efficiency",
        lines,
    )


def read() -> list[dict[str, Any]]:
    return json.loads(FILE.read_text())


def _resnet(name: str) -> Mapping[str, Any]:
    (row,) = (
        row
        for row in read()
        if (row["topology"], row["config"], row["program"])
        == (name, "resnet.py", "step")
    )
    return row


def _millions(cycles: int | None) -> str:
    return f"{cycles / 1e6:.2f} M" if cycles else ""


def _kernels(found: Mapping[str, Any]) -> Any:
    return sum(found["kernels"].values()) if found["kernels"] else ""
