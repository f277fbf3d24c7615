"""A hand as a vector, and as what tells its pose: the same for any place, size, turn.

A record is float32 [133]: landmarks [21, 3], world landmarks [21, 3], presence,
handedness, the palm's score and the square, as in find.py's `Hand`. Zeros: no hand.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array

from signjax.hands.find import Hand

RECORD = 133
_POINTS = 2 * 63
PRESENCE, _HANDEDNESS, _SCORE, _SQUARE = 126, 127, 128, slice(129, 133)
# Joints from the base to the tip of thumb, index, middle, ring and little finger.
FINGERS = np.arange(1, 21).reshape(5, 4)
WRIST, KNUCKLES, TIPS = 0, FINGERS[1:, 0], FINGERS[:, 3]
FEATURES = _POINTS + 15 + 1


def to_record(hand: Hand) -> np.ndarray:
    """float32 [133]."""
    rest = [hand.presence, hand.handedness, hand.score]
    parts = (hand.landmarks.ravel(), hand.world.ravel(), rest, hand.square)
    return np.concatenate(parts).astype(np.float32)


def to_hand(record: np.ndarray) -> Hand:
    """The hand of a record that is not zeros."""
    landmarks, world = record[:_POINTS].reshape(2, 21, 3)
    presence, handedness, score = map(float, record[_POINTS : _SQUARE.start])
    return Hand(landmarks, world, presence, handedness, record[_SQUARE], score)


def poses(records: Array) -> Array:
    """The hands as right ones, upright, the wrist at zero: [B, 133] -> [B, 2, 21, 3].

    The landmarks of the picture and those of the world, in units of the mean distance
    from the wrist to the knuckles.
    """
    points = records[:, :_POINTS].reshape(-1, 2, 21, 3)
    x = jnp.where(records[:, _HANDEDNESS] > 0.5, -1.0, 1.0)
    mirror = jnp.stack([x, jnp.ones_like(x), jnp.ones_like(x)], axis=-1)
    return upright(points * mirror[:, None, None])


def upright(points: Array) -> Array:
    """Moved, turned in the picture's plane and scaled as in `poses`; [..., 21, 3]."""
    points = points - points[..., :1, :]
    knuckles = points[..., KNUCKLES, :]
    x, y = knuckles.mean(axis=-2)[..., 0], knuckles.mean(axis=-2)[..., 1]
    # A point at zero, of no hand, has no direction; NaN would spread in gradients.
    length = jnp.maximum(jnp.hypot(x, y), 1e-9)
    sin, cos = (x / length)[..., None], (-y / length)[..., None]
    turned = jnp.stack(
        [
            points[..., 0] * cos + points[..., 1] * sin,
            points[..., 1] * cos - points[..., 0] * sin,
            points[..., 2],
        ],
        axis=-1,
    )
    size = jnp.sqrt((knuckles**2).sum(axis=-1)).mean(axis=-1)
    return turned / jnp.maximum(size, 1e-9)[..., None, None]


def features(records: Array) -> Array:
    """What the classifier takes, float32 [B, 133] -> [B, 142].

    The poses; of the world's, how far the fingertips are from the wrist and from each
    other; last whether there is a hand, 0 or 1.
    """
    points = poses(records)
    return of_poses(points, (records[:, PRESENCE] > 0).astype(jnp.float32))


def of_poses(points: Array, found: Array) -> Array:
    """`features` of poses [B, 2, 21, 3] and whether there is a hand, [B]."""
    tips = points[:, 1, TIPS]
    pairs = np.array(np.triu_indices(5, 1))
    between = tips[:, pairs[0]] - tips[:, pairs[1]]
    spans = jnp.concatenate([tips, between], axis=1)
    distances = jnp.sqrt((spans**2).sum(axis=-1) + 1e-12)
    flat = points.reshape(-1, _POINTS)
    return jnp.concatenate([flat, distances, found[:, None]], axis=1)


def from_poses(points: Array, found: Array) -> Array:
    """Records of right hands in poses [B, 2, 21, 3], which `poses` gives back."""
    rest = jnp.zeros((len(points), RECORD - _POINTS)).at[:, 0].set(found)
    return jnp.concatenate([points.reshape(-1, _POINTS), rest], axis=1)


def straightness(points: Array) -> Array:
    """How straight each finger is: [..., 21, 3] -> [..., 5], 1 as a ruler.

    The distance from base to tip over the length of the bones between.
    """
    chains = points[..., FINGERS, :]
    bones = jnp.sqrt((jnp.diff(chains, axis=-2) ** 2).sum(axis=-1)).sum(axis=-1)
    span = chains[..., 3, :] - chains[..., 0, :]
    return jnp.sqrt((span**2).sum(axis=-1)) / jnp.maximum(bones, 1e-9)


def thumb_reach(points: Array) -> Array:
    """How far the thumb's tip is from the ring finger's knuckle, in `poses`' units."""
    span = points[..., TIPS[0], :] - points[..., KNUCKLES[2], :]
    return jnp.sqrt((span**2).sum(axis=-1))
