"""Rotated squares of a picture: where a hand is, cut out, and mapped back.

A square is float [4]: x and y of its center and its side, in pixels from the picture's
upper left corner, and its angle in radians, clockwise as y points down. Constants are
MediaPipe's: palm_detection_detection_to_roi and hand_landmark_landmarks_to_roi, in
mediapipe/modules/hand_landmark.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array

from signjax.augment.resample import resample

# Of a palm's box: the side of the hand's square, and how far up it is moved.
PALM_SCALE, PALM_SHIFT = 2.6, 0.5
# Of a palm's seven keypoints and of a hand's 21 landmarks.
_PALM_WRIST, _PALM_MIDDLE = 0, 2
_WRIST, _INDEX, _MIDDLE, _RING = 0, 5, 9, 13
# The joints that a hand's square is laid around: without the fingertips, which move.
_STEADY = np.array([0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18])


def crop(images: Array, squares: Array, size: int) -> Array:
    """The squares upright: uint8 [B, S, S, 3], float [B, 4] -> [B, size, size, 3].

    Float32 in [0, 1], bilinear; beyond its edges a picture goes on as it ends there.
    """
    pixels = (jnp.arange(size) + 0.5) / size
    grid = jnp.stack(jnp.meshgrid(pixels, pixels), axis=-1).reshape(1, -1, 2)
    places = to_picture(jnp.broadcast_to(grid, (len(images), *grid.shape[1:])), squares)
    places = jnp.clip(places - 0.5, 0, images.shape[1] - 1)
    scaled = images.astype(jnp.float32) / 255
    found = resample(scaled, places[..., 1], places[..., 0])
    return found.reshape(len(images), size, size, 3)


def to_picture(points: Array, squares: Array) -> Array:
    """Points of squares, as shares of the side, in pixels: [..., P, 2] -> [..., P, 2].

    squares: [..., 4].
    """
    x, y = points[..., 0] - 0.5, points[..., 1] - 0.5
    center_x, center_y, side, angle = (squares[..., i, None] for i in range(4))
    cos, sin = side * jnp.cos(angle), side * jnp.sin(angle)
    return jnp.stack([center_x + x * cos - y * sin, center_y + x * sin + y * cos], -1)


def square_of_palm(palms: Array) -> Array:
    """The square of the whole hand of each palm: float [..., 18] -> [..., 4].

    palms: x, y, width and height of a box, and x and y of seven keypoints, in pixels.
    """
    points = palms[..., 4:].reshape(*palms.shape[:-1], 7, 2)
    angle = _upright(points[..., _PALM_WRIST, :], points[..., _PALM_MIDDLE, :])
    center, sides = palms[..., :2], palms[..., 2:4]
    return _around(center, sides, angle, scale=PALM_SCALE, shift=PALM_SHIFT)


def square_of_landmarks(points: Array) -> Array:
    """The square of each hand by its landmarks: float [..., 21, 2] -> [..., 4]."""
    knuckles = (points[..., _INDEX, :] + points[..., _RING, :]) / 2
    angle = _upright(points[..., _WRIST, :], (knuckles + points[..., _MIDDLE, :]) / 2)
    steady = points[..., _STEADY, :]
    middle = (steady.max(axis=-2) + steady.min(axis=-2)) / 2
    turned = _turn(steady - middle[..., None, :], -angle[..., None])
    low, high = turned.min(axis=-2), turned.max(axis=-2)
    center = middle + _turn((low + high) / 2, angle)
    return _around(center, high - low, angle, scale=2.0, shift=0.1)


def _upright(wrist: Array, knuckle: Array) -> Array:
    """The angle of a square with the knuckle right above the wrist, in [-pi, pi)."""
    x, y = (knuckle - wrist)[..., 0], (knuckle - wrist)[..., 1]
    angle = jnp.pi / 2 - jnp.arctan2(-y, x)
    return angle - 2 * jnp.pi * jnp.floor((angle + jnp.pi) / (2 * jnp.pi))


def _around(
    center: Array, sides: Array, angle: Array, *, scale: float, shift: float
) -> Array:
    """A square over the longer side, moved up its own axis by a share of the height."""
    up = jnp.stack([jnp.zeros_like(angle), -shift * sides[..., 1]], axis=-1)
    center = center + _turn(up, angle)
    side = scale * sides.max(axis=-1)
    return jnp.concatenate([center, side[..., None], angle[..., None]], axis=-1)


def _turn(points: Array, angle: Array) -> Array:
    x, y = points[..., 0], points[..., 1]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([x * cos - y * sin, x * sin + y * cos], axis=-1)
