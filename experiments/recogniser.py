"""Trains the recogniser in the box three times, tests each, and packs the first.

    python -m experiments.recogniser --ankara=FOLDER --photographs=FOLDER

Seed K of configs/recogniser.py learns from all Ankara signers but those of fold K
(ankara_signers.py), on whom it is tested; no choice was compared on them. What is
tested is the packed model, rounded to float16. How often it says `unsure` of pictures
without a hand is asked of the `--photographs` that photographs.py fetches. Seed 0 goes
into signjax/recogniser, which comes with the package. Called again, it goes on with the
seeds that have no row; rows go to results/recogniser.json, and the model card,
docs/guides/recogniser.md, is written from them.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments import recogniser_card
from experiments.ankara_signers import FOLDS, link_fold
from experiments.rows import RESULTS, add_row, read_rows, recipe_sha256, sha256
from experiments.runs import opened, scored, trained
from signjax.runtime.files import write_json
from signjax.runtime.packed import FILE as PACKED
from signjax.runtime.packed import write_packed
from signjax.workdir import RECOGNISER

FILE = RESULTS / "recogniser.json"
CONFIG = "recogniser.py"
SEEDS = range(FOLDS)
_ORIGIN = "the Ankara digits, but fold 0 of their signers, and synthetic hands"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ankara", type=Path, required=True)
    parser.add_argument("--photographs", type=Path, required=True)
    options = parser.parse_args()
    for seed in SEEDS:
        if seed in [row["seed"] for row in read()]:
            continue
        row = train(seed, options.ankara, options.photographs)
        add_row(FILE, row)
        print("seed", seed, "no hand", row["no_hand_unsure"], flush=True)
    recogniser_card.PAGE.write_text(recogniser_card.page(read()))


def read() -> list[dict[str, Any]]:
    """The rows that there are, all of the recipe as it is now."""
    return read_rows(FILE, [recipe_sha256(CONFIG)])


def train(seed: int, ankara: Path, photographs: Path) -> dict[str, Any]:
    """The row of one run, whose packed model goes into the box if its seed is 0."""
    with tempfile.TemporaryDirectory() as name:
        fold, packed = Path(name, "fold"), Path(name, "recogniser")
        link_fold(ankara, seed, fold)
        overrides = (f"--config.data.dir={fold}",)
        with trained(CONFIG, overrides, seed, None, source="ankara") as run:
            parameters = pack(run.workdir, packed)
            row = {
                **run.row(CONFIG, seed),
                "parameters": parameters,
                "bytes": (packed / PACKED).stat().st_size,
                "model_sha256": sha256(packed / PACKED),
                "train_count": run.stored["data"]["train_count"],
                "train_accuracy": run.result["train"]["accuracy"],
                **scored(packed, fold / "test", photographs),
            }
        if seed == 0:
            shutil.copytree(packed, RECOGNISER, dirs_exist_ok=True)
        return row


def pack(workdir: Path, target: Path) -> int:
    """Packs a workdir's model into the directory `target`; how many parameters it has.

    The files are those of a workdir but the checkpoints, and name no path.
    """
    model, _ = opened(workdir)
    target.mkdir()
    variables = jax.tree.map(np.asarray, model.state.variables)
    write_packed(target / PACKED, variables, model.step)
    run = json.loads((workdir / "run.json").read_text())
    run["config"]["data"]["dir"], run["data"]["origin"] = "", _ORIGIN
    write_json(target / "run.json", run)
    for file in ("calibration.json", "result.json", "trained_on.json"):
        shutil.copy(workdir / file, target)
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


if __name__ == "__main__":
    main()
