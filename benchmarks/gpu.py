"""signjax and its baselines on this machine's GPU, the whole table in one command.

    python -m benchmarks.gpu [--baseline_python=PYTHON] [--minutes=9]

First the losses of ten float32 steps on the GPU, at full precision, are compared with
those on the CPU. Then the ResNet's train step in bfloat16, at batches of 32, 128, 256
and 1024: signjax by turns with PyTorch (channels_last, autocast, torch.compile's
max-autotune with CUDA graphs) and with plain Flax. Each row is kept in results/gpu.json
as it is made; called again, the command measures the rows that are missing. It starts
none that would take it past --minutes, and needs no network.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import speed
from benchmarks.baselines.measure import CLASSES, IMAGE_SIZE, cores
from signjax.benchmark.flops import train_flops
from signjax.benchmark.peaks import PEAKS
from signjax.models.resnet import ResNet
from signjax.runtime.machine import provenance

FILE = Path(__file__).parent / "results" / "gpu.json"
# The ends first, so that little time measures them.
BATCH_SIZES = (32, 1024, 128, 256)
BASELINES = ("torch-max-autotune", "flax")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--baseline_python", default=sys.executable)
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--output", type=Path, default=FILE)
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as directory:
            left = measure(arguments, Path(directory))
    except speed.SpeedError as error:
        sys.exit(f"error: {error}")
    for line in table(read_rows(arguments.output)):
        print(line)
    if left:
        sys.exit(f"error: {len(left)} rows are left for another call: {left}")


def measure(arguments: argparse.Namespace, directory: Path) -> list[tuple[str, int]]:
    """Makes and stores the missing rows; returns those that no time was left for.

    directory: for weights and caches, of all rows.
    """
    started, longest = time.monotonic(), 0.0
    missing = list(plan(read_rows(arguments.output)))
    if missing:
        compare_losses(directory)
    while missing:
        name, batch_size = missing[0]
        began = time.monotonic()
        if began - started + longest > 60 * arguments.minutes:
            break
        flags = [f"--baseline={name}", f"--batch_size={batch_size}", "--device=gpu"]
        flags += ["--dtype=bfloat16", "--pairs=2", "--steps=20", "--sample=10"]
        flags += [f"--baseline_python={arguments.baseline_python}"]
        row = speed.compare(speed.parse(flags), directory, cores())
        speed.store(row, arguments.output)
        longest = max(longest, time.monotonic() - began)
        missing.pop(0)
    return missing


def plan(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[str, int]]:
    """(baseline, batch size) of each row that `rows`, of this machine, do not have."""
    processor = provenance()["processor"]
    made = {
        (row["baseline"], row["batch_size"])
        for row in rows
        if row["processor"] == processor
    }
    for name in BASELINES:
        for batch_size in BATCH_SIZES:
            if (name, batch_size) not in made:
                yield name, batch_size


def read_rows(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text()) if path.exists() else []


def compare_losses(directory: Path) -> None:
    """Prints how far the losses of GPU and CPU lie apart; SpeedError if too far."""
    losses = []
    for device in ("gpu", "cpu"):
        flags = ["--baseline=flax", f"--device={device}", "--steps=10", "--warmup=0"]
        own, _ = speed.make_processes(speed.parse(flags), directory, cores())
        exact = {**own.environment, "JAX_DEFAULT_MATMUL_PRECISION": "highest"}
        process = speed.Process(f"signjax on the {device}", own.command, exact)
        losses.append(speed.execute(process, directory / "workdir"))
    gpu, cpu = losses
    tolerance = speed.TOLERANCE["float32"]
    difference = speed.check_same("the GPU", gpu, "the CPU", cpu, tolerance)
    print(f"losses of GPU and CPU differ by {difference:.1e}", flush=True)


def table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Markdown, a line a row; MFU by the maker's bfloat16 peak."""
    yield "| device | batch | baseline | ms | MFU | signjax | images/s | MFU | ratio |"
    yield "|---|---|---|---|---|---|---|---|---|"
    flops = train_flops(ResNet(num_classes=CLASSES), IMAGE_SIZE, head_alone=False)
    for row in sorted(rows, key=lambda row: (row["batch_size"], row["baseline"])):
        batch, times, ratio = row["batch_size"], row["times"], row["ratio"]
        device = row["pairs"][0]["signjax"]["settings"]["device"]
        rates = {name: 1000 * batch / ms for name, ms in times.items()}
        peak = (peaks := PEAKS.get(device)) and peaks.bfloat16
        mfu = {
            name: f"{flops * rate / peak:.1%}" if peak else "-"
            for name, rate in rates.items()
        }
        yield (
            f"| {device} | {batch} | {row['baseline']} "
            f"| {times['baseline']:.4g} | {mfu['baseline']} "
            f"| {times['signjax']:.4g} | {rates['signjax']:,.0f} | {mfu['signjax']} "
            f"| {ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f}) |"
        )


if __name__ == "__main__":
    main()
