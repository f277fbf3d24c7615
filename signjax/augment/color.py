"""Random changes of light, colour and sharpness of a batch of images."""

import jax
import jax.numpy as jnp


def color_jitter(
    images: jax.Array,
    key: jax.Array,
    *,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    gamma: float = 0.0,
    tint: float = 0.0,
    lighting: float = 0.0,
    blur: float = 0.0,
    noise: float = 0.0,
    greyscale: float = 0.0,
) -> jax.Array:
    """Each image under another light, by another camera.

    images: float [B, H, W, 3] in [0, 1]; the result too. 0 leaves that property as it
    is. brightness, contrast, saturation, tint (of each channel) and lighting (from
    edge to edge, and in the corners) are a factor's distance from 1, gamma is the
    logarithm of a power, blur the share of a 3x3 blur that is mixed in or taken away
    (which sharpens), noise an amplitude, greyscale the share of images that lose
    their colour.
    """
    count = images.shape[0]
    factors = jax.random.uniform(key, (3, count, 1, 1, 1), minval=-1.0, maxval=1.0)
    keys = [jax.random.fold_in(key, number) for number in range(5)]
    draws = jax.random.uniform(keys[0], (3, count, 1, 1, 1), minval=-1.0, maxval=1.0)
    if lighting:
        images = images * _light(keys[1], lighting, images.shape)
    if tint:
        gains = jax.random.uniform(keys[2], (count, 1, 1, 3), minval=-1.0, maxval=1.0)
        images = images * (1 + tint * gains)
    if brightness:
        images = images * (1 + brightness * factors[0])
    if contrast:
        mean = images.mean(axis=(1, 2, 3), keepdims=True)
        images = mean + (images - mean) * (1 + contrast * factors[1])
    grey = images.mean(axis=-1, keepdims=True)
    if saturation:
        images = grey + (images - grey) * (1 + saturation * factors[2])
    if greyscale:
        drained = jax.random.bernoulli(keys[3], greyscale, (count, 1, 1, 1))
        images = jnp.where(drained, grey, images)
    images = jnp.clip(images, 0.0, 1.0)
    if gamma:
        images = images ** jnp.exp(gamma * draws[0])
    if blur:
        images = images + blur * draws[1] * (_smooth(images) - images)
    if noise:
        grain = jax.random.uniform(keys[4], images.shape, minval=-1.0, maxval=1.0)
        # Most cameras are better than the worst.
        images = images + noise * draws[2] ** 2 * grain
    return jnp.clip(images, 0.0, 1.0)


def _light(key: jax.Array, strength: float, shape: tuple[int, ...]) -> jax.Array:
    """A factor for each pixel, [B, H, W, 1]: light from a side, darker corners."""
    count, height, width, _ = shape
    y = jnp.linspace(-1, 1, height).reshape(1, -1, 1, 1)
    x = jnp.linspace(-1, 1, width).reshape(1, 1, -1, 1)
    draws = jax.random.uniform(key, (3, count, 1, 1, 1), minval=-1.0, maxval=1.0)
    side = draws[0] * y + draws[1] * x
    corners = jnp.maximum(draws[2], 0) * (x**2 + y**2)
    return jnp.clip(1 + strength * (side - corners), 0.1, 2)


def _smooth(images: jax.Array) -> jax.Array:
    """Blurred by the binomial kernel [1 2 1] / 4 along both axes, edges going on."""
    for axis in (1, 2):
        margins = [(0, 0)] * 4
        margins[axis] = (1, 1)
        padded = jnp.pad(images, margins, mode="edge")
        size = images.shape[axis]
        left, middle, right = (
            jax.lax.slice_in_dim(padded, i, i + size, axis=axis) for i in range(3)
        )
        images = (left + 2 * middle + right) / 4
    return images
