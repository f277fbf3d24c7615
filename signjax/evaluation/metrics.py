"""Logits of every image exactly once, and the scores computed from them."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from signjax.data.dataset import Dataset
from signjax.data.leaks import leak_free
from signjax.data.stream import Images
from signjax.experiment import Experiment
from signjax.state import TrainState

BINS = 10


def score_split(
    experiment: Experiment, name: str, data: Dataset, state: TrainState
) -> dict[str, float]:
    """`<name>_loss` and `<name>_accuracy` of a state on `data`, for a record."""
    logits = logits_of(experiment, state.variables, data.images)
    scores = score_logits(logits, data)
    return {f"{name}_{key}": scores[key] for key in ("loss", "accuracy")}


def logits_of(experiment: Experiment, variables: Any, images: Images) -> np.ndarray:
    """Float32 logits [N, C] of images uint8 [N, H, W, 3], in order."""
    inputs = experiment.view.inputs(images)
    return predict_logits(
        experiment.eval_step, variables, inputs, experiment.eval_batch_size
    )


def score_logits(logits: np.ndarray, data: Dataset) -> dict[str, Any]:
    """`score` of the logits of `data`.

    With the SIGNS test set, `leak_free` holds accuracy, interval95 and count of the
    images that are not in SIGNS' training set too.
    """
    scores = score(logits, data.labels, data.classes)
    kept = leak_free(data)
    if kept is not None:
        rest = score(logits[kept], data.labels[kept], data.classes)
        keys = ("accuracy", "interval95", "count")
        scores["leak_free"] = {key: rest[key] for key in keys}
    return scores


def predict_logits(
    eval_step: Callable[[Any, np.ndarray], jax.Array],
    variables: Any,
    images: Images,
    batch_size: int,
) -> np.ndarray:
    """Float32 logits [N, C] of images uint8 [N, H, W, 3], in order, each once.

    The last batch is filled with black images, so that one program serves all, and
    their logits dropped here.
    """
    logits = []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        missing = batch_size - len(batch)
        batch = np.pad(batch, [(0, missing)] + [(0, 0)] * (batch.ndim - 1))
        logits.append(eval_step(variables, batch))
        # At most two batches wait on the device, however fast they are read.
        jax.block_until_ready(logits[-2:-1])
    return np.concatenate(jax.device_get(logits))[: len(images)]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, float64 [N, C], of logits [N, C]."""
    shifted = logits.astype(np.float64)
    shifted = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def score(
    logits: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> dict[str, Any]:
    """What `evaluate` reports, as plain numbers.

    logits: float [N, C]. labels: int [N]. Returns accuracy and its 95% Wilson
    interval (both in [0, 1]), loss (mean cross-entropy, nats), ece (see
    `calibration_error`), count, classes, confusion (int [C][C], rows: true class) and
    per_class (count, precision, recall; null where undefined).
    """
    probabilities = softmax(logits)
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (labels, probabilities.argmax(axis=-1)), 1)
    correct, count = int(np.trace(confusion)), len(labels)
    return {
        "accuracy": correct / count,
        "interval95": wilson_interval(correct, count),
        "loss": negative_log_likelihood(logits, labels),
        "ece": calibration_error(probabilities, labels),
        "count": count,
        "classes": list(classes),
        "confusion": confusion.tolist(),
        "per_class": {
            name: {
                "count": int(confusion[i].sum()),
                "precision": _ratio(confusion[i, i], confusion[:, i].sum()),
                "recall": _ratio(confusion[i, i], confusion[i].sum()),
            }
            for i, name in enumerate(classes)
        },
    }


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy in nats of logits [N, C] and labels, int [N]; never inf."""
    likelihoods = softmax(logits)[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(likelihoods, np.finfo(np.float64).tiny)).mean())


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error, in [0, 1], over the bins of `reliability`.

    The mean distance of a bin's accuracy from its mean confidence, weighted by count
    (Nguyen and O'Connor, arXiv:1508.05154, for bins of equal mass).
    """
    rows = reliability(probabilities, labels)
    distances = [
        row["count"] * abs(row["accuracy"] - row["confidence"]) for row in rows
    ]
    return sum(distances) / len(labels)


def reliability(
    probabilities: np.ndarray, labels: np.ndarray
) -> list[dict[str, float]]:
    """Mean confidence, accuracy and count of bins of images, by rising confidence.

    probabilities: float [N, C]. labels: int [N]. Of `BINS` bins, or N if that is less,
    each holds as many images as the others or one more.
    """
    confidence = probabilities.max(axis=-1)
    correct = probabilities.argmax(axis=-1) == labels
    order = np.argsort(confidence, kind="stable")
    return [
        {
            "confidence": float(confidence[part].mean()),
            "accuracy": float(correct[part].mean()),
            "count": len(part),
        }
        for part in np.array_split(order, min(BINS, len(order)))
    ]


def selective_accuracy(
    probabilities: np.ndarray, labels: np.ndarray, threshold: float
) -> dict[str, Any]:
    """The scores of a model that abstains below a threshold of its confidence.

    Returns threshold, count (answers), coverage (their share of all images), accuracy
    (of the answers) and its interval95; these two null where nothing is answered.
    """
    given = probabilities.max(axis=-1) >= threshold
    count = int(given.sum())
    correct = int(np.sum(probabilities.argmax(axis=-1)[given] == labels[given]))
    return {
        "threshold": threshold,
        "count": count,
        "coverage": count / len(labels),
        "accuracy": _ratio(correct, count),
        "interval95": wilson_interval(correct, count) if count else None,
    }


def coverage_curve(
    probabilities: np.ndarray, labels: np.ndarray
) -> list[tuple[float, float]]:
    """(coverage, selective accuracy) of the most confident images, ever more of them.

    probabilities: float [N, C]. labels: int [N]. At most 100 points, the last of all.
    """
    order = np.argsort(-probabilities.max(axis=-1), kind="stable")
    right = np.cumsum(probabilities.argmax(axis=-1)[order] == labels[order])
    count = len(order)
    answered = np.unique(np.linspace(1, count, 100, dtype=int))
    return [(float(n / count), float(right[n - 1] / n)) for n in answered]


def _ratio(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def wilson_interval(correct: int, count: int) -> list[float]:
    """The 95% score interval [low, high] of a proportion (Wilson, JASA 1927)."""
    z = 1.959963984540054
    p = correct / count
    center = p + z * z / (2 * count)
    half = z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return [max(0.0, (center - half) / scale), min(1.0, (center + half) / scale)]
