"""Compiles the shipped configs for chips that are not here; keeps what compilers say.

    pip install -c constraints.txt -e ".[aot-tpu,aot-cuda]"
    python -m benchmarks.topology [--only=v5e]

Each run is the real command line, --mode=benchmark --topology=..., in a fresh process.
A convolution of few channels takes a TPU's compiler minutes. Called again, it goes on
with the runs that have no rows; rows go to results/topology.json.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from signjax.errors import SignjaxError
from signjax.runtime.files import read_json
from signjax.runtime.machine import ROOT

FILE = Path(__file__).parent / "results" / "topology.json"
OTHERS = (
    "cnn.py:seed",
    "cnn.py",
    "resnet.py:seed",
    "resnet_pretrained.py",
    "resnet_pretrained.py:frozen",
    "digits.py",
    "recogniser.py",
)
# (topology, config, sweep), those that say most first; four chips take four times the
# images, so each has as many as the chip alone.
RESNET = ("resnet.py", "program=step")
FOUR = ("resnet.py", "program=step batch_size=128")
RUNS = [
    ("v5e", *RESNET),
    ("v5e:2x2", *FOUR),
    ("v5e", "resnet.py", "program=bare"),
    *[(chip, *RESNET) for chip in ("v6e", "v5p", "v4")],
    ("h200", *RESNET),
    ("h200:4", *FOUR),
    ("h200", "resnet.py", "program=bare"),
    *[(chip, *RESNET) for chip in ("h100", "a100")],
    *[
        (chip, name, "program=step")
        for chip in ("v5e", "h200", "v6e", "v5p", "v4")
        for name in OTHERS
    ],
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="runs of this topology alone, as v5e:2x2")
    only = parser.parse_args().only
    rows = read_json(FILE) if FILE.exists() else []
    done = {*map(run_of, rows)}
    for run in RUNS:
        if run in done or only not in (None, run[0]):
            continue
        rows += compile_run(*run)
        rows.sort(key=lambda row: RUNS.index(run_of(row)))
        lines = ",\n".join(json.dumps(row, sort_keys=True) for row in rows)
        FILE.write_text(f"[\n{lines}\n]\n")


def compile_run(topology: str, config: str, sweep: str) -> list[dict]:
    """The rows of one call; those of programs that do not compile too."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "rows.json"
        command = [sys.executable, "main.py", "--mode=benchmark"]
        command += [f"--topology={topology}", f"--config=configs/{config}"]
        command += [f"--sweep={sweep}", f"--output={output}"]
        status = subprocess.run(command, cwd=ROOT).returncode
        try:
            rows = read_json(output)
        except SignjaxError as error:
            raise SystemExit(f"{' '.join(command)} ended with {status}") from error
    return [{**row, "config": config, "sweep": sweep} for row in rows]


def run_of(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """The run that a row is of, as in RUNS."""
    return row["topology"], row["config"], row["sweep"]


if __name__ == "__main__":
    main()
