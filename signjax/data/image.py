"""Any picture to uint8 [size, size, 3]: the one way of decoding and resizing.

Train, evaluate and predict all come through `square_resize`, so that a photo is seen
by the model in the way its training images were.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from signjax.data.content import HEAD_BYTES, describe_content
from signjax.errors import InputError, listed

# libjpeg decodes at 1/2, 1/4 or 1/8 several times faster. With four pixels or more
# left for each one wanted, no value of the result moves by more than about one level.
_DRAFT_OVERSAMPLING = 4

Interpolation = Literal["bilinear", "hamming", "bicubic"]

_KERNELS: dict[Interpolation, Image.Resampling] = {
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
}


class CropResize(NamedTuple):
    """What is taken of a picture and how it is resized.

    crop: share, in (0, 1], of the largest centred square's side. interpolation: the
    kernel, which Pillow widens by the reduction, so that nothing aliases. Bicubic is
    visibly sharper than bilinear and overshoots a hard edge (hand against background)
    half as much as Lanczos: 3 levels against 6 on a step of 130. Hamming is the nearest
    to a bilinear resize without antialiasing.
    """

    crop: float = 1.0
    interpolation: Interpolation = "bicubic"


WHOLE_SQUARE = CropResize()


def load_image(
    source: str | Path | BinaryIO, size: int, crop_resize: CropResize = WHOLE_SQUARE
) -> np.ndarray:
    """Decode a picture and bring it to a square: uint8 [size, size, 3], RGB, 0-255.

    EXIF orientation is honoured, transparency is laid on white, greyscale, palette,
    CMYK and 16-bit pictures become 8-bit RGB, and of several frames the first counts.

    source: a path, or a seekable file opened in binary mode.
    Raises InputError, naming the file, where it cannot be read as a picture.
    """
    with _decoding(source) as image:
        enough = math.ceil(_DRAFT_OVERSAMPLING * size / crop_resize.crop)
        image.draft(None, (enough, enough))
        ImageOps.exif_transpose(image, in_place=True)
        return square_resize(_to_rgb(image), size, crop_resize)


def load_whole(source: str | Path | BinaryIO) -> np.ndarray:
    """Decode a picture as `load_image` does, but whole: uint8 [H, W, 3]."""
    with _decoding(source) as image:
        ImageOps.exif_transpose(image, in_place=True)
        return np.array(_to_rgb(image))


@contextmanager
def _decoding(source: str | Path | BinaryIO) -> Iterator[Image.Image]:
    """The opened picture; what goes wrong in the block becomes an InputError."""
    try:
        with Image.open(source) as image:
            yield image
    except Exception as error:  # on damaged files Pillow's decoders raise any of them
        name = source if isinstance(source, (str, Path)) else _name(source)
        raise InputError(f"{name}: {_reason(source, error)}") from error


def load_images(
    paths: Sequence[Path], size: int, crop_resize: CropResize = WHOLE_SQUARE
) -> np.ndarray:
    """Decode many pictures in threads: uint8 [len(paths), size, size, 3], in order.

    Raises InputError naming the unreadable ones: the first five, and how many.
    """
    images = np.empty((len(paths), size, size, 3), np.uint8)

    def load_into(index: int) -> str | None:
        try:
            images[index] = load_image(paths[index], size, crop_resize)
        except InputError as error:
            return str(error)
        return None

    with ThreadPoolExecutor() as pool:
        failures = [f for f in pool.map(load_into, range(len(paths))) if f]
    if failures:
        raise InputError(
            f"{len(failures)} of {len(paths)} images cannot be read: "
            f"{listed(failures, 5, '; ')}. Replace or remove them"
        )
    return images


def resize_images(
    images: np.ndarray, size: int, crop_resize: CropResize = WHOLE_SQUARE
) -> np.ndarray:
    """Bring uint8 [N, H, W, 3] to uint8 [N, size, size, 3], as `load_image` does."""
    if images.shape[1:3] == (size, size) and crop_resize.crop == 1:
        return images
    resized = np.empty((len(images), size, size, 3), np.uint8)
    for source, target in zip(images, resized, strict=True):
        target[:] = square_resize(Image.fromarray(source), size, crop_resize)
    return resized


def square_resize(
    image: Image.Image, size: int, crop_resize: CropResize = WHOLE_SQUARE
) -> np.ndarray:
    """The framed part of an RGB image, resized: uint8 [size, size, 3]."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    # Of a part the kernel sees the pixels around it, as if all had been resized first.
    low, high = (1 - crop_resize.crop) / 2 * side, (1 + crop_resize.crop) / 2 * side
    kernel = _KERNELS[crop_resize.interpolation]
    return np.array(square.resize((size, size), kernel, box=(low, low, high, high)))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        image = _sixteen_to_eight_bits(image)
    if image.mode == "F":
        raise ValueError("its pixels are floats of unknown range; save it with 8 bits")
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _sixteen_to_eight_bits(image: Image.Image) -> Image.Image:
    """Mode I;16 and its like, 0-65535, to mode L; Pillow's own convert would clip."""
    pixels = np.asarray(image).astype(np.int64)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError("its pixels exceed 16 bits; save it with 8 or 16 bits")
    return Image.fromarray(((pixels * 255 + 32767) // 65535).astype(np.uint8))


def _name(file: BinaryIO) -> str:
    return str(getattr(file, "name", "the image given"))


def _reason(source: str | Path | BinaryIO, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "is a folder; expected an image file"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, Image.DecompressionBombError):
        return f"the image is too large; make it smaller ({error})"
    if isinstance(error, UnidentifiedImageError):
        return (
            f"not an image that Pillow reads: it is {describe_content(_head(source))}"
        )
    return f"the image cannot be decoded: {error or type(error).__name__}"


def _head(source: str | Path | BinaryIO) -> bytes:
    if isinstance(source, (str, Path)):
        with open(source, "rb") as file:
            return file.read(HEAD_BYTES)
    source.seek(0)
    return source.read(HEAD_BYTES)
