"""How a case may end, and the runs of the command line that the parts begin with."""

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.helpers.command_line import CNN, main

EQUAL, REFUSED = "equal", "refused"
TOLD = "told"  # the same model; what is lost beside it is named
OTHER = "other values"  # read from a file that cannot tell, as it has no checksum
SMALL = (*CNN, "--config.train.epochs=3")


class Outcome(NamedTuple):
    """ended: EQUAL, REFUSED, TOLD, OTHER, or what is wrong in words."""

    promise: str
    ended: str
    n: int = 1


# What may be said before the end: warnings, and what takes long.
MEANWHILE = re.compile(
    r"WARNING: .*|((images read|where it looked): \d+ of \d+|writing .*"
    r"|images to (answer|find hands in|ask the model about): \d+)(, \d+ s so far)?"
)


def refusal(done: subprocess.CompletedProcess[str], *mentioned: str) -> str:
    """REFUSED where a process has said why, in one line; else what is wrong."""
    *before, line = done.stderr.splitlines() or [""]
    said = [text for text in before if not MEANWHILE.fullmatch(text)]
    if done.returncode not in (1, 2) or said or not line.startswith("error: "):
        return f"exit status {done.returncode}: {done.stderr[-500:]!r}"
    if len(line) > 400 or not all(word in line for word in mentioned):
        return f"not the line expected: {line!r}"
    return REFUSED


def train(workdir: Path, arguments: tuple[str, ...] = SMALL) -> Path:
    """A finished run there."""
    done = main(*arguments, f"--workdir={workdir}")
    if done.returncode or done.stderr:
        raise RuntimeError(done.stderr)
    return workdir
