"""Bilinear resampling on the device, in the form that its kind runs fast.

A CPU reads the four pixels around each position: gathers cost it nothing beside the
rest. A TPU and a GPU gather pixel by pixel, padded to whole vectors, so there each
output pixel is a sum over all input pixels with the weights of a hat function, nearly
all of them 0: two products, along x and then along y, that matrix units do at once.
Both are equal to float32's rounding. The choice is made here, where the program is
lowered for a platform.
"""

from functools import partial, reduce
from operator import add

import jax
import jax.numpy as jnp

# Values of the first product that a device has in memory at a time; more is done in
# blocks of output pixels. 32 images of 64 x 64 pixels are one block.
_LARGEST = 32 * 64**2 * 64 * 3


def resample(
    images: jax.Array, y: jax.Array, x: jax.Array, device_count: int = 1
) -> jax.Array:
    """Values at positions inside each image: float [B, H, W, C] -> [B, P, C].

    y, x: float [B, P], in pixels, in [0, H - 1] and [0, W - 1]. device_count: of those
    that share the batch, so that each takes what it can at once.
    """
    products = partial(by_products, device_count=device_count)
    return jax.lax.platform_dependent(
        images, y, x, cpu=jax.vmap(by_gathers), default=products
    )


def by_gathers(image: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
    """Of one image, [H, W, C] -> [P, C], from the four pixels around each position."""
    height, width, channels = image.shape
    pixels = image.reshape(-1, channels)
    top, left = jnp.floor(y).astype(jnp.int32), jnp.floor(x).astype(jnp.int32)
    bottom = jnp.minimum(top + 1, height - 1)
    right = jnp.minimum(left + 1, width - 1)
    down, across = (y - top)[:, None], (x - left)[:, None]
    upper = pixels[top * width + left] * (1 - across)
    upper += pixels[top * width + right] * across
    lower = pixels[bottom * width + left] * (1 - across)
    lower += pixels[bottom * width + right] * across
    return upper * (1 - down) + lower * down


def by_products(
    images: jax.Array, y: jax.Array, x: jax.Array, device_count: int = 1
) -> jax.Array:
    """As `resample`, by products with hat weights."""
    count, height, width, channels = images.shape
    points = y.shape[1]

    def block(positions: tuple[jax.Array, jax.Array]) -> jax.Array:
        y, x = positions
        # HIGHEST: float32's bits, where products default to fewer (TPU).
        columns = jnp.einsum(
            "bpw,bhwc->bphc",
            _hat(x, width),
            images,
            precision=jax.lax.Precision.HIGHEST,
        )
        return jnp.sum(_hat(y, height)[..., None] * columns, axis=2)

    # Of how many images an exported program will be asked is not known.
    known = 1 if jax.export.is_symbolic_dim(count) else -(-count // device_count)
    blocks = max(1, known * points * height * channels // _LARGEST)
    while points % blocks:
        blocks += 1
    if blocks == 1:
        return block((y, x))
    # Along the pixels, which no mesh splits, and not along the batch.
    parts = jax.tree.map(lambda a: a.reshape(count, blocks, -1).swapaxes(0, 1), (y, x))
    return jax.lax.map(block, parts).swapaxes(0, 1).reshape(count, points, channels)


def _hat(positions: jax.Array, size: int) -> jax.Array:
    """Weights of `size` pixels at each position: float [..., size], 1 together."""
    shape = (*positions.shape, size)
    pixels = jax.lax.broadcasted_iota(positions.dtype, shape, positions.ndim)
    return jnp.maximum(0, 1 - jnp.abs(positions[..., None] - pixels))


def enlarge(images: jax.Array, height: int, width: int) -> jax.Array:
    """float [B, h, w, C] -> [B, height, width, C], bilinearly, edges going on.

    As jax.image.resize; off the CPU as sums, as Triton cannot tile a product of so few
    values (jax 0.10.2, CUDA).
    """
    shape = (len(images), height, width, images.shape[-1])
    return jax.lax.platform_dependent(
        images,
        cpu=lambda images: jax.image.resize(images, shape, "linear"),
        default=lambda images: _by_sums(_by_sums(images, height, 1), width, 2),
    )


def _by_sums(images: jax.Array, size: int, axis: int) -> jax.Array:
    knots = images.shape[axis]
    positions = jnp.clip((jnp.arange(size) + 0.5) * knots / size - 0.5, 0, knots - 1)
    shape = [1] * images.ndim
    shape[axis] = size
    weights = _hat(positions, knots)
    terms = (
        weights[:, knot].reshape(shape)
        * jax.lax.slice_in_dim(images, knot, knot + 1, axis=axis)
        for knot in range(knots)
    )
    return reduce(add, terms)
