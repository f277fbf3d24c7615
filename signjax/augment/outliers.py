"""Out-of-distribution images for outlier exposure (Hendrycks et al., arXiv:1812.04606).

Trained on nothing but hands, a network is as confident of a wall or a cat as of a hand.
Images of none, whose target is uniform over the classes, teach it not to be.
"""

import jax
import jax.numpy as jnp

from signjax.augment.background import render_backgrounds

_BLOCKS = 4  # a side, that a jumbled image is cut into
_WAVES, _SHAPES = 3, 6


def count_outliers(outlier_fraction: float, batch_size: int) -> int:
    """How many images of each batch are made out-of-distribution; 1 if any."""
    return max(1, round(outlier_fraction * batch_size)) if outlier_fraction else 0


def render_outliers(images: jax.Array, key: jax.Array) -> jax.Array:
    """As many images without a hand as `images`: float [B, H, W, 3] in [0, 1].

    Each is one of four, drawn from `key`: a wall or clutter, a texture of waves, shapes
    of plain colors, or its own image cut into 4 x 4 blocks and jumbled, which has all
    of a hand but its shape. H and W are multiples of 4.
    """
    kind_key, wall_key, wave_key, shape_key, jumble_key = jax.random.split(key, 5)
    count, height, width, _ = images.shape
    size = (count, height, width)
    kinds = jnp.stack(
        [
            render_backgrounds(wall_key, *size),
            _waves(wave_key, *size),
            _shapes(shape_key, *size),
            _jumble(images, jumble_key),
        ]
    )
    kind = jax.random.randint(kind_key, (count,), 0, len(kinds))
    return kinds[kind, jnp.arange(count)]


def _waves(key: jax.Array, count: int, height: int, width: int) -> jax.Array:
    """Sums of waves of random length, direction and color about a random color."""
    base_key, wave_key, color_key = jax.random.split(key, 3)
    y, x = _grid(height, width)
    length, angle, phase = jax.random.uniform(wave_key, (3, count, _WAVES, 1, 1))
    turns = jnp.pi * jnp.exp(3 * length)  # 1 to 20 half waves over half the canvas
    angle = jnp.pi * angle
    way = y[None] * jnp.sin(angle) + x[None] * jnp.cos(angle)
    waves = jnp.sin(turns * way + 2 * jnp.pi * phase)
    colors = jax.random.uniform(color_key, (count, _WAVES, 3), minval=-0.3, maxval=0.3)
    base = jax.random.uniform(base_key, (count, 1, 1, 3))
    return jnp.clip(base + jnp.einsum("nkhw,nkc->nhwc", waves, colors), 0, 1)


def _shapes(key: jax.Array, count: int, height: int, width: int) -> jax.Array:
    """Ellipses and boxes of plain colors, one over another, on a wall or clutter."""
    wall_key, place_key, size_key, form_key, color_key = jax.random.split(key, 5)
    place = jax.random.uniform(place_key, (_SHAPES, 3, count, 1, 1), minval=-1.0)
    size = jax.random.uniform(
        size_key, (_SHAPES, 2, count, 1, 1), minval=0.1, maxval=0.6
    )
    boxes = jax.random.bernoulli(form_key, 0.5, (_SHAPES, count, 1, 1))
    colors = jax.random.uniform(color_key, (_SHAPES, count, 1, 1, 3))
    y, x = _grid(height, width)
    canvas = render_backgrounds(wall_key, count, height, width)
    for (top, left, turn), (tall, wide), box, color in zip(
        place, size, boxes, colors, strict=True
    ):
        cos, sin = jnp.cos(jnp.pi * turn), jnp.sin(jnp.pi * turn)
        down = jnp.abs(cos * (y - top) + sin * (x - left)) / tall
        across = jnp.abs(cos * (x - left) - sin * (y - top)) / wide
        inside = jnp.where(box, jnp.maximum(down, across), jnp.hypot(down, across)) < 1
        canvas = jnp.where(inside[..., None], color, canvas)
    return canvas


def _jumble(images: jax.Array, key: jax.Array) -> jax.Array:
    """Each image cut into _BLOCKS x _BLOCKS blocks, which change places."""
    count, height, width, channels = images.shape
    tall, wide = height // _BLOCKS, width // _BLOCKS
    blocks = images.reshape(count, _BLOCKS, tall, _BLOCKS, wide, channels)
    blocks = blocks.swapaxes(2, 3).reshape(count, _BLOCKS**2, tall, wide, channels)
    jumbled = jax.vmap(jax.random.permutation)(jax.random.split(key, count), blocks)
    rows = jumbled.reshape(count, _BLOCKS, _BLOCKS, tall, wide, channels)
    return rows.swapaxes(2, 3).reshape(images.shape)


def _grid(height: int, width: int) -> tuple[jax.Array, jax.Array]:
    """y [1, H, 1] and x [1, 1, W], from -1 to 1."""
    y, x = jnp.linspace(-1, 1, height), jnp.linspace(-1, 1, width)
    return y[None, :, None], x[None, None]
