"""Where a network looked: how much covering each part of an image hurts the answer."""

from collections.abc import Callable

import numpy as np

from signjax.evaluation.metrics import softmax

# Patches of a quarter of the side, moved by an eighth: fine enough to tell a finger
# from the palm, coarse enough for a handful of images in seconds on a CPU.
_STEPS = 8
_REACH = 2


def occlusion_maps(
    logits_of: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    labels: np.ndarray,
) -> np.ndarray:
    """How much each pixel's surroundings speak for a label, in nats: float64 [N, S, S].

    A patch of the image's mean color is laid on every place in turn; a pixel's value
    is the mean fall of the label's log-probability over the patches that cover it, so
    it is negative where covering helps. (Zeiler and Fergus, arXiv:1311.2901.)

    logits_of: uint8 [M, S, S, 3] -> float [M, C]. images: uint8 [N, S, S, 3], S at
    least 8. labels: int [N].
    """
    size = images.shape[1]
    edges = np.linspace(0, size, _STEPS + 1).astype(int)
    spans = list(zip(edges[:-_REACH], edges[_REACH:], strict=True))
    patches = [
        (slice(top, bottom), slice(left, right))
        for top, bottom in spans
        for left, right in spans
    ]
    views = np.repeat(images[:, None], len(patches) + 1, axis=1)
    colors = np.rint(images.mean(axis=(1, 2), keepdims=True)).astype(np.uint8)
    for number, patch in enumerate(patches, 1):
        views[:, number, *patch] = colors
    probabilities = softmax(logits_of(views.reshape(-1, *images.shape[1:])))
    probabilities = probabilities.reshape(*views.shape[:2], -1)
    likelihoods = probabilities[np.arange(len(labels)), :, labels]
    logs = np.log(np.maximum(likelihoods, np.finfo(np.float64).tiny))
    total, times = np.zeros((len(images), size, size)), np.zeros((size, size))
    for number, patch in enumerate(patches, 1):
        fall = logs[:, 0] - logs[:, number]
        total[:, *patch] += fall[:, None, None]
        times[patch] += 1
    return total / times


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A gray image, redder the larger `heat` is: uint8 [S, S, 3].

    image: uint8 [S, S, 3]. heat: float [S, S]; its largest value is full red, and zero
    and below stay gray.
    """
    gray = image.mean(axis=2, keepdims=True) * 0.6 + 90
    share = np.maximum(heat, 0) / max(float(heat.max()), np.finfo(float).tiny)
    red = np.array([215.0, 30.0, 30.0])
    mixed = gray + 0.75 * share[..., None] * (red - gray)
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
