"""Scores of a network on images, as the modes report them."""

from typing import Any

import numpy as np

from signjax import build
from signjax.data.dataset import Dataset
from signjax.data.stream import Images
from signjax.data.twins import leak_free
from signjax.training.evaluation import predict_logits, score


def score_images(
    network: build.Network, variables: Any, data: Dataset
) -> dict[str, Any]:
    """`score_logits` of a network on `data`, whose labels are its outputs."""
    return score_logits(logits_of(network, variables, data.images), data)


def logits_of(network: build.Network, variables: Any, images: Images) -> np.ndarray:
    """Float32 logits [N, C] of images uint8 [N, H, W, 3], in order."""
    return predict_logits(network.eval_step, variables, images, network.eval_batch_size)


def score_logits(logits: np.ndarray, data: Dataset) -> dict[str, Any]:
    """`evaluation.score` of the logits of `data`.

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
