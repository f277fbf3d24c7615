"""Trains every recipe over its seeds on SIGNS and records what each run reached.

    SIGNJAX_DATA=folder-of-the-h5-files python -m benchmarks.accuracy

`--only=resnet.py` runs one config, `--only=resnet.py:seed` that variant;
`--weights=FILE` is where the ImageNet weights of resnet_pretrained.py are (else they
are downloaded), and `--others=FOLDER` a folder of class-named folders with other
people's hands, to be scored too (ankara_signers.py makes it). Each run is the real
command line in a fresh process, so its wall time counts imports, compilation, training,
evaluation and saving.
Called again, it goes on with the runs that have no row yet; no row is ever dropped or
run twice. The rows of a recipe that has changed since are moved to
results/accuracy_earlier.json, and its seeds are run anew. Rows go to
results/accuracy.json, from which tables.py draws the README's table.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.rows import RESULTS, read_rows, recipe_sha256
from benchmarks.runs import evaluated, trained, uses_weights

FILE = RESULTS / "accuracy.json"
RECALIBRATED = "--config.train.recalibrate_batch_norm=True"
# (config, overrides, seeds)
RECIPES: list[tuple[str, tuple[str, ...], range]] = [
    ("resnet.py", (), range(3)),
    ("resnet.py:seed", (), range(3)),
    ("resnet.py:seed", (RECALIBRATED,), range(3)),
    ("resnet_pretrained.py", (), range(3)),
    ("cnn.py", (), range(5)),
    ("cnn.py:seed", (), range(5)),
]


def main() -> None:
    parser = argparse.ArgumentParser()
    configs = dict.fromkeys(config for config, _, _ in RECIPES)
    parser.add_argument("--only", default="", choices=["", *configs])
    parser.add_argument("--weights", type=Path, help="of resnet_pretrained.py")
    parser.add_argument("--others", type=Path, help="other people's hands")
    arguments = parser.parse_args()
    done = {(row["recipe_sha256"], row["seed"]) for row in read()}
    for config, overrides, seeds in RECIPES:
        for seed in seeds:
            if (recipe_sha256(config, overrides), seed) in done:
                continue
            if arguments.only not in ("", config):
                continue
            weights = arguments.weights if uses_weights(config) else None
            row = train(config, overrides, seed, weights, arguments.others)
            FILE.write_text(json.dumps([*read(), row], indent=1) + "\n")
            print(
                *(config, *overrides, "seed", f"{seed}:"),
                f"train {row['train_accuracy']:.4f}, "
                f"test {row['test_accuracy']:.4f}, {row['wall_seconds']:.0f} s",
                flush=True,
            )


def read() -> list[dict[str, Any]]:
    """The rows that there are, all of the recipes as they are now."""
    return read_rows(FILE, [recipe_sha256(name, given) for name, given, _ in RECIPES])


def train(
    config: str,
    overrides: tuple[str, ...],
    seed: int,
    weights: Path | None,
    others: Path | None,
) -> dict[str, Any]:
    """The row of one run."""
    with trained(config, overrides, seed, weights) as run:
        of_others = evaluated(run.workdir, others) if others else None
        train, test = run.result["train"], run.result["test"]
        return {
            **run.row(config, seed, overrides=overrides, weights=weights),
            "train_accuracy": train["accuracy"],
            "test_accuracy": test["accuracy"],
            "test_interval95": test["interval95"],
            "leak_free_test_accuracy": test["leak_free"]["accuracy"],
            "others_accuracy": of_others["accuracy"] if of_others else None,
            "others_count": of_others["count"] if of_others else None,
            "train_loss": train["loss"],
            "test_loss": test["loss"],
            "train_seconds": round(run.result["train_seconds"], 1),
            "device": run.result["device"],
        }


if __name__ == "__main__":
    main()
