"""Mutated files, and the command that prints a table of what came of reading them."""

import argparse
import os
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from signjax.errors import InputError
from signjax.runtime import hdf5
from signjax.runtime.files import write_json

SECONDS = 60  # that one file may take


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


def read_each(
    kind: str,
    path: Path,
    count: int,
    seed: int,
    *,
    outcome: Callable[[Path], str],
    mutated: Callable[[bytes, np.random.Generator], bytes] = mutate,
) -> tuple[Counter[str], list[str]]:
    """(how many of so many mutated files came out how, a line for each fault).

    path: a sound file, which is written over. outcome: what came of reading the file
    there; InputError is a refusal if it has one line of at most 300 characters.
    """
    outcomes: Counter[str] = Counter()
    faults = []
    sound = path.read_bytes()
    for index in range(count):
        path.write_bytes(mutated(sound, np.random.default_rng((seed, index))))
        start, fault = time.monotonic(), ""
        try:
            outcomes[outcome(path)] += 1
        except InputError as error:
            if len(line := str(error)) <= 300 and line.isprintable():
                outcomes["refused"] += 1
            else:
                fault = f"a line of {len(line)} characters: {line!r}"
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic in Rust is no Exception
            fault = repr(error)
        if time.monotonic() - start > SECONDS:
            fault = f"more than {SECONDS} s"
        if fault:
            faults.append(f"{kind} {seed} {index}: {fault}")
    return outcomes, faults


def fork_and_touch(content: bytes) -> None:
    """As `hdf5.refuse_unsound_hdf5`, without the seconds that a new Python takes."""
    with warnings.catch_warnings():  # of JAX's threads, which the child does not use
        warnings.simplefilter("ignore")
        child = os.fork()
    if child:
        if os.waitpid(child, 0)[1]:
            raise ValueError("HDF5's library fails on it")
        return
    try:
        signal.alarm(SECONDS)
        hdf5._CPU_SECONDS = 1  # the files are small
        hdf5.touch(content)
        os._exit(0)
    finally:
        os._exit(1)


# Outcome -> its heading in tables, where it is another.
_HEADINGS = {"refused": "refused in one line", "equal": "read equal"}


def main(
    description: str | None,
    kinds: Iterable[str],
    columns: Sequence[str],
    run: Callable[[str, int, int], tuple[Counter[str], list[str]]],
) -> int:
    """Runs each kind that the command line names, or all; exit status 1 for a fault.

    Prints a table, a row a kind, and writes it to --output as JSON. columns: the
    outcomes to count. run: (kind, count, seed) -> (outcomes, a line for each fault).
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", help="a JSON file for the rows")
    parser.add_argument("kinds", nargs="*", default=list(kinds), metavar="KIND")
    given = parser.parse_args()
    rows: list[dict[str, str | int]] = []
    for kind in given.kinds:
        outcomes, faults = run(kind, given.count, given.seed)
        counts = {_HEADINGS.get(name, name): outcomes[name] for name in columns}
        row = {"promise": f"mutated {kind} files", "n": given.count, **counts}
        rows.append(row | {"faults": len(faults)})
        if len(rows) == 1:
            print("| " + " | ".join(rows[0]) + " |\n" + "|---" * len(rows[0]) + "|")
        print("| " + " | ".join(map(str, rows[-1].values())) + " |", flush=True)
        for fault in faults[:10]:
            print(fault, file=sys.stderr)
        if given.output:
            write_json(given.output, rows)
    return int(any(row["faults"] for row in rows))
