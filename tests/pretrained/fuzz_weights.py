"""Readers of weights against damaged and hostile files: a table of what came of them.

    python -m tests.pretrained.fuzz_weights [--count=N] [--output=FILE] [KIND ...]

Every file is read equal to the sound one, told from it (other values, which formats
without a checksum cannot know, or other leaves, which a port refuses), or refused in
one line of at most 300 characters. Anything else is a fault: it is printed with its
seed, and the exit status is 1.
"""

import io
import json
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import h5py
import numpy as np

from signjax.pretrained import read
from signjax.pretrained.read import Source, read_weights
from tests.helpers.fuzz import fork_and_touch, main, mutate, read_each
from tests.helpers.weight_files import (
    golden_json,
    numbered,
    shapes_of,
    write_keras_h5,
    write_keras_weights,
    write_keras_zip,
    write_msgpack,
    write_safetensors,
)

CONFIG = golden_json()["model_config"]


def small(case: str) -> dict[str, np.ndarray]:
    """The first layers and the last, which are all that a reader asks for."""
    arrays = list(numbered(shapes_of(case, counters=False)).items())
    return dict(arrays[:72] + arrays[-2:])


WRITERS: dict[str, Callable[[Path], Path]] = {
    "msgpack": lambda path: write_msgpack(path, small("flax")),
    "safetensors": lambda path: write_safetensors(path, small("torchvision")),
    "weights.h5": lambda path: write_keras_weights(path, small("keras_applications")),
    "model.h5": lambda path: write_keras_h5(path, small("keras_model"), CONFIG),
    ".keras": lambda path: write_keras_zip(path, small("keras_model"), CONFIG),
}


def change_config(config: str, rng: np.random.Generator) -> str:
    """A configuration with a few values of it taken from elsewhere in it."""
    model = json.loads(config)
    strange = [None, -1, 1e99, "", [], {}, True, "x" * 400, "\x1b[31m\n"]
    spots = list(_spots(model))
    for _ in range(rng.integers(1, 4)):
        holder, key, _ = spots[rng.integers(len(spots))]
        *_, taken = spots[rng.integers(len(spots))]
        choice = int(rng.integers(0, 2 * len(strange)))
        if isinstance(holder, dict) and choice == 0:
            holder.pop(key, None)
        else:
            taken = json.loads(json.dumps(taken))
            holder[key] = strange[choice] if choice < len(strange) else taken
    return json.dumps(model)


def _spots(value: object):
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key, value[key]
            yield from _spots(value[key])


def with_config(kind: str, sound: bytes, config: str) -> bytes:
    """A sound file with another configuration."""
    file = io.BytesIO(sound)
    if kind == "model.h5":
        with h5py.File(file, "a") as root:
            root.attrs["model_config"] = config
        return file.getvalue()
    new = io.BytesIO()
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(new, "w") as written:
        for name in archive.namelist():
            content = config if name == "config.json" else archive.read(name)
            written.writestr(name, content)
    return new.getvalue()


def run(kind: str, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """(how many files came out how, a line for each fault)."""

    def mutated(sound: bytes, rng: np.random.Generator) -> bytes:
        if kind in ("model.h5", ".keras") and rng.random() < 0.5:
            return with_config(kind, sound, change_config(CONFIG, rng))
        return mutate(sound, rng)

    quick = mock.patch.object(read, "refuse_unsound_hdf5", fork_and_touch)
    with tempfile.TemporaryDirectory() as name, quick:
        path = WRITERS[kind](Path(name) / "sound")
        sound = read_weights(path)

        def outcome(path: Path) -> str:
            found = read_weights(path)
            if shapes(found) != shapes(sound):
                return "other leaves"
            pairs = [(value, found.arrays[k]) for k, value in sound.arrays.items()]
            same = all(np.array_equal(*pair) for pair in pairs)
            return "equal" if same else "other values"

        return read_each(kind, path, count, seed, outcome=outcome, mutated=mutated)


def shapes(source: Source) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in source.arrays.items()}


if __name__ == "__main__":
    columns = ("refused", "equal", "other values", "other leaves")
    sys.exit(main(__doc__, WRITERS, columns, run))
