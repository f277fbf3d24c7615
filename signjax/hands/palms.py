"""From what the palm detector gives to palms: anchors, decoding, weighted suppression.

Constants are those of MediaPipe's palm_detection_cpu.pbtxt.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

SIDE = 192  # pixels, of the picture it looks at
_GRIDS = ((24, 2), (12, 6))  # cells a side, anchors a cell
SAME_PALM = 0.3  # intersection over union above which two boxes are of one palm


@cache
def anchors() -> np.ndarray:
    """The centers of cells, as shares of the side: float32 [2016, 2], x and y."""
    grids = []
    for cells, count in _GRIDS:
        middles = (np.arange(cells) + 0.5) / cells
        y, x = np.meshgrid(middles, middles, indexing="ij")
        grids.append(np.repeat(np.stack([x, y], -1).reshape(-1, 2), count, axis=0))
    return np.concatenate(grids).astype(np.float32)


def decode(raw: Array, logits: Array) -> tuple[Array, Array]:
    """(palms float [B, 2016, 18], scores [B, 2016] in [0, 1]) of the network's outputs.

    raw: float [B, 2016, 18], pixels from the anchor. logits: [B, 2016, 1]. palms: x, y,
    width, height of the box, then x and y of seven keypoints, as shares of the side.
    """
    points = jnp.tile(anchors(), 9)[None]
    # Width and height are sizes, not places.
    shift = points.at[..., 2:4].set(0)
    return raw / SIDE + shift, jax.nn.sigmoid(jnp.clip(logits[..., 0], -100, 100))


def suppress(
    palms: Array, scores: Array, *, limit: Array | float, most: int
) -> tuple[Array, Array]:
    """The `most` best palms of each picture: (float [B, most, 18], scores [B, most]).

    Boxes that overlap the best one are one palm with it, the mean of them all weighted
    by their scores (BlazePalm: arXiv:2006.10214); then the best of the rest. A score is
    0 where there are fewer that reach `limit`, in (0, 1).
    """

    def of_picture(palms: Array, scores: Array) -> tuple[Array, Array]:
        def take(left: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
            best = jnp.argmax(left)
            same = (overlap(palms[best], palms) > SAME_PALM) & (left > 0)
            same = same.at[best].set(True)
            weights = jnp.where(same, left, 0)
            total = jnp.maximum(weights.sum(), jnp.finfo(weights.dtype).tiny)
            merged = jnp.matmul(weights, palms, precision=lax.Precision.HIGHEST) / total
            return jnp.where(same, 0, left), (merged, left[best])

        left = jnp.where(scores >= limit, scores, 0)
        return lax.scan(take, left, None, length=most)[1]

    return jax.vmap(of_picture)(palms, scores)


def overlap(one: Array, others: Array) -> Array:
    """Intersection over union of boxes: float [4 or more], [N, 4 or more] -> [N]."""
    one = one[None]
    low = jnp.maximum(_low(one), _low(others))
    high = jnp.minimum(_high(one), _high(others))
    inside = jnp.prod(jnp.maximum(high - low, 0), axis=-1)
    areas = jnp.prod(one[:, 2:4], axis=-1) + jnp.prod(others[:, 2:4], axis=-1)
    return inside / jnp.maximum(areas - inside, jnp.finfo(inside.dtype).tiny)


def _low(boxes: Array) -> Array:
    return boxes[..., :2] - boxes[..., 2:4] / 2


def _high(boxes: Array) -> Array:
    return boxes[..., :2] + boxes[..., 2:4] / 2
