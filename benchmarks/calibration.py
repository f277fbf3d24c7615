"""How far the ResNets' confidence can be trusted, on SIGNS' test and other people.

    SIGNJAX_DATA=folder-of-the-h5-files python -m benchmarks.calibration --others=FOLDER

Trains a recipe over its seeds with a part of the training images held out, to which
training fits the temperature, and keeps the calibrated probabilities of every image of
the SIGNS test and of FOLDER, other people's hands (ankara_signers.py makes it), so that
the expected calibration error can be taken over all seeds' predictions together.
`--only` and `--weights` as for accuracy.py. Called again, it goes on with the seeds
that have no row; rows go to results/calibration.json.
"""

import argparse
import os
from pathlib import Path
from typing import Any

from benchmarks.rows import RESULTS, read_rows, recipe_sha256, write_rows
from benchmarks.runs import opened, probabilities_of, trained, uses_weights

FILE = RESULTS / "calibration.json"
CONFIGS = ("resnet.py", "resnet_pretrained.py")
SEEDS = range(3)
HELD_OUT = ("--config.data.validation_fraction=0.15",)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", choices=["", *CONFIGS])
    parser.add_argument("--weights", type=Path, help="of resnet_pretrained.py")
    parser.add_argument("--others", type=Path, required=True)
    arguments = parser.parse_args()
    done = {(row["config"], row["seed"]) for row in read()}
    for config in CONFIGS:
        weights = arguments.weights if uses_weights(config) else None
        for seed in SEEDS:
            if (config, seed) in done or arguments.only not in ("", config):
                continue
            row = train(config, seed, weights, arguments.others)
            write_rows(FILE, [*read(), row])
            print(config, "seed", seed, "temperature", row["temperature"], flush=True)


def read() -> list[dict[str, Any]]:
    """The rows that there are, all of the recipes as they are now."""
    return read_rows(FILE, [recipe_sha256(config, HELD_OUT) for config in CONFIGS])


def train(config: str, seed: int, weights: Path | None, others: Path) -> dict[str, Any]:
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
            "others": probabilities_of(model, calibration, others),
        }


if __name__ == "__main__":
    main()
