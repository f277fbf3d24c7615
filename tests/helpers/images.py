"""Images to read, as files in memory, and resizing by its definition."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

RED, GREEN, BLUE, GREY = (230, 20, 30), (20, 200, 40), (30, 40, 220), (90, 90, 90)


def quadrants(side=64):
    """uint8 [side, side, 3] whose eight turns and mirrorings all differ."""
    half = side // 2
    image = np.empty((side, side, 3), np.uint8)
    image[:half, :half], image[:half, half:] = RED, GREEN
    image[half:, :half], image[half:, half:] = BLUE, GREY
    return image


def noise(height, width, channels=3, seed=0):
    shape = (height, width, channels)[: 3 if channels > 1 else 2]
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encode(image, form="PNG", **options):
    """A picture file in memory; arrays become pictures first."""
    file = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(file, form, **options)
    file.seek(0)
    return file


def png(width, height, rows=b"", *, bits=8, kind=2):
    """A PNG with this header around these rows, which may be fewer than it promises."""
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    chunks = b""
    for name, body in parts:
        crc = zlib.crc32(name + body)
        chunks += struct.pack(">I", len(body)) + name + body + struct.pack(">I", crc)
    return b"\x89PNG\r\n\x1a\n" + chunks


def color(image, x=0.5, y=0.5):
    """The pixel at a relative place of a [size, size, 3] image, as a list."""
    size = len(image)
    return image[int(y * size), int(x * size)].tolist()


def keys(x):
    """Keys 1981, with a = -1/2."""
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def triangle(x):
    return np.maximum(1 - x, 0)


def windowed_sinc(x):
    """One lobe, under Hamming's window."""
    return np.where(x < 1, np.sinc(x) * (0.54 + 0.46 * np.cos(np.pi * x)), 0)


KERNELS = {"bilinear": triangle, "hamming": windowed_sinc, "bicubic": keys}


def resized(image, size, kernel=keys):
    """In float64, the kernel as wide as the reduction, so that nothing aliases."""

    def weights(length):
        scale = length / size
        width = max(scale, 1.0)
        centres = (np.arange(size) + 0.5) * scale
        x = np.abs(np.arange(length) + 0.5 - centres[:, None]) / width
        values = kernel(x)
        return values / values.sum(axis=1, keepdims=True)

    rows = np.tensordot(weights(image.shape[0]), image, axes=1)
    both = np.tensordot(weights(image.shape[1]), rows, axes=(1, 1))
    return np.clip(both.transpose(1, 0, 2), 0, 255)


def smooth(side, seed=0):
    """uint8 [side, side, 3] with detail at many scales, as photographs have."""
    rng = np.random.default_rng(seed)
    total = np.zeros((side, side, 3))
    for cells in (3, 9, 30, 90):
        patch = rng.uniform(-1, 1, (cells, cells, 3))
        total += resized(127 + 127 * patch, side) / 4
    return total.round().astype(np.uint8)
