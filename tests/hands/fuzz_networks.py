"""The reader of .tflite networks against mutated files: a table of what came of them.

    python -m tests.hands.fuzz_networks [--count=2000] [--seed=0]

Every file is read equal to the sound one, read to other values or another graph, which
the format without a checksum cannot know, or refused in one line of at most 300
characters. Anything else is a fault: it is printed with its seed, and the exit status
is 1.
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from signjax.hands.network import read_network
from tests.helpers.fuzz import main, read_each
from tests.helpers.tflite_files import small_network

SHAPES = ((1, 8, 8, 3), [(1, 2, 2, 8), (1, 96), (1, 5)])
KINDS = ("tflite",)


def run(kind: str, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """(how many files came out how, a line for each fault)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x.{kind}"
        path.write_bytes(small_network())
        sound = read_network(path, *SHAPES)

        def outcome(path: Path) -> str:
            found = read_network(path, *SHAPES)
            if found.graph != sound.graph or found.params.keys() != sound.params.keys():
                return "another graph"
            pairs = [(value, found.params[k]) for k, value in sound.params.items()]
            same = all(np.array_equal(*pair) for pair in pairs)
            return "equal" if same else "other values"

        return read_each(kind, path, count, seed, outcome=outcome)


if __name__ == "__main__":
    columns = ("refused", "equal", "other values", "another graph")
    sys.exit(main(__doc__, KINDS, columns, run))
