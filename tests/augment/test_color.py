"""Light, colour and sharpness change as their ranges say, image by image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from signjax.augment.color import color_jitter

NAMES = (
    "brightness",
    "contrast",
    "saturation",
    "gamma",
    "tint",
    "lighting",
    "blur",
    "noise",
    "greyscale",
)
KEY = jax.random.key(5)


def apply(images: np.ndarray, key: jax.Array = KEY, **ranges: float) -> np.ndarray:
    return np.asarray(color_jitter(jnp.asarray(images), key, **ranges))


def random_images(count: int = 64, size: int = 12) -> np.ndarray:
    # Away from 0 and 1, where results are clipped.
    random = np.random.default_rng(0)
    return random.uniform(0.3, 0.6, (count, size, size, 3)).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_each_change_differs_between_images_and_stays_in_range(name: str) -> None:
    same = np.repeat(random_images(1), 64, axis=0)
    changed = apply(same, **{name: 0.5})
    assert changed.min() >= 0 and changed.max() <= 1
    assert len(np.unique(changed.reshape(64, -1), axis=0)) > 1


def test_brightness_is_one_factor_within_its_range() -> None:
    images = random_images()
    factors = apply(images, brightness=0.3) / images
    assert np.ptp(factors, axis=(1, 2, 3)).max() < 1e-5
    means = factors.mean((1, 2, 3))
    assert 0.7 <= means.min() < 0.8 and 1.2 < means.max() <= 1.3


def test_contrast_keeps_the_mean_and_scales_the_spread() -> None:
    images = random_images()
    changed = apply(images, contrast=0.4)
    axes = (1, 2, 3)
    np.testing.assert_allclose(changed.mean(axes), images.mean(axes), atol=1e-5)
    factors = changed.std(axes) / images.std(axes)
    assert 0.6 <= factors.min() < 0.75 and 1.25 < factors.max() <= 1.4001


def test_saturation_keeps_the_grey_and_scales_the_colour() -> None:
    images = random_images()
    changed = apply(images, saturation=0.5)
    np.testing.assert_allclose(changed.mean(-1), images.mean(-1), atol=1e-5)
    factors = (changed - changed.mean(-1, keepdims=True)).std((1, 2, 3)) / (
        images - images.mean(-1, keepdims=True)
    ).std((1, 2, 3))
    assert 0.5 <= factors.min() < 0.65 and 1.35 < factors.max() <= 1.5001


def test_greyscale_drains_its_share_of_the_images() -> None:
    images = random_images(400)
    changed = apply(images, greyscale=0.25)
    grey = np.ptp(changed, axis=-1).max((1, 2)) < 1e-6
    assert 70 <= grey.sum() <= 130  # 100 expected, standard deviation 9
    np.testing.assert_array_equal(changed[~grey], images[~grey])


def test_gamma_is_one_power_of_each_image() -> None:
    images = random_images()
    powers = np.log(apply(images, gamma=0.4)) / np.log(images)
    assert np.ptp(powers, axis=(1, 2, 3)).max() < 1e-3
    means = np.log(powers.mean((1, 2, 3)))
    assert -0.4 <= means.min() < -0.3 and 0.3 < means.max() <= 0.4


def test_tint_is_a_factor_for_each_channel() -> None:
    images = random_images()
    factors = apply(images, tint=0.2) / images
    assert np.ptp(factors, axis=(1, 2)).max() < 1e-5
    gains = factors.mean((1, 2))
    assert 0.8 <= gains.min() < 0.85 and 1.15 < gains.max() <= 1.2
    assert np.ptp(gains, axis=-1).max() > 0.1


def test_light_falls_off_smoothly_across_the_image() -> None:
    images = np.full((64, 16, 16, 3), 0.4, np.float32)
    factors = apply(images, lighting=0.4) / images
    assert np.ptp(factors, axis=-1).max() < 1e-6  # the same for every channel
    steps = np.abs(np.diff(factors, axis=1)).max()
    assert steps < 0.4 * (2 / 15 + 2 * 2 / 15) + 1e-5  # slope of side plus corners
    assert np.ptp(factors, axis=(1, 2, 3)).max() > 0.4


def test_blur_is_the_binomial_kernel_or_its_inverse() -> None:
    images = random_images()
    changed = apply(images, blur=1.0)
    padded = np.pad(images.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)), "edge")
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    size = images.shape[1]
    smooth = sum(
        kernel[i, j] * padded[:, i : i + size, j : j + size]
        for i in range(3)
        for j in range(3)
    )
    amount = ((changed - images) * (smooth - images)).sum((1, 2, 3)) / (
        (smooth - images) ** 2
    ).sum((1, 2, 3))
    expected = images + amount[:, None, None, None] * (smooth - images)
    np.testing.assert_allclose(changed, expected, atol=1e-5)
    assert -1 <= amount.min() < -0.8 and 0.8 < amount.max() <= 1


def test_noise_has_no_mean_and_is_bounded() -> None:
    images = np.full((64, 32, 32, 3), 0.5, np.float32)
    grain = apply(images, noise=0.2) - images
    assert np.abs(grain).max() <= 0.2 and np.abs(grain).max() > 0.15
    assert np.abs(grain.mean((1, 2, 3))).max() < 0.01
