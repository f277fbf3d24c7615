"""What signjax promises of bad moments and bad files, measured: a row a promise.

    python -m tests.promises --output=benchmarks/results/promises.json [--only=PART ...]

Each case ends equal (as if nothing had happened, to the bit), or is refused in one
line, or loses no more than a record, which is told, or is a fault, which makes the exit
status 1. Rows are kept as they
are made: the same command goes on where it was stopped, and does no more of what is
finished. `python -m experiments.tables` writes their table in docs/results.md.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from signjax.runtime.machine import provenance
from signjax.workdir import versions
from tests.promises import damage, disk, fuzz, kills, together
from tests.promises.outcome import EQUAL, OTHER, REFUSED, TOLD, Outcome

# Name -> how many of its cases are done -> the outcomes of the others, one by one.
PARTS: dict[str, Callable[[int], Iterator[Outcome]]] = {
    "kills-cnn": partial(kills.measure, "CNN", 180),
    "kills-resnet": partial(kills.measure, "ResNet", 20),
    "kills-storage": partial(kills.measure_in_bucket, "CNN", 20),
    "damage": damage.measure,
    "disk-training": disk.measure_training,
    "disk-answers": disk.measure_answers,
    "together": together.measure,
    "pipes": together.measure_pipes,
    "images": partial(fuzz.measure, "tests.data.fuzz_images", "KINDS"),
    "weights": partial(fuzz.measure, "tests.pretrained.fuzz_weights", "WRITERS"),
}


def add(rows: list[dict[str, Any]], part: str, outcome: Outcome) -> None:
    """Counts an outcome in the row of its promise, which it may begin."""
    row = next((row for row in rows if row["promise"] == outcome.promise), None)
    if row is None:
        row = {"promise": outcome.promise, "part": part, "n": 0}
        row |= {EQUAL: 0, REFUSED: 0, TOLD: 0, OTHER: 0, "faults": []}
        rows.append(row)
    row["n"] += outcome.n
    if outcome.ended in (EQUAL, REFUSED, TOLD, OTHER):
        row[outcome.ended] += outcome.n
    else:
        row["faults"].append(outcome.ended)
    row |= {"versions": versions(), **provenance()}
    print(
        f"{datetime.now(UTC):%H:%M:%S} {row['n']:5} {outcome.promise}: {outcome.ended}",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="JSON file of rows")
    parser.add_argument("--only", action="append", choices=PARTS, help="a part")
    given = parser.parse_args()
    # A kill of this command too takes down what it has mounted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    rows = json.loads(given.output.read_text()) if given.output.exists() else []
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("SIGNJAX_CACHE", str(Path(folder) / "cache"))
        for part in given.only or PARTS:
            done = sum(row["n"] for row in rows if row["part"] == part)
            for outcome in PARTS[part](done):
                add(rows, part, outcome)
                given.output.write_text(json.dumps(rows, indent=1) + "\n")
    names = ("promise", "n", EQUAL, REFUSED, TOLD, OTHER)
    print(f"| {' | '.join(names)} | faults |\n{'|---' * 7}|")
    for row in rows:
        values = [*(row[name] for name in names), len(row["faults"])]
        print(f"| {' | '.join(map(str, values))} |")
    return int(any(row["faults"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
