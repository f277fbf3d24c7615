"""Readers of weights against damaged and hostile files: a table of what came of them.

    python -m tests.pretrained.fuzz_weights [--count=2000] [--seed=0] [KIND ...]

Every file is read equal to the sound one, told from it (other values, which formats
without a checksum cannot know, or other leaves, which a port refuses), or refused in
one line of at most 300 characters. Anything else is a fault: it is printed with its
seed, and the exit status is 1.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
from flax import serialization
from flax.traverse_util import unflatten_dict

from signjax.errors import InputError
from signjax.pretrained import names, read, sound
from signjax.pretrained.read import Source, read_weights
from tests.helpers.weight_files import (
    golden_json,
    shapes_of,
    write_keras_h5,
    write_keras_weights,
    write_keras_zip,
    write_safetensors,
)

SECONDS = 60  # that one file may take


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


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """`content` with one to four changes of the kinds that damage and malice make."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        # Half of them near the beginning, where headers are.
        end = len(data) if rng.random() < 0.5 else min(len(data), 4096)
        at = int(rng.integers(0, max(1, end)))
        length = int(2 ** rng.uniform(0, 8))
        change = rng.integers(0, 7)
        if change == 0:
            data[at : at + 1] = bytes([data[at] ^ 1 << int(rng.integers(0, 8))])
        elif change == 1:
            data[at : at + length] = rng.bytes(len(data[at : at + length]))
        elif change == 2:
            del data[at:]
        elif change == 3:
            del data[at : at + length]
        elif change == 4:
            data[at:at] = data[at : at + length]
        elif change == 5:  # numbers that are too large
            data[at : at + 8] = b"\xff" * len(data[at : at + 8])
        else:
            data[at : at + length] = bytes(len(data[at : at + length]))
        if not data:
            return b""
    return bytes(data)


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


def fork_and_touch(content: bytes) -> None:
    """As `sound.refuse_unsound_hdf5`, without the seconds that a new Python takes."""
    with warnings.catch_warnings():  # of JAX's threads, which the child does not use
        warnings.simplefilter("ignore")
        child = os.fork()
    if child:
        if os.waitpid(child, 0)[1]:
            raise ValueError("HDF5's library fails on it")
        return
    try:
        signal.alarm(SECONDS)
        sound.touch(content)
        os._exit(0)
    finally:
        os._exit(1)


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("kinds", nargs="*", default=list(WRITERS), metavar="KIND")
    given = parser.parse_args()
    columns = ("refused", "equal", "other values", "other leaves")
    print("| file | mutated | " + " | ".join(columns) + " | faults |")
    print("|---" * (len(columns) + 3) + "|")
    failed = False
    for kind in given.kinds:
        outcomes, faults = run(kind, given.count, given.seed)
        row = [kind, given.count, *(outcomes[name] for name in columns), len(faults)]
        print("| " + " | ".join(map(str, row)) + " |", flush=True)
        for fault in faults[:10]:
            print(fault, file=sys.stderr)
        failed |= bool(faults)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
