"""How far the ResNets' confidence holds, on SIGNS' test and on unseen signers.

    SIGNJAX_DATA=folder-of-the-h5-files \\
        python -m experiments.calibration --unseen_signers=FOLDER

Trains a recipe over its seeds with a part of the training images held out, to which
training fits the temperature, and keeps the calibrated probabilities of every image of
the SIGNS test and of FOLDER, so that the expected calibration error can be taken over
all seeds' predictions together. `--only` and `--weights` as for accuracy.py. Called
again, it goes on with the seeds that have no row; rows go to results/calibration.json.
"""

import os
from pathlib import Path
from typing import Any

from experiments.rows import RESULTS, add_row, read_rows, recipe_sha256
from experiments.runs import (
    make_parser,
    opened,
    probabilities_of,
    trained,
    weights_for,
)

FILE = RESULTS / "calibration.json"
CONFIGS = ("resnet.py", "resnet_pretrained.py")
SEEDS = range(3)
HELD_OUT = ("--config.data.validation_fraction=0.15",)


def main() -> None:
    parser = make_parser(__doc__, CONFIGS)
    arguments = parser.parse_args()
    if not arguments.unseen_signers:
        parser.error("--unseen_signers=FOLDER is missing")
    done = {(row["config"], row["seed"]) for row in read()}
    for config in CONFIGS:
        for seed in SEEDS:
            if (config, seed) in done or arguments.only not in ("", config):
                continue
            weights = weights_for(config, arguments.weights)
            row = train(config, seed, weights, arguments.unseen_signers)
            add_row(FILE, row)
            print(config, "seed", seed, "temperature", row["temperature"], flush=True)


def read() -> list[dict[str, Any]]:
    """The rows that there are, all of the recipes as they are now."""
    return read_rows(FILE, [recipe_sha256(config, HELD_OUT) for config in CONFIGS])


def train(config: str, seed: int, weights: Path | None, unseen: Path) -> dict[str, Any]:
    """The row of one run."""
    signs = Path(os.environ["SIGNJAX_DATA"]) / "test_signs.h5"
    with trained(config, HELD_OUT, seed, weights) as run:
        model, calibration = opened(run.workdir)
        return {
            **run.row(config, seed, overrides=HELD_OUT, weights=weights),
            "temperature": calibration.temperature,
            "threshold": calibration.threshold,
            "held_out_count": calibration.count,
            "signs": probabilities_of(model, calibration, signs),
            "unseen_signers": probabilities_of(model, calibration, unseen),
        }


if __name__ == "__main__":
    main()
