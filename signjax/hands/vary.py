"""Random changes of a batch of hands, and hands whose pose is no digit."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from signjax.hands.pose import (
    FINGERS,
    PRESENCE,
    from_poses,
    poses,
    straightness,
    thumb_reach,
    upright,
)

# What a finger must be for others to take it as stretched or as curled.
_STRETCHED, _CURLED = 0.85, 0.7
_OUT, _FOLDED = 0.85, 0.7  # of the thumb: how far it reaches

# Thumb out, index, middle, ring and little finger stretched: what digits show. Those of
# 6 to 9, whose thumb touches a finger, are left out with a folded thumb alone.
_DIGITS = {
    (0, 1, 0, 0, 0), (0, 1, 1, 0, 0), (1, 1, 1, 0, 0), (0, 1, 1, 1, 1),
    (1, 1, 1, 1, 1), (0, 1, 1, 1, 0), (0, 1, 1, 0, 1), (0, 1, 0, 1, 1),
    (0, 0, 1, 1, 1),
}  # fmt: skip
NO_DIGITS = np.array([p for p in product((0, 1), repeat=5) if p not in _DIGITS], bool)


def vary(
    records: Array, key: Array, *, rotation: float, noise: float, outlier_count: int
) -> Array:
    """Each hand's pose changed in its own way, drawn from `key`; float32 [B, 133].

    The result's hands are right and upright, see `pose.poses`. rotation: degrees, up to
    which a hand is tilted either way about both axes of the picture. noise: standard
    deviation of each coordinate, in units of the palm. outlier_count: so many hands,
    the first, give way to poses that are no digit: half of them have the fingers of
    several hands, see `NO_DIGITS`, the others stand between two poses.
    """
    tilt_key, noise_key, mix_key, between_key = jax.random.split(key, 4)
    points, found = poses(records), records[:, PRESENCE]
    if outlier_count:
        half = outlier_count // 2
        mixed = mix_fingers(points, mix_key, outlier_count - half)
        between = stand_between(points, between_key, half)
        rest = points[outlier_count:]
        points = jnp.concatenate([mixed, between, rest])
        found = jnp.concatenate([jnp.ones(outlier_count), found[outlier_count:]])
    limit = jnp.deg2rad(rotation)
    angles = jax.random.uniform(tilt_key, (2, len(points)), minval=-limit, maxval=limit)
    points = tilt(points, *angles)
    points += noise * jax.random.normal(noise_key, points.shape)
    return from_poses(upright(points), found)


def tilt(points: Array, about_x: Array, about_y: Array) -> Array:
    """[B, 2, 21, 3], each turned out of the picture's plane by two angles, [B]."""
    x, y, z = (points[..., i] for i in range(3))
    cos, sin = (f(about_x)[:, None, None] for f in (jnp.cos, jnp.sin))
    y, z = y * cos - z * sin, y * sin + z * cos
    cos, sin = (f(about_y)[:, None, None] for f in (jnp.cos, jnp.sin))
    return jnp.stack([x * cos + z * sin, y, z * cos - x * sin], axis=-1)


def fingers_of(points: Array) -> tuple[Array, Array]:
    """Which fingers, thumb first, are stretched (out) and curled (folded): bool [B, 5].

    points: [B, 21, 3], of the world. A finger may be neither.
    """
    straight, reach = straightness(points)[:, 1:], thumb_reach(points)[:, None]
    stretched = jnp.concatenate([reach > _OUT, straight > _STRETCHED], axis=1)
    curled = jnp.concatenate([reach < _FOLDED, straight < _CURLED], axis=1)
    return stretched, curled


def mix_fingers(points: Array, key: Array, count: int) -> Array:
    """`count` hands with fingers of others, in poses of NO_DIGITS; [B, 2, 21, 3].

    A finger is taken from its base on, so it stands where the hand's own stood. Where
    no hand of the batch has one that suits, any other stands in.
    """
    pattern_key, finger_key, hand_key = jax.random.split(key, 3)
    chosen = jax.random.randint(pattern_key, (count,), 0, len(NO_DIGITS))
    wanted = jnp.asarray(NO_DIGITS)[chosen]
    stretched, curled = fingers_of(points[:, 1])
    suits = jnp.where(wanted[:, None], stretched[None], curled[None])
    lots = jax.random.uniform(finger_key, suits.shape)
    donors = jnp.argmax(lots + suits, axis=1)
    hands = points[jax.random.randint(hand_key, (count,), 0, len(points))]
    for finger, joints in enumerate(FINGERS):
        given = points[donors[:, finger]][:, :, joints]
        moved = given - given[:, :, :1] + hands[:, :, joints[:1]]
        hands = hands.at[:, :, joints].set(moved)
    return hands


def stand_between(points: Array, key: Array, count: int) -> Array:
    """`count` poses between two hands that differ in a finger; [B, 2, 21, 3]."""
    hand_key, other_key, share_key = jax.random.split(key, 3)
    own = jax.random.randint(hand_key, (count,), 0, len(points))
    stretched, curled = fingers_of(points[:, 1])
    differ = (stretched[own][:, None] & curled[None]).any(axis=-1)
    lots = jax.random.uniform(other_key, differ.shape)
    other = jnp.argmax(lots + differ, axis=1)
    share = jax.random.uniform(share_key, (count, 1, 1, 1), minval=0.4, maxval=0.6)
    return share * points[own] + (1 - share) * points[other]
