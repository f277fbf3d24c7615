"""The reader of .tflite networks against mutated files: a table of what came of them.

    python -m tests.hands.fuzz_networks [--count=2000] [--seed=0]

Every file is read equal to the sound one, read to other values or another graph, which
the format without a checksum cannot know, or refused in one line of at most 300
characters. Anything else is a fault: it is printed with its seed, and the exit status
is 1.
"""

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from signjax.errors import InputError
from signjax.hands.network import Network, read_network
from tests.helpers.fuzz import main, mutate
from tests.helpers.tflite_files import small_network

SECONDS = 60  # that one file may take
SHAPES = ((1, 8, 8, 3), [(1, 2, 2, 8), (1, 96), (1, 5)])
KINDS = ("tflite",)


def outcome(path: Path, sound: Network) -> str:
    """What reading a file gives; raises what it raises that is no refusal."""
    try:
        found = read_network(path, *SHAPES)
    except InputError as error:
        line = str(error)
        if len(line) > 300 or not line.isprintable():
            raise ValueError(f"a line of {len(line)} characters: {line!r}") from error
        return "refused"
    if found.graph != sound.graph or found.params.keys() != sound.params.keys():
        return "another graph"
    same = all(np.array_equal(found.params[k], v) for k, v in sound.params.items())
    return "equal" if same else "other values"


def run(kind: str, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """(how many files came out how, a line for each fault)."""
    outcomes: Counter[str] = Counter()
    faults = []
    content = small_network()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.tflite"
        path.write_bytes(content)
        sound = read_network(path, *SHAPES)
        for index in range(count):
            path.write_bytes(mutate(content, np.random.default_rng((seed, index))))
            start = time.monotonic()
            try:
                outcomes[outcome(path, sound)] += 1
            except BaseException as error:
                faults.append(f"{kind} {seed} {index}: {error!r}")
            if time.monotonic() - start > SECONDS:
                faults.append(f"{kind} {seed} {index}: more than {SECONDS} s")
    return outcomes, faults


if __name__ == "__main__":
    columns = ("refused", "equal", "other values", "another graph")
    sys.exit(main(__doc__, KINDS, columns, run))
