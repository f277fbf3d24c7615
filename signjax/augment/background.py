"""Other backgrounds behind hands that were photographed before a plain grey wall."""

import jax
import jax.numpy as jnp

from signjax.augment.resample import enlarge

# Skin has more red than blue for its brightness, a grey wall and its shadows do not.
# Of `warmth` below on the 1,080 SIGNS training images: the upper eighth of an image,
# wall, has a median of 0.006-0.030; pixels above 0.09, skin, have 0.105, 0.180 and
# 0.274 at 5%, 50% and 95%; 5.5% of all pixels lie between these two bounds.
_WALL, _SKIN = 0.06, 0.12
# The least share of skin in a picture of a hand: all of those images but one without
# colour have 0.119 or more.
_LEAST_HAND = 0.05


def matte(images: jax.Array) -> jax.Array:
    """How much of each pixel is hand: float [B, H, W, 3] in [0, 1] -> [B, H, W, 1]."""
    red, blue = images[..., :1], images[..., 2:]
    warmth = (red - blue) / (images.sum(-1, keepdims=True) + 0.1)
    return jnp.clip((warmth - _WALL) / (_SKIN - _WALL), 0, 1)


def replace_background(images: jax.Array, key: jax.Array, share: float) -> jax.Array:
    """Puts a drawn background behind `share` of the hands.

    images: float [B, H, W, 3] in [0, 1]. An image whose upper edge is not grey wall
    keeps its own background, as it cannot be told from the hand; so does one with no
    skin in it, such as one without colour.
    """
    count, height, width, _ = images.shape
    choice, drawing = jax.random.split(key)
    hand = matte(images)
    wall = hand[:, : height // 8].mean((1, 2, 3)) < 0.15
    skin = hand.mean((1, 2, 3)) > _LEAST_HAND
    chosen = jax.random.bernoulli(choice, share, (count,)) & wall & skin
    hand = jnp.where(chosen[:, None, None, None], hand, 1)
    return hand * images + (1 - hand) * render_backgrounds(
        drawing, count, height, width
    )


def render_backgrounds(
    key: jax.Array, count: int, height: int, width: int
) -> jax.Array:
    """Walls, skies and clutter out of focus: float [count, height, width, 3], 0-1."""
    base_key, colour_key, vivid_key, cloud_key, size_key = jax.random.split(key, 5)
    base = jax.random.uniform(base_key, (count, 1, 1, 1))
    # Most walls are nearly grey.
    vivid = jax.random.uniform(vivid_key, (count, 1, 1, 1)) ** 3
    colour = jax.random.uniform(colour_key, (count, 1, 1, 3), minval=-0.5, maxval=0.5)
    knots = jax.random.uniform(cloud_key, (count, 4, 4, 3), minval=-0.5, maxval=0.5)
    grey = knots.mean(-1, keepdims=True) * 1.7
    clouds = enlarge(grey + vivid * (knots - grey), height, width)
    strength = jax.random.uniform(size_key, (count, 1, 1, 1)) ** 2
    return jnp.clip(base + vivid * colour + 1.2 * strength * clouds, 0, 1)
