"""Trains configs/digits.py over its seeds and scores it on all it should stand up to.

    SIGNJAX_DATA=folder-of-the-h5-files python -m experiments.digits \\
        --weights=FILE --ankara=FOLDER --photographs=FOLDER

Every seed is tested on the SIGNS test images, on a third of the Ankara people held out
(see ankara_signers.py; no choice was compared on them, and the three seeds together
test each once), and on pictures without a hand, how often `predict` says `unsure`: the
`--photographs` that photographs.py fetches. Called again, it goes on with the seeds
that have no row; rows go to results/digits.json.
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from experiments.ankara_signers import FOLDS, link_fold
from experiments.rows import RESULTS, add_row, read_rows, recipe_sha256
from experiments.runs import opened, probabilities_of, scored, trained

FILE = RESULTS / "digits.json"
CONFIG = "digits.py"
SEEDS = range(FOLDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="ImageNet weights")
    parser.add_argument("--ankara", type=Path, required=True)
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--seed", type=int, choices=SEEDS, help="this one alone")
    arguments = vars(parser.parse_args())
    only = arguments.pop("seed")
    for seed in SEEDS if only is None else [only]:
        if seed in [row["seed"] for row in read()]:
            continue
        row = train(seed, **arguments)
        add_row(FILE, row)
        print("seed", seed, "no hand", row["no_hand_unsure"], flush=True)


def read() -> list[dict[str, Any]]:
    """The rows that there are, all of the recipe as it is now."""
    return read_rows(FILE, [recipe_sha256(CONFIG)])


def train(seed: int, weights: Path, ankara: Path, photographs: Path) -> dict[str, Any]:
    """The row of one run."""
    signs = Path(os.environ["SIGNJAX_DATA"]) / "test_signs.h5"
    with tempfile.TemporaryDirectory() as folder:
        link_fold(ankara, seed, Path(folder))
        overrides = (f"--config.data.dir={folder}",)
        with trained(CONFIG, overrides, seed, weights, source="digits") as run:
            return {
                **run.row(CONFIG, seed, weights=weights),
                "train_accuracy": run.result["train"]["accuracy"],
                **scored(run.workdir, Path(folder) / "test", photographs),
                "signs": probabilities_of(*opened(run.workdir), signs),
            }


if __name__ == "__main__":
    main()
