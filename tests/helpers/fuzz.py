"""Mutated files, and the command that prints a table of what came of reading them."""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np


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


def main(
    description: str | None,
    kinds: Iterable[str],
    columns: Sequence[str],
    run: Callable[[str, int, int], tuple[Counter[str], list[str]]],
) -> int:
    """Runs each kind that the command line names, or all; exit status 1 for a fault.

    columns: the outcomes to count. run: (kind, count, seed) -> (outcomes, faults).
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("kinds", nargs="*", default=list(kinds), metavar="KIND")
    given = parser.parse_args()
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
