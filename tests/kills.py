"""Runs killed at random moments: does each end with the bits of one never killed?

    python -m tests.kills --kills=40 --output=kills.json

A run is killed (SIGKILL) and resumed until it ends; then the next one begins, until all
kills are spent. They are aimed, in turn, at any moment, at a random step of the rest,
inside a save, at a random step and inside the report, which follows training. What each
run ends with, the
arrays of its last checkpoint, metrics.jsonl and result.json (both without timings), is
compared with a run that was never killed. Exit status 1 where anything differs or a
run says anything on stderr.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from signjax.runtime.machine import provenance
from signjax.workdir import versions
from tests.helpers.runs import (
    LONG,
    RESNET,
    differences,
    freeze_when,
    is_inside_a_later_save,
    saved_steps,
    start,
)

RUNS = {"cnn": (*LONG, "--config.train.epochs=40"), "resnet": RESNET}
AIMS = ("any moment", "training", "save", "training", "report")


class Run:
    """One workdir, its run killed and resumed."""

    def __init__(self, arguments: tuple[str, ...], workdir: Path) -> None:
        self.workdir = workdir
        self.problems: list[str] = []
        self._arguments = arguments

    def kill(self, aim: str, *, last_step: int, within: float) -> dict[str, Any] | None:
        """Starts or resumes it and kills it; None where it ended before.

        within: seconds of which a kill at any moment takes a part.
        """
        resumed = max(saved_steps(self.workdir), default=0)
        left = self._unfinished()
        begin = time.monotonic()
        said = self.workdir.with_suffix(".log")
        with said.open("w") as stdout:
            process = start(self._arguments, self.workdir, stdout=stdout)
        if aim == "any moment":
            wait_for(process, random.uniform(0, within))
        elif aim == "save":
            freeze_when(process, lambda: is_inside_a_later_save(self.workdir))
        else:
            step = last_step if aim == "report" else random.randint(resumed, last_step)
            freeze_when(
                process,
                lambda: (
                    "steps:" in said.read_text()
                    and saved_steps(self.workdir)[-1:] >= [step]
                ),
            )
            process.send_signal(signal.SIGCONT)
            wait_for(process, random.uniform(0, 2 if aim == "report" else 0.3))
        process.kill()
        self._note(process.communicate()[1])
        if process.returncode >= 0:
            if process.returncode:
                self.problems.append(f"exit status {process.returncode}")
            return None
        return {
            "inside": self._inside(said.read_text(), last_step, left),
            "seconds": round(time.monotonic() - begin, 2),
            "resumed_after_step": resumed,
            "saved_steps": saved_steps(self.workdir),
        }

    def finish(self) -> None:
        with tempfile.TemporaryFile("w") as unread:
            process = start(self._arguments, self.workdir, stdout=unread)
        self._note(process.communicate()[1])
        if process.returncode:
            self.problems.append(f"exit status {process.returncode}")

    def _note(self, stderr: str) -> None:
        if stderr:
            self.problems.append(stderr.strip().splitlines()[-1])

    def _unfinished(self) -> set[tuple[str, int]]:
        """The saves cut short that are there, until the next one begins."""
        return {(p.name, p.stat().st_ino) for p in self.workdir.glob("*/*.tmp")}

    def _inside(self, said: str, last_step: int, left: set[tuple[str, int]]) -> str:
        if "steps:" not in said:
            return "start"
        if self._unfinished() - left:
            return "save"
        return "report" if last_step in saved_steps(self.workdir) else "training"


def wait_for(process: subprocess.Popen[str], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        pass


def measure(name: str, kills: int, folder: Path) -> dict[str, Any]:
    """The row of `kills` kills over as many runs as they take."""
    begin = time.monotonic()
    whole = Run(RUNS[name], folder / "whole")
    whole.finish()
    seconds = time.monotonic() - begin
    last_step = saved_steps(whole.workdir)[-1]
    problems = whole.problems
    killed: list[dict[str, Any]] = []
    runs = 0
    while len(killed) < kills:
        run = Run(RUNS[name], folder / f"{runs}")
        runs += 1
        while len(killed) < kills:
            aim = AIMS[len(killed) % len(AIMS)]
            begin = time.monotonic()
            row = run.kill(aim, last_step=last_step, within=seconds)
            if row is None:
                seconds = min(seconds, time.monotonic() - begin)
                break
            killed.append({"run": runs, **row})
            print(
                f"kill {len(killed):3}/{kills}  run {runs}  inside {row['inside']:8}  "
                f"after {row['seconds']:6.2f} s  saved {row['saved_steps']}",
                flush=True,
            )
        else:
            run.finish()
        problems += run.problems + differences(whole.workdir, run.workdir)
        print(f"run {runs} ended: {'; '.join(problems) or 'the same bits'}", flush=True)
    return {
        "model": name,
        "kills": kills,
        "inside": dict(Counter(row["inside"] for row in killed)),
        "runs": runs,
        "problems": problems,
        "each": killed,
        "versions": versions(),
        **provenance(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--model", choices=RUNS, default="cnn")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--output", help="JSON file to write")
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SIGNJAX_CACHE"] = str(Path(folder) / "cache")
        row = measure(arguments.model, arguments.kills, Path(folder))
    inside = ", ".join(f"{count} in {where}" for where, count in row["inside"].items())
    end = "; ".join(row["problems"]) or "every run ended with the same bits"
    print(f"{row['kills']} kills ({inside}) of {row['runs']} runs: {end}")
    if arguments.output:
        Path(arguments.output).write_text(json.dumps([row], indent=1) + "\n")
    return 1 if row["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
