"""Bilinear resampling against SciPy, and its implementations against each other."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from signjax.augment import resample
from signjax.augment.geometry import random_views, warp

RNG = np.random.default_rng(0)


def by_scipy(images: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """float64 [B, P, C]: order 1 is bilinear."""
    return np.stack(
        [
            np.stack(
                [
                    ndimage.map_coordinates(image[..., c], positions, order=1)
                    for c in range(image.shape[-1])
                ],
                -1,
            )
            for image, *positions in zip(np.float64(images), y, x, strict=True)
        ]
    )


@pytest.mark.parametrize(
    "function", [resample.resample, jax.vmap(resample.by_gathers), resample.by_products]
)
@pytest.mark.parametrize("shape", [(3, 9, 16, 3), (2, 1, 5, 1)])
def test_every_implementation_is_bilinear(function, shape) -> None:
    images = RNG.random(shape, np.float32)
    y, x = (RNG.uniform(0, side - 1, (shape[0], 50)) for side in shape[1:3])
    y, x = (np.float32(np.append(p, np.rint(p[:, :5]), axis=1)) for p in (y, x))
    found = jax.jit(function)(images, y, x)
    np.testing.assert_allclose(found, by_scipy(images, y, x), atol=2e-6)


def test_products_in_blocks_are_those_at_once(monkeypatch) -> None:
    images = RNG.random((4, 8, 8, 3), np.float32)
    y, x = (np.float32(RNG.uniform(0, 7, (4, 48))) for _ in range(2))
    whole = resample.by_products(images, y, x)
    monkeypatch.setattr(resample, "_LARGEST", 4 * 8 * 3 * 7)
    assert "scan" in str(jax.make_jaxpr(resample.by_products)(images, y, x))
    np.testing.assert_allclose(
        resample.by_products(images, y, x), whole, rtol=0, atol=1e-7
    )
    of_one = partial(resample.by_products, device_count=4)  # an image
    assert "scan" not in str(jax.make_jaxpr(of_one)(images, y, x))


@pytest.mark.parametrize("size", [(8, 12), (64, 64), (4, 4)])
def test_enlarging_by_sums_is_jax_image_resize(size: tuple[int, int]) -> None:
    images = RNG.random((2, 4, 4, 3), np.float32)
    expected = jax.image.resize(images, (2, *size, 3), "linear")
    found = resample._by_sums(
        resample._by_sums(jnp.asarray(images), size[0], 1), size[1], 2
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(
        resample.enlarge(jnp.asarray(images), *size), expected
    )


@pytest.mark.parametrize("platform", ["tpu", "cuda", "rocm"])
def test_off_the_cpu_a_warp_gathers_no_pixels(platform: str) -> None:
    def changed(images: jax.Array, key: jax.Array) -> jax.Array:
        views = random_views(
            key, 4, flip=True, rotation=9.0, scale=0.1, translation=0.1, perspective=0.1
        )
        return resample.enlarge(warp(images, views), 16, 16)

    traced = jax.jit(changed).trace(jnp.zeros((4, 8, 8, 3)), jax.random.key(0))
    assert "gather" not in traced.lower(lowering_platforms=(platform,)).as_text()
    assert "gather" in traced.lower(lowering_platforms=("cpu",)).as_text()
