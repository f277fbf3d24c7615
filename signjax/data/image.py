"""Any image to uint8 [size, size, 3]: the one way of decoding and resizing.

Train, evaluate and predict all come through `square_resize`, so that a photo is seen
by the model in the way its training images were.
"""

import contextlib
import logging
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
from PIL import (
    ExifTags,
    Image,
    ImageFile,
    ImageOps,
    PngImagePlugin,
    UnidentifiedImageError,
)

from signjax.data.content import HEAD_BYTES, describe_content, is_heic
from signjax.errors import InputError, listed, one_line

# libjpeg decodes at 1/2, 1/4 or 1/8 several times faster. With four pixels or more
# left for each one wanted, no value of the result moves by more than about one level.
_DRAFT_OVERSAMPLING = 4

# Decoded, which takes 3 bytes a pixel. A JPEG may have more, as it is decoded smaller,
# so Pillow's own limit, of which it refuses the double, is raised.
_MOST_PIXELS = 180_000_000
Image.MAX_IMAGE_PIXELS = 2**28
# Bytes that one text of a PNG may unpack to; a phone's or an editor's may be megabytes.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY

# What it logs of a damaged file is told in the error.
logging.getLogger("PIL").setLevel(logging.CRITICAL)

_LOW_HIGH_BYTE = 64  # below: 14 bits or fewer in 16

Interpolation = Literal["bilinear", "hamming", "bicubic"]


class CropResize(NamedTuple):
    """What is taken of an image and how it is resized.

    crop: share, in (0, 1], of the largest centered square's side. interpolation: the
    kernel, which Pillow widens by the reduction, so that nothing aliases. Bicubic is
    visibly sharper than bilinear and overshoots a hard edge (hand against background)
    half as much as Lanczos: 3 levels against 6 on a step of 130. Hamming is the nearest
    to a bilinear resize without antialiasing. letterbox: the whole image instead, with
    black on both sides of it.
    """

    crop: float = 1.0
    interpolation: Interpolation = "bicubic"
    letterbox: bool = False


WHOLE_SQUARE = CropResize()


def load_image(
    source: str | Path | BinaryIO, size: int, crop_resize: CropResize = WHOLE_SQUARE
) -> np.ndarray:
    """Decodes an image and brings it to a square: uint8 [size, size, 3], RGB, 0-255.

    EXIF orientation is honored, transparency is laid on white, and of several frames
    the first counts. Grey, palette, CMYK, 16-bit and float images become 8-bit RGB, the
    last two where their values tell what range is meant.

    source: a path, or a seekable file opened in binary mode.
    Raises InputError, naming the file, where it cannot be read as an image.
    """
    enough = math.ceil(_DRAFT_OVERSAMPLING * size / crop_resize.crop)
    return square_resize(_decode(source, enough), size, crop_resize)


def load_whole(source: str | Path | BinaryIO, enough: int = 0) -> np.ndarray:
    """Decodes an image as `load_image` does, but whole: uint8 [H, W, 3].

    A JPEG of more than `_MOST_PIXELS` is reduced, and any, where it is not 0, to
    `enough` pixels or more of the shorter side.
    """
    return np.array(_decode(source, enough))


def upright_size(path: str | Path) -> tuple[int, int]:
    """Width and height of an image, EXIF orientation honored."""
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
        file.seek(0)
        with _open(file, head) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            return (image.height, image.width) if turned else image.size


def _decode(source: str | Path | BinaryIO, enough: int = 0) -> Image.Image:
    """The image in RGB; what goes wrong becomes an InputError.

    enough: pixels a side to which a JPEG may be reduced while it is decoded.
    """
    head = b""
    try:
        with contextlib.ExitStack() as stack:
            file = source
            if isinstance(file, (str, Path)):
                file = stack.enter_context(open(file, "rb"))
            file.seek(0)
            head = file.read(HEAD_BYTES)
            file.seek(0)
            image = stack.enter_context(_open(file, head))
            if not enough and image.width * image.height > _MOST_PIXELS:
                enough = 2048
            if enough:
                image.draft(None, (enough, enough))
            if image.width * image.height > _MOST_PIXELS:
                raise ValueError(
                    f"its {image.width} x {image.height} pixels are more than "
                    f"{_MOST_PIXELS:,}; make it smaller"
                )
            halved = ";16" in str(image.tile)  # Pillow keeps the high bytes alone
            ImageOps.exif_transpose(image, in_place=True)
            return _to_rgb(image, halved)
    except Exception as error:  # on damaged files Pillow's decoders raise any of them
        name = source
        if not isinstance(source, (str, Path)):
            name = getattr(source, "name", "the image given")
        reason = f"cannot be decoded: {one_line(error, 150) or type(error).__name__}"
        if isinstance(error, UnidentifiedImageError):
            reason = f"not an image that Pillow reads: it is {describe_content(head)}"
        elif isinstance(error, OSError) and error.strerror:
            reason = f"{error.strerror.lower()}; expected an image file"
        raise InputError(f"{name}: {reason}") from error


def _open(file: BinaryIO, head: bytes) -> ImageFile.ImageFile:
    if is_heic(head):
        with contextlib.suppress(ImportError):
            from pillow_heif import register_heif_opener

            register_heif_opener()
    image = Image.open(file)
    if image.format == "EPS":  # a program, which Pillow would have Ghostscript run
        raise UnidentifiedImageError
    return image


def load_images(
    paths: Sequence[Path], size: int, crop_resize: CropResize = WHOLE_SQUARE
) -> np.ndarray:
    """Decodes many images in threads: uint8 [len(paths), size, size, 3], in order.

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
    """Brings uint8 [N, H, W, 3] to uint8 [N, size, size, 3], as `load_image` does."""
    whole = crop_resize.crop == 1 or crop_resize.letterbox
    if images.shape[1:3] == (size, size) and whole:
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
    kernel = Image.Resampling[crop_resize.interpolation.upper()]
    if crop_resize.letterbox:
        return _letterbox(image, size, kernel)
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    # Of a part the kernel sees the pixels around it, as if all had been resized first.
    low, high = (1 - crop_resize.crop) / 2 * side, (1 + crop_resize.crop) / 2 * side
    return np.array(square.resize((size, size), kernel, box=(low, low, high, high)))


def seen_square(
    width: int, height: int, size: int, crop_resize: CropResize
) -> tuple[float, float, float]:
    """What `square_resize` shows of such an image: left, top and side, in its pixels.

    Of a letterbox the square is larger than the image.
    """
    if crop_resize.letterbox:
        side = max(width, height)
        left, top = (
            -((size - max(1, round(size / side * x))) // 2) * side / size
            for x in (width, height)
        )
        return left, top, side
    side = min(width, height)
    edge = (1 - crop_resize.crop) / 2 * side
    left, top = ((x - side) // 2 + edge for x in (width, height))
    return left, top, crop_resize.crop * side


def _letterbox(image: Image.Image, size: int, kernel: Image.Resampling) -> np.ndarray:
    """The whole image in the middle of a black square: uint8 [size, size, 3]."""
    scale = size / max(image.size)
    width, height = (max(1, round(scale * side)) for side in image.size)
    square = Image.new("RGB", (size, size))
    place = ((size - width) // 2, (size - height) // 2)
    square.paste(image.resize((width, height), kernel), place)
    return np.array(square)


def _to_rgb(image: Image.Image, halved: bool) -> Image.Image:
    """RGB with 8 bits. halved: whether of 16 bits a color the high 8 were read."""
    if image.mode == "F" or image.mode.startswith("I"):
        image = Image.fromarray(to_eight_bits(np.asarray(image)))
    elif halved and image.mode in ("RGB", "RGBA", "LA"):
        colors = np.asarray(image)[..., : len(image.mode.rstrip("A"))]
        if colors.max() < _LOW_HIGH_BYTE:
            raise _unfilled(f"up to {colors.max()} of 255")
    elif image.mode == "L" and np.asarray(image).max() == 1:  # a mask
        raise _unfilled("0 and 1")
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def to_eight_bits(values: np.ndarray) -> np.ndarray:
    """Pixels of a wider type as uint8, by the range that their values tell.

    Integers up to 255 are taken as they are, up to 65,535 as 16 bits; floats from 0 to
    1 as shares, up to 255 as they are. Raises ValueError where it may be another, as of
    12 bits, which would come out dark.
    """
    low, high = values.min(), values.max()
    if np.issubdtype(values.dtype, np.floating):
        # A few above 1 may be shares of light that is too bright.
        ranges = {1: (0, 1.001), 255: (32, 255)}
    else:
        ranges = {255: (32, 255), 65535: (16384, 65535)}
    for top, (least, most) in ranges.items():
        if low >= 0 and (least <= high <= most or high == 0):
            return np.rint(values.astype(np.float64) * (255 / top)).astype(np.uint8)
    raise _unfilled(f"from {low:g} to {high:g}")


def _unfilled(values: str) -> ValueError:
    return ValueError(
        f"its values, {values}, do not tell their range; save it with 8 bits"
    )
