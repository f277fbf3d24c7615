"""Rotated squares against scipy and plain trigonometry in float64."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from signjax.hands.squares import (
    crop,
    square_of_landmarks,
    square_of_palm,
    to_picture,
)

SQUARES = np.array(
    [[20, 24, 16, 0], [25, 20, 30, 0.7], [3, 45, 40, -2.5], [24, 24, 48, np.pi / 2]],
    np.float32,
)


def matrix(angle: float) -> np.ndarray:
    """Turns (x, y), clockwise where y points down."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def test_a_crop_is_scipys() -> None:
    """Its edges go on too: the third square leaves the picture."""
    images = np.random.default_rng(0).integers(0, 256, (4, 48, 48, 3), np.uint8)
    found = crop(images, SQUARES, 12)
    middles = (np.arange(12) + 0.5) / 12 - 0.5
    x, y = np.meshgrid(middles, middles)
    for image, square, own in zip(images, SQUARES, found, strict=True):
        points = matrix(square[3]) @ np.stack([x.ravel(), y.ravel()]) * square[2]
        places = points + square[:2, None] - 0.5
        for channel in range(3):
            values = map_coordinates(
                image[..., channel] / 255.0, places[::-1], order=1, mode="nearest"
            )
            np.testing.assert_allclose(
                own[..., channel].ravel(), values, rtol=0, atol=2e-4
            )


def test_a_point_of_a_square_is_where_it_was_cut_from() -> None:
    points = np.array([[0.5, 0.5], [1.0, 0.5], [0.5, 0.0]], np.float32)
    found = to_picture(points, np.array([10, 20, 8, np.pi / 2], np.float32))
    np.testing.assert_allclose(found, [[10, 20], [10, 24], [14, 20]], atol=1e-5)


@pytest.mark.parametrize("angle", [0.0, 0.4, -1.2, 3.0])
def test_a_palms_square_turns_with_it(angle: float) -> None:
    """MediaPipe's: 2.6 times the longer side, up by half the height of the box."""
    palm = np.zeros(18, np.float32)
    palm[:4] = [50, 60, 10, 12]
    keypoints = palm[4:].reshape(7, 2)
    keypoints[0], keypoints[2] = (
        [50, 66],
        (np.array([50, 66]) + matrix(angle) @ np.array([0, -9])),
    )
    found = square_of_palm(palm)
    center = np.array([50, 60]) + matrix(angle) @ np.array([0, -6])
    np.testing.assert_allclose(found, [*center, 2.6 * 12, angle], rtol=1e-4)


@pytest.mark.parametrize("angle", [0.0, 1.0, -2.0])
def test_a_hands_square_turns_with_it(angle: float) -> None:
    """Twice the longer side of the box around all but the fingertips."""
    upright = np.random.default_rng(1).uniform(-10, 10, (21, 2))
    upright[0], upright[5], upright[9], upright[13] = (
        [0, 12],
        [-4, -8],
        [0, -9],
        [4, -8],
    )
    steady = upright[[0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]]
    low, high = steady.min(axis=0), steady.max(axis=0)
    center = (low + high) / 2 - [0, 0.1 * (high - low)[1]]
    points = upright @ matrix(angle).T + [40, 30]
    found = square_of_landmarks(points.astype(np.float32))
    wanted = matrix(angle) @ center + [40, 30]
    # The middle of the box is taken in the picture's own axes first: so is MediaPipe's.
    np.testing.assert_allclose(found[:2], wanted, atol=1e-3)
    np.testing.assert_allclose(found[2:], [2 * (high - low).max(), angle], rtol=1e-4)
