"""Calibrated confidences, and the threshold below which a model abstains.

Both are fitted on held-out training images and kept in the workdir's calibration.json:
a temperature that divides the logits (Guo et al., arXiv:1706.04599), and the smallest
confidence at which the error rate of the answers stays within a stated risk (Geifman
and El-Yaniv, arXiv:1705.08500), `LEAST_CONFIDENCE` at least. For a model trained with
outlier exposure (augment/outliers.py) it is raised until the model abstains on a given
share of the held-out images, without such a least one.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from signjax.errors import InputError
from signjax.evaluation.metrics import (
    calibration_error,
    negative_log_likelihood,
    softmax,
    wilson_interval,
)
from signjax.runtime.files import read_json

FILE = "calibration.json"
NOT_CALIBRATED = (
    "not calibrated, so it always answers; train with "
    "--config.data.validation_fraction=0.15 to let it abstain"
)
_TOO_FEW = "too few held-out images, or too many labeled wrongly"

RISK = 0.05
# Held-out images show the people of the training set. Where hardly one of them is wrong
# any confidence keeps to the risk, but not for unseen people; chosen on the development
# half of the Ankara signers.
LEAST_CONFIDENCE = 0.8
# The abstention rate of a model with outlier exposure: a coverage of 95% of held-out
# images is the usual point to compare detectors at (FPR95). Synthetic outliers would
# set a threshold far too low for photographs, as nearly all of them are learned.
ABSTAIN_FRACTION = 0.05

# Where 1 / temperature is looked for; beyond, probabilities are uniform or all 0 and 1.
_SHARPEST, _FLATTEST = 100.0, 0.01
_HALVINGS = 60


@dataclass(frozen=True)
class Calibration:
    """What was fitted on `count` held-out images at `step` of a run.

    temperature: > 0, divides logits. threshold: the confidence below which the model
    abstains, or None where count is too small to promise `risk`, the error rate of its
    answers, and no abstention rate was given. coverage: the share of held-out images at
    or above it. loss and ece: before and after, on the held-out images. risk: None
    where no threshold meets it, though an abstention rate set one.
    """

    step: int
    count: int
    temperature: float
    threshold: float | None
    risk: float | None
    loss: tuple[float, ...]
    ece: tuple[float, ...]
    coverage: float = 1.0

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, float64 [N, C], of logits [N, C]."""
        return softmax(logits / self.temperature)

    def to_json(self) -> dict[str, Any]:
        """Plain values, which `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Calibration":
        """The calibration of `to_json`; KeyError or TypeError where it is none."""
        pairs: dict[str, Any] = {key: tuple(values[key]) for key in ("loss", "ece")}
        calibration = cls(**{**values, **pairs})
        for name, least in (("temperature", 0.0), ("threshold", -math.inf)):
            value = getattr(calibration, name)
            if (name, value) != ("threshold", None) and not least < value < math.inf:
                raise TypeError(f"{name} is {value!r}")
        return calibration


def fit(
    logits: np.ndarray,
    labels: np.ndarray,
    *,
    step: int,
    risk: float = RISK,
    abstain_fraction: float = 0.0,
) -> Calibration:
    """The calibration of a model by its held-out images: logits [N, C], labels [N].

    abstain_fraction: in [0, 1), the abstention rate: the threshold is at least the
    confidence that all but this share of the images reach.
    """
    temperature = fit_temperature(logits, labels)
    before_and_after = (logits, logits / temperature)
    probabilities = softmax(logits / temperature)
    correct = probabilities.argmax(axis=-1) == labels
    confidence = probabilities.max(axis=-1)
    threshold = choose_threshold(confidence, correct, risk)
    kept_risk = None if threshold is None and abstain_fraction else risk
    if abstain_fraction:
        least = float(np.sort(confidence)[int(abstain_fraction * len(labels))])
        threshold = max(threshold or 0.0, least)
    else:
        threshold = with_least_confidence(threshold)
    return Calibration(
        step=step,
        count=len(labels),
        temperature=temperature,
        threshold=threshold,
        risk=kept_risk,
        loss=tuple(negative_log_likelihood(x, labels) for x in before_and_after),
        ece=tuple(calibration_error(softmax(x), labels) for x in before_and_after),
        coverage=float(np.mean(confidence >= (threshold or 0.0))),
    )


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that minimizes the cross-entropy of logits [N, C].

    As if one more image had been seen, with a uniform target: without it the best
    temperature of images that are all labeled correctly would be 0, and an error to
    come would count as impossible (Platt, 1999, does so for two classes).
    """
    logits = logits.astype(np.float64)
    count, classes = logits.shape
    targets = np.full((count, classes), 1 / classes) / (count + 1)
    targets[np.arange(count), labels] += count / (count + 1)
    # The cross-entropy is convex in the inverse temperature, so its slope has one root.
    low, high = np.log(_FLATTEST), np.log(_SHARPEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        expected = np.sum((softmax(logits * np.exp(middle)) - targets) * logits)
        low, high = (low, middle) if expected > 0 else (middle, high)
    return float(np.exp(-(low + high) / 2))


def choose_threshold(
    confidence: np.ndarray, correct: np.ndarray, risk: float
) -> float | None:
    """The smallest confidence from which on the answers keep to a risk.

    confidence: float [N]. correct: bool [N]. At the threshold the upper end of the 95%
    interval of the share of wrong answers is at most `risk`. None where it is above at
    every confidence: without any error that takes 73 answers for a risk of 0.05.
    """
    order = np.argsort(-confidence, kind="stable")
    ordered, right = confidence[order], np.cumsum(correct[order])
    for count in range(len(ordered), 0, -1):
        tied = count < len(ordered) and ordered[count] == ordered[count - 1]
        least_right, _ = wilson_interval(int(right[count - 1]), count)
        if not tied and 1 - least_right <= risk:
            return float(ordered[count - 1])
    return None


def with_least_confidence(threshold: float | None) -> float | None:
    """The threshold, raised to LEAST_CONFIDENCE; None stays None."""
    return None if threshold is None else max(threshold, LEAST_CONFIDENCE)


def read_calibration(
    directory: Path, step: int, warn: Callable[[str], None]
) -> Calibration | None:
    """What was fitted to the model of `step`, or None where nothing was.

    warn: is told where another step's model was calibrated. Raises InputError where
    the file is damaged.
    """
    path = directory / FILE
    if not path.exists():
        return None
    try:
        calibration = Calibration.from_json(read_json(path))
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path} is not what training writes ({error!r}): delete it, and the model "
            "is taken as not calibrated"
        ) from error
    if calibration.step != step:
        warn(
            f"{path} is of step {calibration.step}, and this is the model of step "
            f"{step}: it is taken as not calibrated"
        )
        return None
    return calibration


def why_no_abstention(calibration: Calibration | None) -> str | None:
    """Why it cannot abstain as `RISK` promises, for a person; None where it can."""
    if calibration is None:
        return NOT_CALIBRATED
    if calibration.threshold is None:
        return f"it always answers: {_TOO_FEW} to set a threshold"
    if calibration.risk is None:
        return (
            f"over {RISK:.0%} of the answers may be wrong: {_TOO_FEW} to promise less"
        )
    return None


def describe_calibration(calibration: Calibration) -> str:
    """What was fitted, in a line for a person."""
    before, after = calibration.ece
    line = (
        f"temperature {calibration.temperature:.3f} by {calibration.count} held-out "
        f"images (their calibration error {before:.3f}, after {after:.3f})"
    )
    if calibration.threshold is not None:
        line += (
            f"; abstains below {calibration.threshold:.3f}, on "
            f"{1 - calibration.coverage:.1%} of them"
        )
    missing = why_no_abstention(calibration)
    return f"{line}; {missing}" if missing else line
