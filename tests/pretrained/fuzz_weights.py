"""Readers of weights against damaged and hostile files: a table of what came of them.

    python -m tests.pretrained.fuzz_weights [--count=N] [--output=FILE] [KIND ...]

Every file is read equal to the sound one, told from it (other values, which formats
without a checksum cannot know, or other leaves, which a port refuses), or refused in
one line of at most 300 characters. Anything else is a fault: it is printed with its
seed, and the exit status is 1.
"""

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
from flax import serialization
from flax.traverse_util import unflatten_dict

from signjax.errors import InputError
from signjax.pretrained import names, read
from signjax.pretrained.read import Source, read_weights
from tests.helpers.fuzz import SECONDS, fork_and_touch, main, mutate
from tests.helpers.weight_files import (
    golden_json,
    shapes_of,
    write_keras_h5,
    write_keras_weights,
    write_keras_zip,
    write_safetensors,
)


def small(case: str) -> dict[str, np.ndarray]:
    """Arrays of a source's names and ranks, of one to three values."""
    shapes = shapes_of(case, counters=False)
    return {
        name: np.full((1,) * (len(shape) - 1) + (3,), index + 1, np.float32)
        for index, (name, shape) in enumerate(shapes.items())
    }


def write_flax(path: Path) -> Path:
    leaves = {place: np.ones(3, np.float32) for place in _places()}
    path.write_bytes(serialization.msgpack_serialize(unflatten_dict(leaves)))
    return path


def _places() -> list[names.LeafPath]:
    return list(names.table(names.LAYOUTS["flax"]).values())


WRITERS: dict[str, Callable[[Path], Path]] = {
    "keras": lambda path: write_keras_zip(
        path, small("keras_model"), golden_json()["model_config"]
    ),
    "h5": lambda path: write_keras_h5(
        path, small("keras_model"), golden_json()["model_config"]
    ),
    "weights.h5": lambda path: write_keras_weights(path, small("keras_applications")),
    "safetensors": lambda path: write_safetensors(path, small("torchvision")),
    "msgpack": write_flax,
}


def change_config(config: str, rng: np.random.Generator) -> str:
    """A configuration with a few values of it taken from elsewhere in it."""
    model = json.loads(config)
    for _ in range(rng.integers(1, 4)):
        spots = list(_spots(model))
        holder, key = spots[rng.integers(len(spots))]
        other, its_key = spots[rng.integers(len(spots))]
        strange = [None, -1, 1e99, "", [], {}, True, "x" * 400, "\x1b[31m\n"]
        choice = int(rng.integers(0, 2 * len(strange)))
        if isinstance(holder, dict) and choice == 0:
            del holder[key]
        else:
            taken = json.loads(json.dumps(other[its_key]))
            holder[key] = strange[choice] if choice < len(strange) else taken
    return json.dumps(model)


def _spots(value: object):
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _spots(value[key])


def mutated(kind: str, sound: bytes, folder: Path, rng: np.random.Generator) -> bytes:
    if kind in ("keras", "h5") and rng.random() < 0.5:
        config = change_config(golden_json()["model_config"], rng)
        write = write_keras_zip if kind == "keras" else write_keras_h5
        return write(folder / "config", small("keras_model"), config).read_bytes()
    return mutate(sound, rng)


def outcome(path: Path, expected: Source) -> str:
    """What reading a file gives; raises what it raises that is no refusal."""
    try:
        found = read_weights(path)
    except InputError as error:
        line = str(error)
        if len(line) > 300 or not line.isprintable():
            raise ValueError(f"a line of {len(line)} characters: {line!r}") from error
        return "refused"
    shapes = {name: array.shape for name, array in found.arrays.items()}
    if shapes != {name: array.shape for name, array in expected.arrays.items()}:
        return "other leaves"
    same = all(np.array_equal(found.arrays[n], expected.arrays[n]) for n in shapes)
    return "equal" if same else "other values"


def run(kind: str, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """(how many files came out how, a line for each fault)."""
    outcomes: Counter[str] = Counter()
    faults = []
    quick = mock.patch.object(read, "refuse_unsound_hdf5", fork_and_touch)
    with tempfile.TemporaryDirectory() as name, quick:
        folder = Path(name)
        path = WRITERS[kind](folder / "sound")
        sound, expected = path.read_bytes(), read_weights(path)
        for index in range(count):
            rng = np.random.default_rng((seed, index))
            (folder / "x").write_bytes(mutated(kind, sound, folder, rng))
            start = time.monotonic()
            try:
                outcomes[outcome(folder / "x", expected)] += 1
            except BaseException as error:
                faults.append(f"{kind} {seed} {index}: {error!r}")
            if time.monotonic() - start > SECONDS:
                faults.append(f"{kind} {seed} {index}: more than {SECONDS} s")
    return outcomes, faults


if __name__ == "__main__":
    columns = ("refused", "equal", "other values", "other leaves")
    sys.exit(main(__doc__, WRITERS, columns, run))
