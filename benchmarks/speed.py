"""Runs signjax and a baseline by turns, each in a fresh process, and compares them.

    python -m benchmarks.speed --baseline=torch-compile --baseline_python=PYTHON
    python -m benchmarks.speed --work=fit --baseline=keras-tensorflow --data=DIR ...

Both do the same work from the same weights on the same cores; one runs after the
other, never two at once. A pair's ratio is the baseline's time by signjax's, so more
than 1 says that signjax is faster; the row of results/speed.json holds every pair and
the median, least and largest ratio. All compilation caches are empty before the first
pair and kept to the last pair, so the first pair shows cold starts and the others warm
ones. A baseline that fails, or computes something else, ends it all with its name and
what it said.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from signjax.runtime.machine import ROOT, provenance

FILE = Path(__file__).parent / "results" / "speed.json"
# How far losses (relative) and logits (by the largest) may lie apart. Each program
# rounds differently, and ten steps of training carry that on.
TOLERANCE = {"float32": 1e-2, "bfloat16": 5e-2}


@dataclass(frozen=True)
class Baseline:
    """A module of benchmarks.baselines, its flags for each kind of work, its settings.

    environment: variables that it is given beside those that all are given. on_gpu:
    whether it takes a GPU and bfloat16.
    """

    works: Mapping[str, tuple[str, ...]]
    environment: Mapping[str, str] = field(default_factory=dict)
    on_gpu: bool = False


def _torch(compile_mode: str) -> Baseline:
    command = ("torch_step", f"--compile={compile_mode}")
    # PyTorch too gets its memory anew in each step. With large pages that costs least,
    # of these, the defaults and freed memory kept as signjax keeps it.
    environment = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    return Baseline({"train": command, "inference": command}, environment, on_gpu=True)


def _keras(backend: str, jit_compile: str) -> Baseline:
    flag = f"--jit_compile={jit_compile}"
    return Baseline(
        {"train": ("keras_step", flag), "fit": ("keras_fit", flag)},
        {"KERAS_BACKEND": backend},
    )


BASELINES = {
    "torch-eager": _torch("off"),
    "torch-compile": _torch("default"),
    "torch-max-autotune": _torch("max-autotune"),
    "flax": Baseline({"train": ("flax_step",)}, on_gpu=True),
    "keras-tensorflow": _keras("tensorflow", "off"),
    "keras-tensorflow-jit": _keras("tensorflow", "on"),
    "keras-jax": _keras("jax", "on"),
    "onnxruntime": Baseline({"inference": ("onnx_inference",)}),
}
WORKS = ("train", "inference", "fit")


class SpeedError(Exception):
    """A run failed or did other work than it should have; the message says which."""


@dataclass(frozen=True)
class Process:
    """What is run: a name for people, a command and its environment."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]


def main() -> None:
    arguments = parse(sys.argv[1:])
    cores = sorted(os.sched_getaffinity(0))[: arguments.cores]
    os.sched_setaffinity(0, cores)  # children inherit it
    try:
        with tempfile.TemporaryDirectory() as directory:
            row = compare(arguments, Path(directory), len(cores))
    except SpeedError as error:
        sys.exit(f"error: {error}")
    store(row, arguments.output)
    print(summary_line(row))


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--baseline", choices=BASELINES, required=True)
    parser.add_argument("--work", choices=WORKS, default="train")
    parser.add_argument("--model", choices=("resnet", "cnn"), default="resnet")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--dtype", choices=TOLERANCE, default="float32")
    parser.add_argument("--steps", type=int, default=30, help="timed, in each process")
    parser.add_argument("--warmup", type=int, default=3, help="steps before them")
    parser.add_argument(
        "--sample", type=int, default=1, help="steps of each, with one wait at its end"
    )
    parser.add_argument("--data", type=Path, help="fit: folder of the two h5 files")
    parser.add_argument("--epochs", type=int, default=100, help="fit")
    parser.add_argument("--cores", type=int, help="how many of them; default: all")
    parser.add_argument("--output", type=Path, default=FILE, help="where rows are kept")
    parser.add_argument("--signjax_python", default=sys.executable)
    parser.add_argument("--baseline_python", default=sys.executable)
    arguments = parser.parse_args(argv)
    if arguments.work not in BASELINES[arguments.baseline].works:
        parser.error(f"{arguments.baseline} does not do --work={arguments.work}")
    elsewhere = arguments.device != "cpu" or arguments.dtype != "float32"
    if elsewhere and not BASELINES[arguments.baseline].on_gpu:
        parser.error(f"{arguments.baseline} is for the CPU and float32")
    if arguments.work == "fit":
        if elsewhere:
            parser.error("--work=fit is for the CPU and float32")
        if arguments.data is None:
            parser.error("--work=fit needs --data, the folder of the two h5 files")
        # What the recipe says; the flags are about single steps.
        arguments.model, arguments.batch_size = "cnn", 64
        arguments.steps = arguments.warmup = arguments.sample = None
    return arguments


def compare(
    arguments: argparse.Namespace, directory: Path, cores: int
) -> dict[str, Any]:
    """The row of results/speed.json. directory: for weights, caches and workdirs."""
    before = provenance()
    own, baseline = make_processes(arguments, directory, cores)
    pairs, differences = [], []
    for number in range(arguments.pairs):
        mine, theirs = (execute(p, directory / "workdir") for p in (own, baseline))
        difference = check_same(
            own.name, mine, baseline.name, theirs, TOLERANCE[arguments.dtype]
        )
        differences.append(difference)
        ratio = duration(theirs) / duration(mine)
        pairs.append({"ratio": round(ratio, 4), "signjax": mine, "baseline": theirs})
        print(
            f"pair {number + 1} of {arguments.pairs}: {show(mine)}, {baseline.name} "
            f"{show(theirs)}, ratio {ratio:.2f}; outputs differ by {difference:.1e}",
            flush=True,
        )
    return {
        "baseline": arguments.baseline,
        "work": arguments.work,
        "model": arguments.model,
        "batch_size": arguments.batch_size,
        "device": arguments.device,
        "dtype": arguments.dtype,
        "steps": arguments.steps,
        "warmup": arguments.warmup,
        "sample": arguments.sample,
        "epochs": arguments.epochs if arguments.work == "fit" else None,
        "times": middle_times(pairs),
        "ratio": spread([pair["ratio"] for pair in pairs]),
        "largest_difference": max(differences),
        **before,
        "pairs": pairs,
    }


def make_processes(
    arguments: argparse.Namespace, directory: Path, cores: int
) -> tuple[Process, Process]:
    """(signjax, the baseline's), ready to be run; writes the initial weights."""
    baseline = BASELINES[arguments.baseline]
    environment = {
        "JAX_PLATFORMS": {"cpu": "cpu", "gpu": "cuda,cpu"}[arguments.device],
        "JAX_COMPILATION_CACHE_DIR": str(directory / "jax"),
        "TORCHINDUCTOR_CACHE_DIR": str(directory / "inductor"),
        "OMP_NUM_THREADS": str(cores),
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    module, *flags = baseline.works[arguments.work]
    if arguments.work == "fit":
        mine = ["main.py", "--config=configs/cnn.py:seed", "--config.data.source=signs"]
        mine += [f"--config.data.dir={arguments.data.resolve()}"]
        mine += [f"--config.train.epochs={arguments.epochs}"]
        mine += [f"--workdir={directory / 'workdir'}"]
        shared = [f"--data={arguments.data.resolve()}", f"--epochs={arguments.epochs}"]
    else:
        weights = directory / f"{arguments.model}.npz"
        names = "work model device dtype batch_size steps warmup sample"
        shared = [f"--{name}={getattr(arguments, name)}" for name in names.split()]
        shared += [f"--weights={weights}"]
        mine = ["-m", "benchmarks.baselines.signjax_step", *shared]
        write = ["-m", "benchmarks.baselines.initial_weights"]
        write += [f"--model={arguments.model}", f"--output={weights}"]
        if not weights.exists():
            command = [arguments.signjax_python, *write]
            run_process(Process("weights", command, environment))
    theirs = ["-m", f"benchmarks.baselines.{module}", *flags, *shared]
    return (
        Process("signjax", [arguments.signjax_python, *mine], environment),
        Process(
            arguments.baseline,
            [arguments.baseline_python, *theirs],
            {**environment, **baseline.environment},
        ),
    )


def execute(process: Process, workdir: Path) -> dict[str, Any]:
    """Runs a process; what it says of itself, with wall time and how busy it was.

    others_cpu is the share of the cores' time that other processes took meanwhile.
    """
    load = os.getloadavg()[0]
    before = _cpu_seconds()
    started = time.perf_counter()
    output = run_process(process)
    wall = time.perf_counter() - started
    busy, own = (
        after - earlier for after, earlier in zip(_cpu_seconds(), before, strict=True)
    )
    machine = wall * (os.cpu_count() or 1)
    result = workdir / "result.json"
    if result.exists():
        said = read_own_result(json.loads(result.read_text()))
        shutil.rmtree(workdir)
    else:
        said = parse_line(process.name, output)
    return {
        **said,
        "wall_seconds": round(wall, 3),
        "load_average": round(load, 2),
        "others_cpu": round(min(1.0, max(0.0, (busy - own) / machine)), 4),
        "command": without_paths(process.command[1:]),
    }


def run_process(process: Process) -> str:
    """The standard output; raises SpeedError with the end of the other if it fails."""
    done = subprocess.run(
        process.command,
        cwd=ROOT,
        env={**os.environ, **process.environment},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise SpeedError(
            f"{process.name} ended with status {done.returncode}: "
            f"{shlex.join(process.command)}\n{said}"
        )
    return done.stdout


def without_paths(command: Sequence[str]) -> str:
    """A command line that can be shown: where files lie on one machine is left out."""
    return shlex.join(re.sub("=/.*", "=...", argument) for argument in command)


def _cpu_seconds() -> tuple[float, float]:
    """(all processes', finished children's) CPU time so far; proc(5), times(2)."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, irq, softirq = map(int, fields[:7])
    busy = (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
    children = os.times()
    return busy, children.children_user + children.children_system


def parse_line(name: str, output: str) -> dict[str, Any]:
    """The JSON object in the last line of what a program has printed."""
    line = (output.strip().splitlines() or [""])[-1]
    try:
        said = json.loads(line)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise SpeedError(f"{name} printed no JSON object but {line[:200]!r}")
    return said


def read_own_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """Of a workdir's result.json, what the baselines tell of a training."""
    return {
        "train_loss": result["train"]["loss"],
        "train_accuracy": result["train"]["accuracy"],
        "test_accuracy": result["test"]["accuracy"],
        "versions": result["versions"],
    }


def duration(run: Mapping[str, Any]) -> float:
    """What a ratio compares: the median step, or the whole process."""
    return run["step_ms"]["median"] if "step_ms" in run else run["wall_seconds"]


def show(run: Mapping[str, Any]) -> str:
    unit = "ms" if "step_ms" in run else "s"
    return f"{duration(run):.4g} {unit}"


def check_same(
    signjax: str,
    mine: Mapping[str, Any],
    baseline: str,
    theirs: Mapping[str, Any],
    tolerance: float,
) -> float:
    """How far the two programs' outputs lie apart; raises SpeedError above tolerance.

    0 where whole trainings are compared, which start from weights of their own.
    """
    key = next((key for key in ("losses", "logits") if key in mine), None)
    if key is None:
        return 0.0
    difference = largest_difference(mine[key], theirs[key])
    if not difference <= tolerance:
        raise SpeedError(
            f"{baseline} does not compute what {signjax} computes: {key} differ by "
            f"{difference:.1e}, more than {tolerance}\n{signjax}: {mine[key]}\n"
            f"{baseline}: {theirs[key]}"
        )
    return difference


def largest_difference(mine: Sequence[Any], theirs: Sequence[Any]) -> float:
    """Of two lists of losses: relative. Of two of logits: by the largest of them.

    NaN where any is, infinity where they have not the same shape.
    """
    a, b = np.asarray(mine), np.asarray(theirs)
    if a.shape != b.shape:
        return float("inf")
    scale = np.abs(b) if b.ndim == 1 else np.abs(b).max()
    return float(np.max(np.abs(a - b) / scale))


def spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(median(values), 4),
        "min": min(values),
        "max": max(values),
        "n": len(values),
    }


IDENTITY = tuple("baseline work model device dtype batch_size processor cores".split())


def store(row: dict[str, Any], path: Path) -> None:
    """Puts the row in the file, instead of an earlier one of the same comparison."""
    rows = json.loads(path.read_text()) if path.exists() else []
    rows = [old for old in rows if any(old[key] != row[key] for key in IDENTITY)]
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps([*rows, row], indent=1) + "\n")


def summary_line(row: Mapping[str, Any]) -> str:
    ratio, times = row["ratio"], row["times"]
    return (
        f"{row['work']} {row['model']}, batch {row['batch_size']}, {row['dtype']}: "
        f"{row['baseline']} takes {ratio['median']:.2f} times as long as signjax "
        f"({ratio['min']:.2f} to {ratio['max']:.2f}, {ratio['n']} pairs; "
        f"{times['baseline']:.4g} and {times['signjax']:.4g} "
        f"{'s' if row['work'] == 'fit' else 'ms'})"
    )


def middle_times(pairs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The median over the pairs of each side's time, in ms, or s of whole processes."""
    sides = ("signjax", "baseline")
    return {side: median(duration(pair[side]) for pair in pairs) for side in sides}


if __name__ == "__main__":
    main()
