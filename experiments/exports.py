"""The table of exported models in docs/results.md."""

import json
from collections.abc import Mapping
from typing import Any

from experiments.markdown import measured_on, table
from signjax.runtime.machine import ROOT

FILE = ROOT / "benchmarks" / "results" / "export.json"


def exports() -> str:
    """Differences, sizes and times of exported models."""
    rows = json.loads(FILE.read_text())
    measured = [row for row in rows if not row["refused"]]
    load = sorted(row["load_average"] for row in measured)
    return table(
        "model | image | precision | images | largest difference: ONNX | StableHLO "
        "| ONNX, MB | StableHLO, MB | ONNX Runtime, ms | signjax, ms | page, frames/s",
        map(_line, rows),
        "Largest difference of a probability from signjax on the CPU in float32; the "
        "likeliest class is the same on every image. Times: one image, test-time views "
        "included, median (25% to 75%) of "
        f"{measured[0]['milliseconds']['signjax']['n']} calls; the page in headless "
        "Chromium, before a fake camera of 30 frames/s at most, on the same cores. "
        f"{measured_on(measured)}, onnxruntime "
        f"{measured[0]['versions']['onnxruntime']}; beside other work, load averages "
        f"{load[0]:.0f} to {load[-1]:.0f}. "
        "`benchmarks/results/export.json`, by `python -m benchmarks.export`.",
    )


def _line(row: Mapping[str, Any]) -> tuple[object, ...]:
    if refused := row["refused"]:
        file, reason = refused.split()[0], refused.split("written: ")[1]
        reason = reason.partition(". ")[0]
        told = f"refused, of `{file}` {reason}"
        return (row["weights"], "", row["precision"], told, *[""] * 7)
    largest, size = row["largest_difference"], row["bytes"]
    frames = row["frames_per_second"]
    times = (row["milliseconds"][name] for name in ("onnxruntime", "signjax"))
    return (
        row["weights"],
        row["image_size"],
        row["precision"],
        f"{row['count']} {row['images']}",
        *(f"{largest[name]:.1e}" for name in ("model.onnx", "model.stablehlo")),
        *(f"{size[name] / 1e6:.2f}" for name in ("model.onnx", "model.stablehlo")),
        *(f"{x['median']:.3g} ({x['p25']:.3g} to {x['p75']:.3g})" for x in times),
        "" if frames is None else f"{frames:.0f}",
    )
