"""Images of a batch mixed with one another, whose targets mix likewise."""

import jax
import jax.numpy as jnp

from signjax.data.occlude import boxes


def mix(
    images: jax.Array, key: jax.Array, *, mixup: float = 0.0, cutmix: float = 0.0
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(mixed images, partners int [B], shares float [B]).

    images: float [B, H, W, 3]. An image keeps shares[i] of itself, and the rest is of
    images[partners[i]]: blended (mixup, Zhang et al., arXiv:1710.09412) or in a box
    (cutmix, Yun et al., arXiv:1905.04899). shares are drawn from Beta(a, a), a being
    `mixup` or `cutmix`; with both, each image is mixed one way or the other.
    """
    count, height, width, _ = images.shape
    order_key, kind_key, up_key, cut_key, box_key = jax.random.split(key, 5)
    partners = jax.random.permutation(order_key, count)
    others = images[partners]
    if mixup:
        shares = jax.random.beta(up_key, mixup, mixup, (count,))
        kept = jnp.broadcast_to(shares[:, None, None, None], (count, height, width, 1))
    if cutmix:
        area = 1 - jax.random.beta(cut_key, cutmix, cutmix, (count,))
        outside = 1.0 - boxes(box_key, jnp.sqrt(area), jnp.sqrt(area), height, width)
        if mixup:
            cut = jax.random.bernoulli(kind_key, 0.5, (count, 1, 1, 1))
            kept = jnp.where(cut, outside, kept)
        else:
            kept = outside
    return kept * images + (1 - kept) * others, partners, kept.mean((1, 2, 3))
