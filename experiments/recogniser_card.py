"""The model card of the recogniser in the box, from the rows of its result file."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.rows import RESULTS
from experiments.tables import table
from signjax.evaluation.metrics import wilson_interval
from signjax.runtime.machine import ROOT

Rows = Sequence[Mapping[str, Any]]

PAGE = ROOT / "docs" / "guides" / "recogniser.md"
FOUND = RESULTS / "cut_out.json"
RISK = 0.02  # of wrong answers, at which coverage is told
_ANKARA = "https://github.com/ardamavi/Sign-Language-Digits-Dataset"


def page(rows: Rows) -> str:
    """All of docs/guides/recogniser.md. rows: of seed 0, the one in the box, first."""
    first, versions = rows[0], rows[0]["versions"]
    learned = first["train_count"] - first["held_out_count"]
    scores = [_line(f"seed {row['seed']}", [row]) for row in rows]
    if len(rows) > 1:
        scores.append(_line("all", rows))
    size = f"{first['parameters']:,} parameters, {first['bytes'] / 1e6:.2f} MB"
    about = [
        (
            "network",
            f"ResNet of bottlenecks, `configs/recogniser.py`: {size} as float16",
        ),
        ("file", "`signjax/recogniser/model.safetensors`"),
        (
            "learned from",
            f"{learned} photographs of the [Ankara digits]({_ANKARA}) (Apache-2.0) and "
            f"rendered hands; {first['held_out_count']} photographs more gave the "
            "temperature and the threshold; nothing else, no pretrained weights",
        ),
        (
            "answers",
            f"a digit, or `unsure` below a confidence of {first['threshold']:.3f}",
        ),
        ("licence", "Apache-2.0, as the rest of signjax"),
    ]
    return f"""\
# The recogniser in the box

`python main.py --mode=predict photo.jpg` needs no training: without `--workdir` a small
network answers that comes with the package. It reads the digits 0 to 9 of American
Sign Language in a picture that one hand fills, and says `unsure` where it is.

{table("the model |", about)}

`signjax/recogniser` is a workdir: `--workdir=signjax/recogniser` names it where a mode
asks for one.

## How good it is

{table(_HEADER, scores)}

Seed 0 is the model in the box. Hands: pictures of signers whom the seed has not learned
from, a third of the Ankara signers held out for tests; no choice was compared on them.
Coverage: the share of hands that get an answer; selective accuracy: of those answers.
Coverage at {RISK:.0%} error: the largest share, most confident first, of which at most
{RISK:.0%} are wrong. Refused: photographs of other things
(`experiments/photographs.csv`) that it says `unsure` of. n = {len(rows)}, each of
{first["epochs"]} epochs.
{first["processor"]}, Python {versions["python"]}, jax {versions["jax"]}.
`experiments/results/recogniser.json`, by `python -m experiments.recogniser`.

## A hand anywhere in the photograph

{_found()}

## What it cannot do

- It does not find the hand: without the palm detector crop the picture to one that
  the hand fills.
- It learned from photographs before bright walls in one school, and from rendered
  hands, so in rooms it is unsure of many hands and wrong about some. Hands seen from
  the back or the side, and gloves, were not measured.
- A digit is no sentence, and some of its answers are wrong: decide nothing of weight by
  it.

For your own pictures and classes train a model: [your own data](own-data.md).
"""


def _found() -> str:
    """What results/cut_out.json holds."""
    result = json.loads(FOUND.read_text())
    lines = [
        (
            row["looked_at"],
            f"{row['scenes_likeliest']} of {row['scenes_count']}",
            f"{row['scenes_answered']}, {row['scenes_right']} rightly",
            f"{row['no_hand_unsure']} of {row['no_hand_count']}",
        )
        for row in result["rows"]
    ]
    header = "looked at | scenes, likeliest is right | answered | refused, no hand"
    return f"""\
Where MediaPipe's palm detector is in the cache, or named by
`--weights=mediapipe-hands` or `--weights=FOLDER`, `predict` cuts each hand out of the
photograph and answers it, and [the page](export.md) does so before the camera; they say
so. Where no hand is found they look at the middle of the picture. `--json` has each
hand's `box` in the photograph's pixels: left, top, right, bottom.

{table(header, lines)}

Scenes: photographs of people in rooms, which development looked at to choose the size
of a hand's box; [`configs/hands.py`](hands.md), trained, reads more of them.
{result["processor"]}, jax {result["versions"]["jax"]}.
`experiments/results/cut_out.json`, by `python -m experiments.cut_out`."""


_HEADER = (
    "seed | hands | accuracy | 95% interval | coverage | selective accuracy "
    f"| coverage at {RISK:.0%} error | refused, no hand"
)


def _line(name: str, rows: Rows) -> list[str]:
    labels = np.concatenate([row["ankara"]["labels"] for row in rows])
    probabilities = np.concatenate([row["ankara"]["probabilities"] for row in rows])
    limits = np.concatenate(
        [np.full(len(row["ankara"]["labels"]), row["threshold"]) for row in rows]
    )
    right = probabilities.argmax(axis=-1) == labels
    confidence = probabilities.max(axis=-1)
    given = confidence >= limits
    low, high = wilson_interval(int(right.sum()), len(right))
    refused, others = (
        sum(row[key] for row in rows) for key in ("no_hand_unsure", "no_hand_count")
    )
    return [
        name,
        str(len(right)),
        f"{right.mean():.3f}",
        f"{low:.3f} to {high:.3f}",
        f"{given.mean():.3f}",
        f"{right[given].mean():.3f}",
        f"{coverage_at(RISK, right, confidence):.3f}",
        f"{refused} of {others}",
    ]


def coverage_at(risk: float, right: np.ndarray, confidence: np.ndarray) -> float:
    """The largest share of answers, most confident first, with at most `risk` wrong.

    right: bool [N]. confidence: float [N].
    """
    wrong = np.cumsum(~right[np.argsort(-confidence, kind="stable")])
    count = np.arange(1, len(right) + 1)
    return float(np.max(count * (wrong <= risk * count)) / len(right))
