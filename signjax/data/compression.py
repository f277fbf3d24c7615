"""What a camera's JPEG loses."""

import jax
import jax.numpy as jnp
import numpy as np

_BLOCK = 8
# ITU-T T.81, table K.1, quantisation of luminance.
_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)
# K.2 of colour: the same from the fifth row and column on.
_COLOUR = np.full((_BLOCK, _BLOCK), 99, np.float32)
_COLOUR[:4, :4] = [
    [17, 18, 24, 47],
    [18, 21, 26, 66],
    [24, 26, 56, 99],
    [47, 66, 99, 99],
]
# ITU-R BT.601 as JFIF has it.
_TO_YCC = np.array(
    [
        [0.299, 0.587, 0.114],
        [-0.168736, -0.331264, 0.5],
        [0.5, -0.418688, -0.081312],
    ],
    np.float32,
)


def _cosines() -> np.ndarray:
    """The orthonormal DCT-II, [frequency, position]."""
    position, frequency = np.arange(_BLOCK) + 0.5, np.arange(_BLOCK)[:, None]
    basis = np.cos(np.pi * frequency * position / _BLOCK) * np.sqrt(2 / _BLOCK)
    basis[0] /= np.sqrt(2)
    return basis.astype(np.float32)


def compress(images: jax.Array, key: jax.Array, share: float) -> jax.Array:
    """`share` of the images as JPEG of a quality of 10 to 75 leaves them.

    images: float [B, H, W, 3] in [0, 1], H and W multiples of 8; the result too. Colour
    is not subsampled.
    """
    count, height, width, _ = images.shape
    choice, drawing = jax.random.split(key)
    quality = jax.random.uniform(drawing, (count,), minval=10, maxval=75)
    # libjpeg's scale of the tables.
    scale = jnp.where(quality < 50, 50 / quality, 2 - quality / 50)
    tables = np.stack([_LUMINANCE, _COLOUR, _COLOUR], -1)
    steps = jnp.maximum(scale.reshape(-1, 1, 1, 1, 1, 1) * tables[:, None], 1)
    steps = steps.reshape(count, 1, _BLOCK, 1, _BLOCK, 3)
    basis = _cosines()
    ycc = jnp.einsum("bhwc,dc->bhwd", 255 * images - 128, _TO_YCC)
    blocks = ycc.reshape(count, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK, 3)
    spectrum = jnp.einsum("biyjxc,uy,vx->biujvc", blocks, basis, basis)
    spectrum = jnp.round(spectrum / steps) * steps
    blocks = jnp.einsum("biujvc,uy,vx->biyjxc", spectrum, basis, basis)
    ycc = blocks.reshape(images.shape)
    lossy = jnp.einsum("bhwd,cd->bhwc", ycc, np.linalg.inv(_TO_YCC)) + 128
    lossy = jnp.clip(lossy / 255, 0, 1)
    chosen = jax.random.bernoulli(choice, share, (count, 1, 1, 1))
    return jnp.where(chosen, lossy, images)
