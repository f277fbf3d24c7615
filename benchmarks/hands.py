"""How long configs/hands.py takes for a photograph, and for many at a time.

    python -m benchmarks.hands --workdir=runs/hands --photographs=FOLDER

Warm: programs are compiled and the networks read. Rows go to results/hands.json: of one
photograph the seconds from the file to the answer, of all of the folder the pictures a
second and, of all cores together, the seconds of work a picture, which other load moves
little; and of `predict` of one photograph the seconds of the whole process, compiled
programs kept by one before it.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import jax
import numpy as np

from signjax.commands.predict_hands import SIDE
from signjax.data.image import load_image, load_images
from signjax.data.listing import list_images
from signjax.evaluation.metrics import predict_logits
from signjax.hands.pose import RECORD, to_record
from signjax.runtime.machine import ROOT, provenance
from signjax.workdir import load_trained, versions

FILE = ROOT / "benchmarks" / "results" / "hands.json"
REPEATS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--photographs", type=Path, required=True)
    options = parser.parse_args()
    paths = list_images(options.photographs)
    process = [whole_process(options.workdir, paths[0]) for _ in range(4)][1:]
    result = {
        **in_one_process(options.workdir, paths),
        "process_seconds": process,
        "versions": versions(),
        **provenance(),
    }
    FILE.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def in_one_process(workdir: Path, paths: list[Path]) -> dict[str, Any]:
    """photograph_ms: from file to answer. pictures_per_second: of all, with reading.

    core_ms_per_picture: of the same, the time of all cores together.
    """
    trained = load_trained(workdir, devices=jax.devices(), warn=print)
    experiment, finder = trained.experiment, trained.experiment.view.hands
    assert finder

    def answer(images: np.ndarray) -> np.ndarray:
        records = [
            to_record(hands[0]) if hands else np.zeros(RECORD, np.float32)
            for hands in finder.hands(images)
        ]
        return predict_logits(
            experiment.eval_step,
            trained.state.variables,
            np.stack(records),
            experiment.eval_batch_size,
        )

    times = []
    for path in [paths[0], *paths[:REPEATS]]:
        started = time.perf_counter()
        answer(load_image(path, SIDE, experiment.crop_resize)[None])
        times.append(1000 * (time.perf_counter() - started))
    started, worked = time.perf_counter(), time.process_time()
    answer(load_images(paths, SIDE, experiment.crop_resize))
    seconds = time.perf_counter() - started
    worked = time.process_time() - worked
    low, high = np.quantile(times[1:], [0.25, 0.75])
    return {
        "photographs": len(paths),
        "photograph_ms": {
            "median": median(times[1:]),
            "p25": float(low),
            "p75": float(high),
            "n": len(times) - 1,
        },
        "pictures_per_second": len(paths) / seconds,
        "core_ms_per_picture": 1000 * worked / len(paths),
    }


def whole_process(workdir: Path, path: Path) -> float:
    command = [sys.executable, "main.py", "--mode=predict", f"--workdir={workdir}"]
    started = time.perf_counter()
    subprocess.run(
        [*command, str(path)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
