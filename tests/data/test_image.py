"""Every kind of image becomes the same upright RGB square, or is refused by name."""

import io
import sys

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from signjax.data.image import (
    CropResize,
    load_image,
    load_images,
    load_whole,
    resize_images,
    seen_square,
    square_resize,
)
from tests.helpers.images import (
    BLUE,
    GREEN,
    GREY,
    KERNELS,
    RED,
    color,
    encode,
    noise,
    png,
    quadrants,
    resized,
    smooth,
)
from tests.helpers.refusals import refused


@pytest.mark.parametrize("interpolation", KERNELS)
@pytest.mark.parametrize(
    ("side", "size", "crop"),
    [(75, 16, 1), (75, 64, 1), (75, 100, 1)]
    + [(300, 64, 0.875), (75, 64, 0.5), (64, 64, 0.5), (64, 128, 0.5)],
)
def test_an_image_is_the_middle_of_the_whole_resized(side, size, crop, interpolation):
    """Without aliasing; as torchvision: a side to 256, of that the middle 224."""
    image, crop_resize = smooth(side), CropResize(crop, interpolation)
    whole = resized(image, size, KERNELS[interpolation])
    margin = round(size * (1 - crop) / 2)
    expected = whole[margin : size - margin, margin : size - margin]
    got = load_image(encode(image), size - 2 * margin, crop_resize)
    assert (got.shape, got.dtype) == (expected.shape, np.uint8)
    assert np.abs(got - expected).max() <= 1.5
    again = resize_images(image[None], size - 2 * margin, crop_resize)
    np.testing.assert_array_equal(again, [got])


def test_a_picture_of_the_right_size_is_untouched():
    image = noise(64, 64)
    np.testing.assert_array_equal(load_image(encode(image), 64), image)
    np.testing.assert_array_equal(resize_images(image[None], 64), [image])


@pytest.mark.parametrize("turned", [False, True])
def test_the_largest_centred_square_is_kept(turned):
    colors = [np.full((60, 60, 3), color, np.uint8) for color in (RED, GREEN, BLUE)]
    wide = np.concatenate(colors, axis=1)
    image = wide.transpose(1, 0, 2) if turned else wide
    for crop in (1.0, 0.5):
        for got in (
            load_image(encode(image), 30, CropResize(crop)),
            resize_images(image[None], 30, CropResize(crop)),
        ):
            assert (got == GREEN).all()


# How a camera stores an upright picture under each value of the EXIF tag.
STORED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a.transpose(1, 0, 2), 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_honoured(orientation, form):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED[orientation](quadrants(512)))
    got = load_image(encode(stored, form, exif=exif), 32)
    found = [color(got, x, y) for y in (0.25, 0.75) for x in (0.25, 0.75)]
    np.testing.assert_allclose(found, [RED, GREEN, BLUE, GREY], atol=6)


def test_transparency_is_laid_on_white():
    rgba = np.zeros((32, 32, 4), np.uint8)
    rgba[:16] = (200, 0, 0, 128)
    got = load_image(encode(rgba), 32)
    assert color(got, y=0.9) == [255, 255, 255]
    over = 128 / 255
    expected = [200 * over + 255 * (1 - over), 255 * (1 - over), 255 * (1 - over)]
    np.testing.assert_allclose(color(got, y=0.1), expected, atol=1)
    # Hidden colors do not bleed into the edge.
    rgba = np.full((64, 64, 4), 255, np.uint8)
    rgba[:31] = (255, 0, 0, 0)
    assert (load_image(encode(rgba), 16) == 255).all()


def test_grey_with_alpha_and_palette_with_a_transparent_color():
    la = np.zeros((16, 16, 2), np.uint8)
    la[:8, :, 1] = 255
    palette = Image.new("P", (16, 16), 1)
    palette.putpalette([0, 0, 255, 255, 0, 0])
    palette.paste(0, (0, 0, 16, 8))
    white, red = [255] * 3, [255, 0, 0]
    cases = [(encode(Image.fromarray(la)), [0] * 3, white)]
    for form in ("PNG", "GIF"):
        cases.append((encode(palette, form), [0, 0, 255], red))
        cases.append((encode(palette, form, transparency=0), white, red))
    for file, top, bottom in cases:
        got = load_image(file, 16)
        assert (color(got, y=0.1), color(got, y=0.9)) == (top, bottom)


def test_grey_and_black_and_white_pictures():
    grey = noise(40, 40, channels=1)
    got = load_image(encode(grey), 40)
    np.testing.assert_array_equal(got, np.repeat(grey[..., None], 3, axis=2))
    bits = grey > 127
    got = load_image(encode(Image.fromarray(bits)), 40)
    np.testing.assert_array_equal(got[..., 0], np.where(bits, 255, 0))


RAMP = np.linspace(0, 1, 32 * 32).reshape(32, 32)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_black_is_black(dtype):
    file = encode(np.zeros((8, 8), dtype), "TIFF")
    assert not load_image(file, 8).any()


@pytest.mark.parametrize(
    ("top", "dtype", "form"),
    [
        *((65535, np.uint16, form) for form in ("PNG", "TIFF", "PPM")),
        (65535, np.int32, "TIFF"),
        (255, np.int32, "TIFF"),
        (255, np.uint16, "PNG"),
        (1, np.float32, "TIFF"),
        (255, np.float32, "TIFF"),
    ],
)
def test_values_that_tell_their_range_are_read_as_meant(top, dtype, form):
    got = load_image(encode((top * RAMP).astype(dtype), form), 32)[..., 0]
    assert np.abs(got - 255 * RAMP).max() <= 1


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (1023 * RAMP, np.uint16),
        (4095 * RAMP, np.uint16),
        (16383 * RAMP, np.uint16),
        (4095 * RAMP, np.int32),
        (70000 * RAMP, np.int32),
        (-1 + 200 * RAMP, np.int32),
        (RAMP > 0.5, np.uint8),
        (RAMP > 0.5, np.uint16),
        (RAMP > 0.5, np.int32),
        (3 * RAMP, np.float32),
        (RAMP - 0.5, np.float32),
        (np.where(RAMP > 0.5, np.nan, RAMP), np.float32),
    ],
)
def test_values_of_an_unknown_range_are_refused(values, dtype):
    with refused("do not tell their range; save it with 8"):
        load_image(encode(values.astype(dtype), "TIFF"), 8)


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_a_color_are_read_or_refused(kind, channels):
    """Pillow gives only their high bytes; it writes none, so they are made by hand."""

    def deep(top):
        values = np.full((32, 32, channels), 65535, ">u2")
        values[..., : channels - (channels % 2 == 0)] = (top * RAMP)[..., None]
        rows = b"".join(b"\0" + row.tobytes() for row in values)
        return io.BytesIO(png(32, 32, rows, bits=16, kind=kind))

    assert np.abs(load_image(deep(65535), 32)[..., 0] - 255 * RAMP).max() <= 1
    for top in (255, 4095, 16383):
        with refused("do not tell their range"):
            load_image(deep(top), 32)


def test_a_jpeg_of_200_megapixels_is_read():
    file = encode(Image.new("L", (16400, 12300), 200), "JPEG", quality=10)
    assert abs(int(load_image(file, 64).mean()) - 200) <= 2
    assert min(load_whole(file).shape[:2]) >= 2048


def test_a_png_with_much_metadata_is_read():
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", "x" * 3_000_000, zip=True)
    texts.add_text("Comment", "y" * 3_000_000, zip=True)
    profile = np.random.default_rng(0).bytes(2_000_000)
    file = encode(quadrants(), pnginfo=texts, icc_profile=profile)
    assert color(load_image(file, 16), 0.2, 0.2) == list(RED)
    bomb = PngImagePlugin.PngInfo()
    bomb.add_text("Comment", "y" * 100_000_000, zip=True)
    with refused("cannot be decoded"):
        load_image(encode(quadrants(), pnginfo=bomb), 16)


def test_heic_is_read_where_its_decoder_is(monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(quadrants(256))).save(file, quality=90)
    np.testing.assert_allclose(color(load_image(file, 16), 0.2, 0.2), RED, atol=8)
    monkeypatch.setattr(Image, "ID", [form for form in Image.ID if form != "HEIF"])
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with refused(r"HEIC photo.*pip install pillow-heif.* export it as JPEG"):
        load_image(file, 16)


def test_cmyk_jpeg():
    picture = Image.new("CMYK", (64, 64), (0, 255, 255, 0))
    got = load_image(encode(picture, "JPEG"), 32)
    np.testing.assert_allclose(color(got), (254, 0, 0), atol=3)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation_counts(form):
    first, second = (Image.new("RGB", (32, 32), c) for c in (RED, GREEN))
    options = {"lossless": True} if form == "WEBP" else {}
    file = encode(first, form, save_all=True, append_images=[second], **options)
    assert color(load_image(file, 16)) == list(RED)


@pytest.mark.parametrize("interpolation", KERNELS)
@pytest.mark.parametrize("crop", [1.0, 0.5])
def test_fast_decoding_of_a_large_jpeg_is_the_same_picture(crop, interpolation):
    file = encode(smooth(1000), "JPEG", quality=90)
    full = np.asarray(Image.open(file).convert("RGB"))
    size = round(100 * crop)
    got = load_image(file, size, CropResize(crop, interpolation))
    kept = slice((100 - size) // 2, (100 + size) // 2)
    expected = resized(full, 100, KERNELS[interpolation])[kept, kept]
    assert np.abs(got - expected).max() <= 2.5


JPEG = encode(noise(64, 64), "JPEG").getvalue()
PNG = encode(noise(64, 64)).getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (JPEG[: len(JPEG) // 2], "cannot be decoded.*truncated"),
        (PNG[: len(PNG) // 2], "cannot be decoded"),
        (JPEG[:4], "not an image that Pillow reads: it is a JPEG"),
        (b"<!doctype html><html>", "not an image.*saved web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "LFS pointer"),
        (b"not a picture at all", "not an image.*unknown content"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n", "not an image"),
        (b"", "an empty file"),
        (png(15000, 15000), "15000 x 15000 pixels are more than"),
        (png(60000, 60000), "exceeds limit"),
    ],
)
def test_unreadable_files_are_named_with_the_reason(tmp_path, content, told):
    path = tmp_path / "photo"
    path.write_bytes(content)
    with refused(f"^{path}: .*{told}"):
        load_image(path, 16)
    with refused(f"^the image given: .*{told}"):
        load_image(io.BytesIO(content), 16)


def test_places_without_a_file_are_told(tmp_path):
    with refused("none.jpg: no such file or directory; expected an image file"):
        load_image(tmp_path / "none.jpg", 16)
    with refused("is a directory"):
        load_image(tmp_path, 16)


def test_a_decoders_long_message_is_one_short_line(monkeypatch):
    def fail(source):
        raise ValueError("many words\n" * 100)

    monkeypatch.setattr(Image, "open", fail)
    with refused("^.{,200}$"):
        load_image(io.BytesIO(), 8)


def test_many_images_keep_their_order(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(40)]
    for i, path in enumerate(paths):
        Image.new("RGB", (4, 4), (i, 0, 255 - i)).save(path)
    images = load_images(paths, 8, CropResize(0.5))
    assert images.shape == (40, 8, 8, 3)
    assert images[:, 3, 3, 0].tolist() == list(range(40))
    for path in paths[1:9]:
        path.write_bytes(b"")
    # All unreadable ones are counted and five are named.
    told = "^8 of 40 images.*1.png.*5.png: [^;]*; get it again and 3 more. Replace"
    with refused(told):
        load_images(paths, 8)


@pytest.mark.parametrize(("width", "height"), [(80, 40), (40, 80), (64, 64)])
def test_a_letterbox_holds_the_whole_image_on_black(width: int, height: int) -> None:
    image = Image.new("RGB", (width, height), (200, 100, 50))
    got = load_image(encode(image), 64, CropResize(letterbox=True))
    size = 64 / max(width, height)
    rows, columns = round(size * height), round(size * width)
    top, left = (64 - rows) // 2, (64 - columns) // 2
    expected = np.zeros((64, 64, 3), np.uint8)
    expected[top : top + rows, left : left + columns] = (200, 100, 50)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("width, height", [(640, 480), (333, 500), (400, 400)])
@pytest.mark.parametrize(
    "crop_resize",
    [CropResize(letterbox=True), CropResize(), CropResize(crop=0.8)],
    ids=["letterbox", "square", "crop"],
)
def test_a_place_in_the_square_is_found_again_in_the_image(width, height, crop_resize):
    size, pixels = 128, np.zeros((height, width, 3), np.uint8)
    x, y = width // 2 - 80, height // 2 + 100
    pixels[y - 8 : y + 8, x - 8 : x + 8] = 255
    square = square_resize(Image.fromarray(pixels), size, crop_resize)
    light = square.sum(axis=2) / square.sum()
    places = np.arange(size) + 0.5
    left, top, side = seen_square(width, height, size, crop_resize)
    assert light.sum(axis=0) @ places * side / size + left == pytest.approx(x, abs=0.4)
    assert light.sum(axis=1) @ places * side / size + top == pytest.approx(y, abs=0.4)
