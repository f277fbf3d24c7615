"""Random changes of a batch of images, in jnp, inside the jitted train step."""

import jax
import jax.numpy as jnp
import numpy as np

from signjax.augment.resample import resample


def random_views(
    key: jax.Array,
    count: int,
    *,
    flip: bool,
    rotation: float,
    scale: float,
    translation: float,
    perspective: float,
) -> jax.Array:
    """float [count, 3, 3], drawn from `key`: output -> input position, see `warp`.

    flip mirrors half of the images. rotation: degrees. scale: a factor's logarithm.
    translation: a share of the side. perspective, below 0.5: the share by which an edge
    comes nearer than the middle or goes farther. Each is at most so much either way.
    """
    flip_key, range_key = jax.random.split(key)
    draws = jax.random.uniform(range_key, (4, count), minval=-1.0, maxval=1.0)
    angle = jnp.deg2rad(rotation) * draws[0]
    zoom = jnp.exp(scale * draws[1])
    sign = jnp.where(jax.random.bernoulli(flip_key, 0.5 * flip, (count,)), -1.0, 1.0)
    # Positions run over [-1, 1], twice the side's share that translation speaks of.
    shift = 2 * translation * draws[2:]
    cos, sin = zoom * jnp.cos(angle), zoom * jnp.sin(angle)
    tilt_key = jax.random.fold_in(key, 2)
    tilt = jax.random.uniform(tilt_key, (2, count), minval=-1.0, maxval=1.0)
    rows = [
        [cos, -sin, shift[0]],
        [sign * sin, sign * cos, shift[1]],
        [*(perspective * tilt), jnp.ones(count)],
    ]
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2)


def rotate(images: jax.Array, degrees: float) -> jax.Array:
    """float [B, H, W, C], all turned about their centres; see `warp` for the rest."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = jnp.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], jnp.float32)
    return warp(images, jnp.broadcast_to(matrix, (images.shape[0], 3, 3)))


def warp(images: jax.Array, matrices: jax.Array, device_count: int = 1) -> jax.Array:
    """Images resampled bilinearly where `matrices` say.

    images: float [B, H, W, C]. matrices: float [B, 3, 3], homographies, applied to
    (y, x, 1) of an output pixel, with y and x in [-1, 1] from the image's centre to its
    edges; the first two of the result over the third, which must stay above 0, are the
    position that pixel is read from, clamped to the image. device_count: of those that
    share the batch.
    """
    height, width = images.shape[1:3]
    y, x = jnp.meshgrid(
        (jnp.arange(height) + 0.5) * 2 / height - 1,
        (jnp.arange(width) + 0.5) * 2 / width - 1,
        indexing="ij",
    )
    grid = jnp.stack([y, x, jnp.ones_like(y)]).reshape(3, -1)
    # HIGHEST: positions need all their bits where products default to fewer (TPU).
    source = jnp.matmul(matrices, grid, precision=jax.lax.Precision.HIGHEST)
    source = source[:, :2] / source[:, 2:]
    source_y = jnp.clip((source[:, 0] + 1) * height / 2 - 0.5, 0, height - 1)
    source_x = jnp.clip((source[:, 1] + 1) * width / 2 - 0.5, 0, width - 1)
    found = resample(images, source_y, source_x, device_count)
    return found.reshape(images.shape)
