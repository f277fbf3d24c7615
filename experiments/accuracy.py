"""Trains every recipe over its seeds on SIGNS and records what each run reached.

    SIGNJAX_DATA=folder-of-the-h5-files python -m experiments.accuracy

`--only=resnet.py` runs one config, `--only=resnet.py:seed` that variant;
`--weights=FILE` is where the ImageNet weights of resnet_pretrained.py are (else they
are downloaded), and `--unseen_signers=FOLDER` holds hands of people who are not in
SIGNS, to be scored too. Each run is the real command line in a fresh process, so its
wall time counts imports, compilation, training, evaluation and saving. Called again,
it goes on with the runs that have no row yet. Rows go to results/accuracy.json.
"""

from pathlib import Path
from typing import Any

from experiments.rows import RESULTS, add_row, read_rows, recipe_sha256
from experiments.runs import evaluated, make_parser, trained, weights_for

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
    arguments = make_parser(__doc__, {config: 0 for config, *_ in RECIPES}).parse_args()
    done = {(row["recipe_sha256"], row["seed"]) for row in read()}
    for config, overrides, seeds in RECIPES:
        for seed in seeds:
            if (recipe_sha256(config, overrides), seed) in done:
                continue
            if arguments.only not in ("", config):
                continue
            weights = weights_for(config, arguments.weights)
            row = train(config, overrides, seed, weights, arguments.unseen_signers)
            add_row(FILE, row)
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
    unseen: Path | None,
) -> dict[str, Any]:
    """The row of one run."""
    with trained(config, overrides, seed, weights) as run:
        scores = evaluated(run.workdir, unseen) if unseen else None
        train, test = run.result["train"], run.result["test"]
        return {
            **run.row(config, seed, overrides=overrides, weights=weights),
            "train_accuracy": train["accuracy"],
            "test_accuracy": test["accuracy"],
            "test_interval95": test["interval95"],
            "leak_free_test_accuracy": test["leak_free"]["accuracy"],
            "unseen_signers_accuracy": scores["accuracy"] if scores else None,
            "unseen_signers_count": scores["count"] if scores else None,
            "train_loss": train["loss"],
            "test_loss": test["loss"],
            "train_seconds": round(run.result["train_seconds"], 1),
            "device": run.result["device"],
        }


if __name__ == "__main__":
    main()
