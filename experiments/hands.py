"""Trains configs/hands.py three times and scores it on people it has not learned from.

    SIGNJAX_DATA=folder-of-the-h5-files \\
        python -m experiments.hands --ankara=FOLDER --scenes=FOLDER [--weights=FOLDER]

Seed K learns from SIGNS and all Ankara signers but those of fold K (ankara_signers.py),
on whom it is tested. `--scenes`: photographs of people in rooms, a folder a digit, that
development looked at and training never. `--weights`: the hand networks, which are
downloaded else. `--photographs`: those of photographs.py, without a hand; left out
where not named. Called again, it goes on with the seeds that have no row; rows go to
results/hands.json.
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from experiments.ankara_signers import FOLDS, link_fold
from experiments.rows import RESULTS, add_row, read_rows, recipe_sha256
from experiments.runs import opened, predicted, probabilities_of, trained

FILE = RESULTS / "hands.json"
CONFIG = "hands.py"
SEEDS = range(FOLDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ankara", type=Path, required=True)
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--weights", default="mediapipe-hands")
    parser.add_argument("--photographs", type=Path)
    options = parser.parse_args()
    for seed in SEEDS:
        if seed in [row["seed"] for row in read()]:
            continue
        row = train(seed, options)
        add_row(FILE, row)
        print("seed", seed, row["scenes_answered"], row["scenes_right"], flush=True)


def read() -> list[dict[str, Any]]:
    """The rows that there are, all of the recipe as it is now."""
    return read_rows(FILE, [recipe_sha256(CONFIG)])


def train(seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """The row of one run."""
    signs = Path(os.environ["SIGNJAX_DATA"]) / "test_signs.h5"
    with tempfile.TemporaryDirectory() as name:
        fold = Path(name)
        link_fold(options.ankara, seed, fold)
        overrides = [f"--config.data.dir={fold}"]
        overrides.append(f"--config.model.hands={options.weights}")
        with trained(CONFIG, overrides, seed, None, source="digits") as run:
            model, calibration = opened(run.workdir)
            row = {
                **run.row(CONFIG, seed),
                "temperature": calibration.temperature,
                "threshold": calibration.threshold,
                "held_out_count": calibration.count,
                "signs": probabilities_of(model, calibration, signs),
                "ankara": probabilities_of(model, calibration, fold / "test"),
                **photographed(run.workdir, options.scenes, "scenes"),
            }
            if options.photographs:
                row |= photographed(run.workdir, options.photographs, "no_hand")
        return row


def photographed(workdir: Path, folder: Path, name: str) -> dict[str, Any]:
    """What `predict` answers to photographs: how many, found, likeliest, given, right.

    Of several hands the surest counts. Right: where the folder names a digit.
    """
    best: dict[str, Any] = {}
    for answer in predicted(workdir, folder):
        old = best.get(answer["path"])
        if old is None or answer["confidence"] > old["confidence"]:
            best[answer["path"]] = answer
    answers = [(Path(path).parent.name, answer) for path, answer in best.items()]
    given = [(true, answer) for true, answer in answers if answer["label"] is not None]
    likeliest = sum(x["likeliest"] == true for true, x in answers if x["box"])
    return {
        f"{name}_count": len(answers),
        f"{name}_found": sum(answer["box"] is not None for _, answer in answers),
        f"{name}_likeliest": likeliest,
        f"{name}_answered": len(given),
        f"{name}_right": sum(answer["label"] == true for true, answer in given),
    }


if __name__ == "__main__":
    main()
