"""Readers of images, arrays and tables against damaged files: what came of them.

    python -m tests.data.fuzz_images [--count=N] [--seed=N] [--output=FILE] [KIND ...]

Every file is read equal to the sound one, read to other values, which formats without a
checksum cannot know, or refused in one line of at most 300 characters. Anything else is
a fault: it is printed with its seed, and the exit status is 1.
"""

import io
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import h5py
import numpy as np

from signjax.data import signs
from signjax.data.arrays import read_arrays
from signjax.data.image import CropResize, load_image
from signjax.data.parts import load_labelled
from tests.helpers.fuzz import fork_and_touch, main, read_each
from tests.helpers.images import encode

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 24, 24, 3), np.uint8)
LABELS = np.arange(6) % 3
TEXTS = np.array([b"a", b"b", b"c"])[LABELS]
FORMATS = "PNG JPEG GIF BMP WEBP TIFF PPM JPEG2000 AVIF".split()
if find_spec("pillow_heif"):
    from pillow_heif import register_heif_opener

    register_heif_opener()
    FORMATS.append("HEIF")


def write_signs(compression: str | None) -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.create_dataset("train_set_x", data=PIXELS, compression=compression)
        file["train_set_y"] = LABELS
        file["list_classes"] = ["a", "b", "c"] if compression else np.arange(3)
    return content.getvalue()


def write_array(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def write_table() -> bytes:
    rows = np.column_stack([LABELS, PIXELS[..., 0].reshape(6, -1)])
    header = ",".join(["label", *(f"pixel{i}" for i in range(24 * 24))])
    content = io.StringIO()
    np.savetxt(content, rows, "%d", ",", header=header, comments="")
    return content.getvalue().encode()


def read_pair(path: Path) -> np.ndarray:
    name, other = ("X", LABELS) if path.name == "X.npy" else ("Y", PIXELS)
    np.save(path.with_name("Y.npy" if name == "X" else "X.npy"), other)
    data = read_arrays(path.parent)["all"]
    return data.labels if name == "Y" else data.images[:]


def read_photo(path: Path) -> np.ndarray:
    return load_image(path, 16)


def read_named(path: Path) -> np.ndarray:
    return load_labelled(path, 24, CropResize())[0].images[:]


# Kind -> (a sound file's name and content, its reader).
KINDS: dict[str, tuple[str, bytes, Callable[[Path], np.ndarray]]] = {
    **{form: ("x", encode(PIXELS[0], form).read(), read_photo) for form in FORMATS},
    "h5": ("x.h5", write_signs(None), read_named),
    "h5, gzip": ("x.h5", write_signs("gzip"), read_named),
    "X.npy": ("X.npy", write_array(PIXELS), read_pair),
    "Y.npy, one-hot": ("Y.npy", write_array(np.eye(3)[LABELS]), read_pair),
    "Y.npy, texts": ("Y.npy", write_array(TEXTS), read_pair),
    "CSV": ("x.csv", write_table(), read_named),
}


def run(kind: str, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """(how many files came out how, a line for each fault)."""
    name, content, read = KINDS[kind]
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(signs, "refuse_unsound_hdf5", fork_and_touch),
        warnings.catch_warnings(action="error"),
    ):
        path = Path(folder) / name
        path.write_bytes(content)
        sound = read(path)

        def outcome(path: Path) -> str:
            return "equal" if np.array_equal(read(path), sound) else "other values"

        return read_each(kind, path, count, seed, outcome=outcome)


if __name__ == "__main__":
    columns = ("refused", "equal", "other values")
    sys.exit(main(__doc__, KINDS, columns, run))
