"""Pixels as files hold them, made what networks take."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np


def unpack_pixels(pixels: jax.Array) -> jax.Array:
    """uint8 [B, S, S, 3], or rows [B, S * S * 3] -> float32 [B, S, S, 3] in [0, 1]."""
    size = math.isqrt(math.prod(pixels.shape[1:]) // 3)
    return pixels.reshape(-1, size, size, 3).astype(jnp.float32) / 255.0


def normalizer(
    mean: Sequence[float], std: Sequence[float]
) -> Callable[[jax.Array], jax.Array]:
    """A function that takes the mean of each channel away and divides by its std."""
    means, stds = (np.asarray(x, np.float32).reshape(1, 1, 1, 3) for x in (mean, std))
    return lambda images: (images - means) / stds
