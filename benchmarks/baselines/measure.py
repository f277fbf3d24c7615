"""What all baselines share: flags, data, clock and the line that they print.

Needs numpy alone, so that any baseline's environment can import it.
"""

import argparse
import json
import os
import platform
import resource
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = 6
IMAGES = 1080  # as many as SIGNS has for training
IMAGE_SIZE = 64
# Every baseline's network sees (pixel / 255 - MEAN) / STD.
MEAN, STD = 0.5, 0.25
# The same for every baseline: SGD with Nesterov momentum (ResNet), Adam (CNN).
RESNET_RATE, MOMENTUM = 1e-5, 0.9
CNN_RATE, ADAM_EPSILON = 1e-3, 1e-7
# Of so many first steps, or samples of several, the losses are printed.
COMPARED_STEPS = 10
# Of so many first images the logits are printed.
COMPARED_IMAGES = 8


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """The flags that every baseline takes."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", choices=("train", "inference"), default="train")
    parser.add_argument("--model", choices=("resnet", "cnn"), default="resnet")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--steps", type=int, default=30, help="samples that are timed")
    parser.add_argument("--warmup", type=int, default=3, help="samples before them")
    parser.add_argument(
        "--sample", type=int, default=1, help="steps of a sample, one wait at its end"
    )
    parser.add_argument(
        "--weights", required=True, help="npz that initial_weights.py has written"
    )
    return parser


def make_data() -> tuple[np.ndarray, np.ndarray]:
    """Random, always the same: images uint8 [1080, 64, 64, 3], labels int32 [1080].

    Each image is noise on a mosaic of 4 x 4 colors. Noise alone would look alike to
    the deep layers, whose BatchNorm would blow up rounding errors; in a mosaic alone
    max-pooling would find many equal values, of which programs choose differently.
    """
    rng = np.random.default_rng(0)
    tile = IMAGE_SIZE // 4
    mosaics = rng.integers(0, 128, (IMAGES, 4, 4, 3), np.uint8)
    mosaics = mosaics.repeat(tile, axis=1).repeat(tile, axis=2)
    images = mosaics + rng.integers(0, 129, mosaics.shape, np.uint8)
    return images, rng.integers(0, CLASSES, IMAGES, np.int32)


def batch_indices(step: int, batch_size: int) -> np.ndarray:
    """Which images make up the batch of a step: int32 [batch_size], in order, round."""
    return (np.arange(batch_size, dtype=np.int32) + step * batch_size) % IMAGES


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Place in signjax's variables -> float32 array, as `write_weights` stored them."""
    with np.load(path) as file:
        return dict(file)


def write_weights(path: str | Path, leaves: dict[str, np.ndarray]) -> None:
    np.savez(path, allow_pickle=False, **leaves)


def cores() -> int:
    """How many this process may run on."""
    return len(os.sched_getaffinity(0))


class Clock:
    """Times samples of steps, each of which calls `tick` when its result is there."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.batch_size: int = arguments.batch_size
        self.sample: int = arguments.sample
        self.warmup: int = arguments.warmup
        self.total: int = arguments.warmup + arguments.steps
        self.outputs: list[Any] = []
        self._times: list[float] = []
        self._since_start = 0.0

    def start(self) -> None:
        self._times.append(time.perf_counter())

    def tick(self, output: Any) -> None:
        """Ends a sample. output: its last step's loss or logits; a few are kept."""
        self._times.append(time.perf_counter())
        if len(self._times) == 2:
            self._since_start = _seconds_since_process_start()
        if len(self.outputs) < COMPARED_STEPS:
            self.outputs.append(output)

    def run(self, step: Callable[[int], Any], wait: Callable[[Any], Any]) -> None:
        """Runs all samples.

        step: number -> its output, which may still be in the making. wait: output ->
        numpy or a number, once all that was asked for is done.
        """
        self.start()
        for first in range(0, self.total * self.sample, self.sample):
            output = None  # the one before is let go, as CUDA graphs reuse its memory
            for number in range(first, first + self.sample):
                output = step(number)
            self.tick(wait(output))

    def summary(self) -> dict[str, Any]:
        """Milliseconds of the timed steps, seconds of the first sample: it compiles."""
        lengths = np.diff(self._times)
        timed = 1e3 * lengths[self.warmup : self.total] / self.sample
        p25, median, p75 = np.percentile(timed, (25, 50, 75)).round(4).tolist()
        return {
            "step_ms": {"median": median, "p25": p25, "p75": p75, "n": len(timed)},
            "first_step_seconds": round(float(lengths[0]), 3),
            "start_to_first_step_seconds": round(self._since_start, 3),
        }


def _seconds_since_process_start() -> float:
    """By /proc/self/stat, field 22 (proc(5)): start after boot in clock ticks."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def print_result(
    arguments: argparse.Namespace,
    clock: Clock,
    *,
    packages: Sequence[str],
    settings: dict[str, Any],
) -> None:
    """The one line of JSON that speed.py reads: times, memory, versions, outputs."""
    outputs = (
        {"losses": [float(loss) for loss in clock.outputs]}
        if arguments.work == "train"
        else {"logits": np.asarray(clock.outputs[0])[:COMPARED_IMAGES].tolist()}
    )
    result = {
        "work": arguments.work,
        "model": arguments.model,
        "batch_size": arguments.batch_size,
        "dtype": arguments.dtype,
        **clock.summary(),
        "peak_rss_bytes": peak_memory(),
        "versions": versions(packages),
        "settings": settings,
        **outputs,
    }
    print(json.dumps(result), flush=True)


def peak_memory() -> int:
    """The most bytes this process has had in memory."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def versions(packages: Sequence[str]) -> dict[str, str]:
    found = {name: version(name) for name in packages}
    return {"python": platform.python_version(), **found}
