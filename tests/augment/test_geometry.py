"""Augmentation does what its ranges say, to each image on its own."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from signjax.augment import augment
from signjax.augment.geometry import warp

ALL = {
    "flip": True,
    "rotation": 20.0,
    "scale": 0.2,
    "translation": 0.1,
    "perspective": 0.2,
    "brightness": 0.3,
    "contrast": 0.3,
    "saturation": 0.3,
}
KEY = jax.random.key(3)


def apply(images: np.ndarray, key: jax.Array = KEY, **ranges: float) -> np.ndarray:
    return np.asarray(jax.jit(partial(augment, **ranges))(images, key))  # type: ignore[arg-type]


def random_images(count: int = 8, size: int = 16) -> np.ndarray:
    return np.random.default_rng(0).random((count, size, size, 3), np.float32)


def copies(count: int, size: int = 16) -> np.ndarray:
    return np.repeat(random_images(1, size), count, axis=0)


def sample(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Bilinear resampling, pixel by pixel in float64."""
    height, width, _ = image.shape
    image = image.astype(np.float64)
    result = np.empty_like(image)
    for row in range(height):
        for column in range(width):
            y = (row - (height - 1) / 2) / (height / 2)
            x = (column - (width - 1) / 2) / (width / 2)
            y, x, depth = matrix @ (y, x, 1.0)
            y, x = y / depth, x / depth
            y = min(max(y * height / 2 + (height - 1) / 2, 0.0), height - 1.0)
            x = min(max(x * width / 2 + (width - 1) / 2, 0.0), width - 1.0)
            total = np.zeros(3)
            for i in (math.floor(y), math.floor(y) + 1):
                for j in (math.floor(x), math.floor(x) + 1):
                    weight = max(0.0, 1 - abs(y - i)) * max(0.0, 1 - abs(x - j))
                    if weight:
                        total += weight * image[i, j]
            result[row, column] = total
    return result


def dot(size: int, y: int, x: int, count: int) -> np.ndarray:
    """Black images with a white 3 x 3 patch whose centre is at (y, x)."""
    images = np.zeros((count, size, size, 3), np.float32)
    images[:, y - 1 : y + 2, x - 1 : x + 2] = 1
    return images


def centres(images: np.ndarray) -> np.ndarray:
    """float64 [B, 2]: where each image's light is centred, (y, x) from its middle."""
    light = images.astype(np.float64).mean(-1)
    steps = np.arange(light.shape[1]) - (light.shape[1] - 1) / 2
    mass = light.sum((1, 2))
    y = (light.sum(2) * steps).sum(1) / mass
    x = (light.sum(1) * steps).sum(1) / mass
    return np.stack([y, x], -1)


def test_without_ranges_nothing_changes() -> None:
    images = random_images()
    assert np.array_equal(apply(images), images)


def test_flip_mirrors_about_half_of_the_images_left_to_right() -> None:
    images = random_images(200)
    flipped = apply(images, flip=True)
    unchanged = np.isclose(flipped, images, atol=1e-5).all((1, 2, 3))
    mirrored = np.isclose(flipped, images[:, :, ::-1], atol=1e-5).all((1, 2, 3))
    assert (unchanged ^ mirrored).all()
    assert 70 <= mirrored.sum() <= 130  # 100 +- 4 standard deviations


def test_warp_is_bilinear_with_the_border_going_on() -> None:
    images = random_images(4, 12)
    angle = 0.4
    matrices = np.array(
        [
            [[1, 0, 0.3], [0, 1, -0.2], [0, 0, 1]],
            [
                [np.cos(angle), -np.sin(angle), 0],
                [np.sin(angle), np.cos(angle), 0],
                [0, 0, 1],
            ],
            [[0.7, 0.1, 1.5], [0.2, -1.3, 0.1], [0, 0, 1]],
            [[0.9, 0.1, 0.1], [-0.2, 1.1, 0], [0.3, -0.4, 1]],
        ]
    )
    found = warp(jnp.asarray(images), jnp.asarray(matrices, jnp.float32))
    for image, matrix, result in zip(images, matrices, found, strict=True):
        np.testing.assert_allclose(result, sample(image, matrix), atol=2e-5)


def test_warp_knows_height_from_width() -> None:
    image = np.random.default_rng(1).random((1, 6, 10, 3), np.float32)
    matrix = np.array([[[0.9, 0.1, 0.2], [-0.2, 0.8, 0.1], [0.1, 0.2, 1]]])
    (found,) = warp(jnp.asarray(image), jnp.asarray(matrix, jnp.float32))
    np.testing.assert_allclose(found, sample(image[0], matrix[0]), atol=2e-5)


def test_rotation_is_in_degrees_both_ways_and_keeps_distances() -> None:
    turned = centres(apply(dot(64, 32, 56, 400), rotation=30.0))
    start = centres(dot(64, 32, 56, 1))[0]
    angles = np.rad2deg(np.arctan2(turned[:, 0], turned[:, 1]))
    angles -= np.rad2deg(np.arctan2(start[0], start[1]))
    assert np.abs(angles).max() < 30.5
    assert angles.max() > 28
    assert angles.min() < -28
    np.testing.assert_allclose(np.hypot(*turned.T), np.hypot(*start), atol=0.1)


def test_scale_is_the_logarithm_of_the_zoom() -> None:
    scaled = centres(apply(dot(64, 32, 48, 400), scale=0.3))
    logarithms = np.log(scaled[:, 1] / centres(dot(64, 32, 48, 1))[0, 1])
    assert np.abs(logarithms).max() < 0.32
    assert logarithms.max() > 0.27
    assert logarithms.min() < -0.27


def test_translation_is_a_share_of_the_side_in_each_direction() -> None:
    moved = centres(apply(dot(64, 32, 32, 400), translation=0.25))
    moved = (moved - centres(dot(64, 32, 32, 1))) / 64
    assert np.abs(moved).max() < 0.251
    assert (moved.max(0) > 0.24).all()
    assert (moved.min(0) < -0.24).all()
    correlations = np.asarray(np.corrcoef(moved.T))
    assert abs(correlations[0, 1]) < 0.2


def test_perspective_brings_one_edge_nearer_and_takes_the_other_farther() -> None:
    # Two dots, left and right of the middle, a little over half way to the edges.
    apart = np.maximum(dot(64, 32, 15, 400), dot(64, 32, 48, 400))
    seen = apply(apart, perspective=0.3)
    left, right = seen.copy(), seen.copy()
    left[:, :, 32:], right[:, :, :32] = 0, 0
    left_x, right_x = centres(left)[:, 1], centres(right)[:, 1]
    # What lies at x is seen at u, where u / (1 + p u) is x: at x / (1 - p x). So the
    # right one comes 1 / (1 - p x) times as far from the middle, the left one
    # 1 / (1 + p x) times.
    x = 16.5 / 32
    most = np.log((1 + 0.3 * x) / (1 - 0.3 * x))
    found = np.log(right_x / -left_x)
    assert np.abs(found).max() < 1.05 * most
    assert found.max() > 0.9 * most
    assert found.min() < -0.9 * most
    # The middle stays.
    middle = centres(apply(dot(65, 32, 32, 100), perspective=0.3))
    assert np.abs(middle).max() < 0.2


def test_light_and_background_are_changed_too() -> None:
    hands = np.full((4, 16, 16, 3), 0.7, np.float32)
    hands[:, 8:, 4:12] = 0.72, 0.52, 0.42  # skin before a wall
    for name in ("background", "gamma", "tint", "lighting", "noise"):
        assert not np.array_equal(apply(hands, **{name: 1.0}), hands), name
    images = random_images()
    for name in ("blur", "greyscale"):
        assert not np.array_equal(apply(images, **{name: 1.0}), images), name


@pytest.mark.parametrize("name", ALL)
def test_every_image_gets_its_own_draw(name: str) -> None:
    changed = apply(copies(16), **{name: ALL[name]})
    distinct = len(np.unique(changed.reshape(16, -1), axis=0))
    assert distinct == (2 if name == "flip" else 16)


def test_the_key_decides() -> None:
    images = random_images()
    first = apply(images, **ALL)
    assert np.array_equal(first, apply(images, **ALL))
    assert not np.array_equal(first, apply(images, jax.random.key(4), **ALL))


def test_the_result_stays_an_image() -> None:
    extremes = np.random.default_rng(0).integers(0, 2, (64, 16, 16, 3))
    changed = apply(extremes.astype(np.float32), **ALL)
    assert changed.dtype == np.float32
    assert changed.shape == extremes.shape
    assert changed.min() >= 0.0
    assert changed.max() <= 1.0
