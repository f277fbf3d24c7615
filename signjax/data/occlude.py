"""Parts of images hidden."""

import jax
import jax.numpy as jnp


def boxes(
    key: jax.Array, tall: jax.Array, wide: jax.Array, height: int, width: int
) -> jax.Array:
    """Where a box lies in each image: 0 or 1, float [B, height, width, 1].

    tall, wide: float [B], shares of the sides. The centre is anywhere in the image, so
    a part of the box may lie outside.
    """
    centre = jax.random.uniform(key, (2, len(tall), 1, 1, 1))
    y = (jnp.arange(height).reshape(1, -1, 1, 1) + 0.5) / height
    x = (jnp.arange(width).reshape(1, 1, -1, 1) + 0.5) / width
    down = jnp.abs(y - centre[0]) < tall.reshape(-1, 1, 1, 1) / 2
    across = jnp.abs(x - centre[1]) < wide.reshape(-1, 1, 1, 1) / 2
    return (down & across).astype(jnp.float32)


def cutout(images: jax.Array, key: jax.Array, side: float) -> jax.Array:
    """A box of one colour over each image (DeVries and Taylor, arXiv:1708.04552).

    images: float [B, H, W, 3] in [0, 1]; the result too. side: the most that the box
    may be high or wide, as a share of the image's.
    """
    count, height, width, _ = images.shape
    size_key, place_key, colour_key = jax.random.split(key, 3)
    tall, wide = side * jax.random.uniform(size_key, (2, count))
    colours = jax.random.uniform(colour_key, (count, 1, 1, 3))
    box = boxes(place_key, tall, wide, height, width)
    return (1 - box) * images + box * colours
