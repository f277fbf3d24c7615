"""Two processes on one workdir, and readers of standard output that leave early."""

import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.helpers.command_line import ROOT, command
from tests.helpers.runs import LONG, differences, start
from tests.promises.disk import PHOTO, PRINTED
from tests.promises.outcome import EQUAL, MEANWHILE, REFUSED, Outcome, refusal, train

PAIRS = 10  # of each kind
PREDICT = ("--mode=predict", PHOTO)


def measure(done: int) -> Iterator[Outcome]:
    with tempfile.TemporaryDirectory() as name:
        whole = train(Path(name) / "whole", LONG)
        for number in range(done, 2 * PAIRS):
            workdir = Path(name) / f"{number}"
            trains = start(LONG, workdir)
            # Some begin together, others when the first one trains and saves.
            time.sleep(random.uniform(2, 10) * (number % 4 > 1))
            if number % 2:
                other = start(PREDICT, workdir)
                ended = [training(trains), predicting(other)]
                promise = "another process predicts where one trains"
            else:
                other = start(LONG, workdir)
                ended = [training(trains), training(other)]
                promise = "another process trains where one trains"
            wrong = [x for x in ended if x not in (EQUAL, REFUSED)]
            wrong += differences(whole, workdir) if EQUAL in ended else ["both refused"]
            both = REFUSED if REFUSED in ended else EQUAL
            yield Outcome(promise, "; ".join(wrong) or both)


def training(process: subprocess.Popen[str]) -> str:
    done = finished(process)
    quiet = done.returncode == 0 and not done.stderr
    return EQUAL if quiet else refusal(done, "is in use by another process")


def predicting(process: subprocess.Popen[str]) -> str:
    done = finished(process)
    if done.returncode == 0 and len(done.stdout.splitlines()) == 1:
        return EQUAL
    return refusal(done, "holds no")  # run, or no checkpoint, yet


def finished(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    try:
        stdout, stderr = process.communicate(timeout=900)
    finally:
        process.kill()
    return subprocess.CompletedProcess([], process.returncode, stdout, stderr)


def measure_pipes(done: int) -> Iterator[Outcome]:
    """Quiet and with status 1, as other tools are; or at the end before it is seen."""
    with tempfile.TemporaryDirectory() as name:
        workdir = train(Path(name) / "run")
        cases = [(case, lines) for case in PRINTED for lines in (0, 1)]
        for arguments, lines in cases[done:]:
            words = (word.format(workdir) for word in arguments)
            process = subprocess.Popen(
                command(*words),
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert process.stdout is not None and process.stderr is not None
            for _ in range(lines):
                process.stdout.readline()
            process.stdout.close()
            said = [x for x in process.stderr if not MEANWHILE.fullmatch(x.strip())]
            process.stderr.close()
            # Where a line could be read, all may have been written before.
            quiet = process.wait() in (1, 1 - lines) and not said
            ended = EQUAL if quiet else f"{process.returncode}: {''.join(said)[-500:]}"
            yield Outcome("standard output closed by its reader", ended)
