"""How far a confidence can be trusted, and below which one to say `unsure` instead.

Both are fitted on held-out training images and kept with the model: a temperature that
divides the logits (Guo et al., arXiv:1706.04599), and the smallest confidence at which
answers are wrong no oftener than a stated risk allows (Geifman and El-Yaniv,
arXiv:1705.08500). For a model that has learned not to be sure of pictures of no class
(data/outliers.py) it is raised until a given share of the held-out images is given up.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from signjax.training.evaluation import (
    calibration_error,
    negative_log_likelihood,
    softmax,
    wilson_interval,
)

RISK = 0.05

# Where 1 / temperature is looked for; beyond, probabilities are even or all 0 and 1.
_SHARPEST, _FLATTEST = 100.0, 0.01
_HALVINGS = 60


@dataclass(frozen=True)
class Calibration:
    """What was fitted on `count` held-out images at `step` of a run.

    temperature: > 0, divides logits. threshold: the confidence below which to answer
    `unsure`, or None where count is too small to promise `risk`, the share of wrong
    answers, and no images were to be given up. answered: the share of held-out images
    at or above it. loss and ece: before and after, on the held-out images. Where the
    threshold was raised to give images up, fewer answers are left than the risk was
    judged by, which is None if none would have met it.
    """

    step: int
    count: int
    temperature: float
    threshold: float | None
    risk: float | None
    loss: tuple[float, float]
    ece: tuple[float, float]
    answered: float = 1.0

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
        temperature, threshold = calibration.temperature, calibration.threshold
        if not _is_finite(temperature) or temperature <= 0:
            raise TypeError(f"temperature is {temperature!r}")
        if threshold is not None and not _is_finite(threshold):
            raise TypeError(f"threshold is {threshold!r}")
        return calibration


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def fit(
    logits: np.ndarray,
    labels: np.ndarray,
    *,
    step: int,
    risk: float = RISK,
    given_up: float = 0.0,
) -> Calibration:
    """The calibration of a model by its held-out images: logits [N, C], labels [N].

    given_up: in [0, 1); the threshold is at least the confidence that all but this
    share of the images reach. What is less sure than nearly all hands may show none.
    """
    temperature = fit_temperature(logits, labels)
    scaled = logits / temperature
    probabilities = softmax(scaled)
    correct = probabilities.argmax(axis=-1) == labels
    confidence = probabilities.max(axis=-1)
    threshold = choose_threshold(confidence, correct, risk)
    kept_risk = None if threshold is None and given_up else risk
    if given_up:
        least = float(np.sort(confidence)[int(given_up * len(labels))])
        threshold = max(threshold or 0.0, least)
    return Calibration(
        step=step,
        count=len(labels),
        temperature=temperature,
        threshold=threshold,
        risk=kept_risk,
        loss=(
            negative_log_likelihood(logits, labels),
            negative_log_likelihood(scaled, labels),
        ),
        ece=(
            calibration_error(softmax(logits), labels),
            calibration_error(probabilities, labels),
        ),
        answered=float(np.mean(confidence >= (threshold or 0.0))),
    )


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that minimises the cross-entropy of logits [N, C].

    As if one image more had been seen, which shows every class alike: without it the
    best temperature of images that are all labelled correctly would be 0, and one
    error to come would count as impossible (Platt, 1999, does so for two classes).
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
    """The smallest confidence that answers can begin at and keep to a risk.

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
