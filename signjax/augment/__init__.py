"""Random changes of a batch of images, on the device."""

import jax
import jax.numpy as jnp

from signjax.augment.background import replace_background
from signjax.augment.color import color_jitter
from signjax.augment.geometry import random_views, warp
from signjax.augment.outliers import count_outliers, render_outliers

__all__ = ["augment", "count_outliers"]


def augment(
    images: jax.Array,
    key: jax.Array,
    *,
    background: float = 0.0,
    flip: bool = False,
    rotation: float = 0.0,
    scale: float = 0.0,
    translation: float = 0.0,
    perspective: float = 0.0,
    outlier_count: int = 0,
    device_count: int = 1,
    **color: float,
) -> jax.Array:
    """Each image changed in its own way, drawn from `key`.

    images: float [B, H, W, 3] in [0, 1]; the result too. Every range is symmetric and 0
    leaves that property as it is: see `random_views` for the geometry, `color_jitter`
    for the rest. background: see `replace_background`. outlier_count: so many images,
    the first, give way to out-of-distribution ones, see `render_outliers`.
    device_count: of those that share the batch.
    """
    geometry_key, color_key = jax.random.split(key)
    changed = images
    if background:
        changed = replace_background(changed, jax.random.fold_in(key, 2), background)
    if flip or rotation or scale or translation or perspective:
        matrices = random_views(
            geometry_key,
            images.shape[0],
            flip=flip,
            rotation=rotation,
            scale=scale,
            translation=translation,
            perspective=perspective,
        )
        changed = warp(changed, matrices, device_count)
    changed = color_jitter(changed, color_key, **color)
    if outlier_count:
        outliers = render_outliers(changed[:outlier_count], jax.random.fold_in(key, 3))
        changed = jnp.concatenate([outliers, changed[outlier_count:]])
    return changed
