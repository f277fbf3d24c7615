"""Runs killed by SIGKILL and resumed until they end, with the bits of one never killed.

The kills are aimed, in turn, at any moment, at a moment of an epoch, inside a save, and
inside the report, which follows training.
"""

import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from signjax.runtime.bucket import BucketPath
from signjax.runtime.files import MetricsFile
from signjax.runtime.lease import LAPSE
from tests.helpers.bucket import BUCKET, bucket_server, without_log
from tests.helpers.command_line import CNN
from tests.helpers.runs import (
    differences,
    freeze_when,
    is_inside_a_later_save,
    saved_steps,
    start,
    unfinished_files,
)
from tests.promises.outcome import EQUAL, Outcome

RUNS = {
    "CNN": (  # a save takes longer than an epoch, so that not every epoch has one
        *CNN,
        "--config.data.synthetic_train=48",
        "--config.train.batch_size=1",
        "--config.train.epochs=40",
        "--config.run.checkpoint_every_epochs=8",
    ),
    "ResNet": (  # narrow and short
        "--config=configs/resnet.py",
        "--config.model.width=8",
        "--config.model.stage_sizes=(1,1,1,1)",
        "--config.data.source=synthetic",
        "--config.data.synthetic_count=0",
        "--config.data.synthetic_train=48",
        "--config.data.synthetic_test=12",
        "--config.data.image_size=32",
        "--config.train.batch_size=4",
        "--config.train.epochs=20",
        "--config.run.checkpoint_every_epochs=4",
    ),
}
AIMS = ("save", "epoch", "report", "any moment", "epoch")


def measure_in_bucket(model: str, count: int, done: int) -> Iterator[Outcome]:
    """The same of workdirs in a bucket, against a run on disk."""
    with bucket_server() as environment:
        os.environ |= environment
        yield from measure(model, count, done, BucketPath(f"gs://{BUCKET}"))


def measure(
    model: str, count: int, done: int, place: Path | None = None
) -> Iterator[Outcome]:
    """The outcomes of the kills that are left of `count`, once their run has ended.

    place: of the workdirs of the runs that are killed, if not the disk.
    """
    with tempfile.TemporaryDirectory() as name:
        whole = Run(model, Path(name) / "whole", Path(name) / "log")
        begin = time.monotonic()
        whole.finish()
        if whole.problems:
            raise RuntimeError(whole.problems[0])
        seconds = time.monotonic() - begin
        last_step = saved_steps(whole.workdir)[-1]
        while done < count:
            run = Run(model, (place or Path(name)) / f"{done}", Path(name) / "log")
            places = []
            while done + len(places) < count:
                aim = AIMS[(done + len(places)) % len(AIMS)]
                killed = run.kill(aim, last_step=last_step, within=seconds)
                if killed is None:
                    break
                places.append(killed)
            else:
                run.finish()
            different = differences(whole.workdir, run.workdir)
            problems = run.problems + different
            where = " in a bucket" if place else ""
            for killed in places:
                ended = "; ".join(problems) or EQUAL
                yield Outcome(f"{model}{where} killed {killed}, then resumed", ended)
            done += len(places)


class Run:
    """One workdir, its run killed and resumed."""

    def __init__(self, model: str, workdir: Path, log: Path) -> None:
        self.workdir = workdir
        self.problems: list[str] = []
        self._arguments = RUNS[model]
        self._stdout = log

    def finish(self) -> None:
        self._run(lambda process: process.wait())

    def kill(self, aim: str, *, last_step: int, within: float) -> str | None:
        """Starts or resumes it and kills it; says where, None if it ended before.

        within: seconds of which a kill at any moment takes a part.
        """
        if isinstance(self.workdir, BucketPath):
            within += LAPSE  # what the one killed before holds the workdir for
        unfinished, records = self._unfinished(), self._records()
        epochs = records + random.randint(0, 10)

        def until_then(process: subprocess.Popen[str]) -> None:
            if aim == "any moment":
                wait(process, within)
            elif aim == "save":
                freeze_when(process, lambda: is_inside_a_later_save(self.workdir))
            elif aim == "epoch":
                freeze_when(
                    process, lambda: self._trains() and self._records() >= epochs
                )
                wait(process, 0.1)
            else:
                freeze_when(process, lambda: self._trains() and self._saved(last_step))
                wait(process, 2)

        if self._run(until_then) != -signal.SIGKILL:
            return None
        if not self._trains():
            return "at the start"
        if self._saved(last_step):
            return "inside the report"
        return "inside a save" if self._unfinished() - unfinished else "inside an epoch"

    def _run(self, until_then: Callable[[subprocess.Popen[str]], Any]) -> int:
        """Runs it, then kills it; its exit status. Notes what it says meanwhile."""
        with self._stdout.open("w") as stdout:
            process = start(self._arguments, self.workdir, stdout=stdout)
        try:
            until_then(process)
        finally:
            process.kill()
            lines = without_log(process.communicate()[1]).splitlines(keepends=True)
        # In a bucket a save that the kill before cut short is named.
        stderr = "".join(line for line in lines if "is passed over: it has" not in line)
        if stderr or process.returncode > 0:
            last = stderr.strip().splitlines()[-1:]
            self.problems.append(f"exit status {process.returncode}: {last}")
        return process.returncode

    def _trains(self) -> bool:
        return "steps:" in self._stdout.read_text()

    def _saved(self, step: int) -> bool:
        return step in saved_steps(self.workdir)

    def _records(self) -> int:
        return len(MetricsFile(self.workdir / "metrics.jsonl").read())

    def _unfinished(self) -> set[tuple[str, Any]]:
        """The saves cut short that are there, until the next one begins."""
        if isinstance(self.workdir, BucketPath):
            files = [x for x in unfinished_files(self.workdir) if x.is_file()]
            return {(str(x), x.read().stamp.generation) for x in files}
        return {(p.name, p.stat().st_ino) for p in self.workdir.glob("*/*.tmp")}


def wait(process: subprocess.Popen[str], most: float) -> None:
    """Lets it run for a random time, in seconds."""
    process.send_signal(signal.SIGCONT)
    try:
        process.wait(random.uniform(0, most))
    except subprocess.TimeoutExpired:
        pass
