"""Trains configs/digits.py over its seeds and scores it on all it should stand up to.

    SIGNJAX_DATA=folder-of-the-h5-files python -m benchmarks.recogniser \\
        --weights=FILE --ankara=FOLDER --photographs=FOLDER

Scored are the SIGNS test images, the Ankara test people, whom no split shares with
training, how far the confidence can be trusted, and how often pictures without a hand
are answered `unsure`: of each png and jpg of `--photographs` (scikit-image keeps 26 in
skimage/data) the whole and nine random squares, as `predict` sees them. Called again,
it goes on with the seeds that have no row; rows go to results/recogniser.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.runs import (
    RESULTS,
    ROOT,
    evaluated,
    machine,
    read_rows,
    recipe_sha256,
    sha256,
    trained,
)
from signjax.data.image import list_images

FILE = RESULTS / "recogniser.json"
CONFIG = "digits.py"
SEEDS = range(3)
SQUARES = 9


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights", type=Path, required=True, help="ImageNet weights")
    parser.add_argument("--ankara", type=Path, required=True)
    parser.add_argument("--photographs", type=Path, required=True)
    arguments = parser.parse_args()
    rows = read()
    for seed in SEEDS:
        if seed in [row["seed"] for row in rows]:
            continue
        rows.append(row := train(seed, **vars(arguments)))
        FILE.write_text(json.dumps(rows, indent=1) + "\n")
        print(json.dumps(row, indent=1), flush=True)


def read() -> list[dict[str, Any]]:
    """The rows that there are, all of the recipe as it is now."""
    return read_rows(FILE, [recipe_sha256(CONFIG)])


def train(seed: int, weights: Path, ankara: Path, photographs: Path) -> dict[str, Any]:
    """The row of one run."""
    overrides = (f"--config.data.dir={ankara}",)
    signs_folder = Path(os.environ["SIGNJAX_DATA"])
    with tempfile.TemporaryDirectory() as folder:
        count = cut(photographs, Path(folder))
        with trained(CONFIG, overrides, seed, weights, source="digits") as run:
            refused = count_unsure(run.workdir, Path(folder))
            both = evaluated(run.workdir)
            signs = evaluated(run.workdir, signs_folder)
            # The test set is that of SIGNS and the Ankara people; what is not of SIGNS
            # is theirs.
            theirs = both["count"] - signs["count"]
            right = round(both["accuracy"] * both["count"])
            right -= round(signs["accuracy"] * signs["count"])
            return {
                "config": CONFIG,
                "recipe_sha256": recipe_sha256(CONFIG),
                "seed": seed,
                "epochs": run.stored["config"]["train"]["epochs"],
                "train_accuracy": run.result["train"]["accuracy"],
                "signs_accuracy": signs["accuracy"],
                "signs_leak_free_accuracy": signs["leak_free"]["accuracy"],
                "ankara_accuracy": right / theirs,
                "ankara_count": theirs,
                "signs_calibrated": signs["calibrated"],
                "both_calibrated": both["calibrated"],
                "no_hand_refused": refused,
                "no_hand_count": count,
                "wall_seconds": run.seconds,
                "data_sha256": run.result["data"]["sha256"],
                "weights_sha256": sha256(weights),
                "versions": run.result["versions"],
                **machine(),
            }


def cut(photographs: Path, folder: Path) -> int:
    """Writes every photograph and squares of it into a folder; how many there are."""
    rng = np.random.default_rng(0)
    count = 0
    for path in list_images(photographs):
        if path.suffix not in (".png", ".jpg"):
            continue
        picture = Image.open(path).convert("RGB")
        shortest = min(picture.size)
        squares = [picture]
        for _ in range(SQUARES):
            side = int(rng.uniform(0.3, 0.9) * shortest)
            left, top = (int(rng.integers(0, n - side + 1)) for n in picture.size)
            squares.append(picture.crop((left, top, left + side, top + side)))
        for number, square in enumerate(squares):
            square.save(folder / f"{path.stem}_{number}.png")
        count += len(squares)
    return count


def count_unsure(workdir: Path, folder: Path) -> int:
    """Of how many pictures in a folder `predict` names no class."""
    command = [sys.executable, "main.py", "--mode=predict", f"--workdir={workdir}"]
    done = subprocess.run(
        [*command, "--json", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return sum(answer["label"] is None for answer in answers)


if __name__ == "__main__":
    main()
