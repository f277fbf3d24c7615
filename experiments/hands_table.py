"""The table of configs/hands.py in docs/results.md, of what hands.py recorded."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

import numpy as np

from experiments.hands import read
from experiments.markdown import measured_on, table
from signjax.data.leaks import SIGNS_TEST_LEAKS
from signjax.evaluation.metrics import calibration_error

HEADER = (
    "scored on | accuracy, all seeds | by seed | ECE | coverage | selective accuracy"
)


def scores() -> str:
    """What configs/hands.py reaches on unseen people and in rooms."""
    rows = read()
    n = len(rows)
    people = sum(len(row["ankara"]["labels"]) for row in rows)
    scenes = rows[0]["scenes_count"]
    answered, right = (
        sum(row[f"scenes_{name}"] for row in rows) for name in ("answered", "right")
    )
    likeliest = [row["scenes_likeliest"] / scenes for row in rows]
    lines = [
        (f"SIGNS test, leak-free, {n} x 108", *scored(rows, "signs", SIGNS_TEST_LEAKS)),
        (f"Ankara, 0 to 9, unseen signers, {people}", *scored(rows, "ankara")),
        (
            f"scenes, people in rooms, {n} x {scenes}, development",
            f"{mean(likeliest):.4f}",
            spread(likeliest),
            "",
            f"{answered / (n * scenes):.4f}",
            f"{right / max(answered, 1):.4f}",
        ),
    ]
    if "no_hand_count" in rows[0]:
        count = rows[0]["no_hand_count"]
        given = [row["no_hand_answered"] / count for row in rows]
        without = f"photographs without a hand, {n} x {count}"
        lines.append((without, "", "", "", f"{mean(given):.4f}", ""))
    note = (
        f"{n} seeds, {rows[0]['epochs']} epochs each; every seed tests its own third "
        "of the Ankara people held out, and the scenes that development looked at. By "
        "seed: mean ± standard deviation. Of a scene the surest hand counts; one "
        f"without any found is wrong. {measured_on(rows)}. "
        "`experiments/results/hands.json`, by `python -m experiments.hands`."
    )
    return table(HEADER, lines, note)


def scored(
    rows: Sequence[Mapping[str, Any]], name: str, left_out: Sequence[int] = ()
) -> tuple[str, str, str, str, str]:
    """A line's figures; left_out: indices of images that do not count."""
    accuracies, all_right, all_given, parts, labels = [], [], [], [], []
    for row in rows:
        own = np.delete(row[name]["labels"], left_out)
        probabilities = np.delete(row[name]["probabilities"], left_out, axis=0)
        right = probabilities.argmax(axis=-1) == own
        accuracies.append(float(right.mean()))
        all_right.append(right)
        all_given.append(probabilities.max(axis=-1) >= (row["threshold"] or 0.0))
        parts.append(probabilities)
        labels.append(own)
    right, given = np.concatenate(all_right), np.concatenate(all_given)
    error = calibration_error(np.concatenate(parts), np.concatenate(labels))
    return (
        f"{right.mean():.4f}",
        spread(accuracies),
        f"{error:.4f}",
        f"{given.mean():.4f}",
        f"{right[given].mean():.4f}",
    )


def spread(values: Sequence[float]) -> str:
    return f"{mean(values):.4f} ± {stdev(values):.4f}" if len(values) > 1 else ""
