"""A disk that fills up at each write of a run, and of the answers of other commands.

The disk is a small tmpfs. Where none may be mounted, RLIMIT_FSIZE stands in for it: a
limit on the size of each file.
"""

import resource
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.helpers.command_line import ROOT, command, main
from tests.helpers.runs import differences
from tests.promises.outcome import EQUAL, REFUSED, SMALL, Outcome, refusal, train

PAGE = 4096  # bytes, of which a tmpfs is made
ROOM = 2**26
SIZES = 40  # of the disk, up to what a run takes


@contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[int], None]]:
    """Gives what sets the bytes of an empty disk at `folder`, which it makes."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def resize(size: int) -> None:
        if mounted:
            again = ["mount", "-o", f"remount,size={size}", str(folder)]
            subprocess.run(again, check=True)
        else:
            print("no tmpfs may be mounted: RLIMIT_FSIZE limits each file instead")
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    try:
        yield resize
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def measure_training(done: int) -> Iterator[Outcome]:
    with tempfile.TemporaryDirectory() as name:
        whole = train(Path(name) / "whole")
        pages = sum(-(-f.stat().st_size // PAGE) for f in whole.rglob("*"))
        for number in range(done, SIZES):
            folder = Path(name) / f"{number}"
            with small_disk(folder) as resize:
                resize(max(PAGE, round(number / SIZES * pages) * PAGE))
                ended = filled(whole, folder / "run", resize)
            yield Outcome("disk full while training, later with room", ended)


def filled(whole: Path, workdir: Path, resize: Callable[[int], None]) -> str:
    """How training ends on a disk that is too small, and the same command with room."""
    first = main(*SMALL, f"--workdir={workdir}")
    resize(ROOM)
    ended = refusal(first) if first.returncode else EQUAL
    if first.returncode and ended == REFUSED:
        second = main(*SMALL, f"--workdir={workdir}")
        if second.returncode or second.stderr:
            return f"with room: {second.stderr[-500:]!r}"
    if ended in (EQUAL, REFUSED) and (different := differences(whole, workdir)):
        return "; ".join(different)
    return ended


PHOTO = "docs/synthetic_hands.jpg"
ANSWERS = {
    "evaluate --output=scores.json": ("--mode=evaluate", "--output={}/scores.json"),
    "evaluate --output=scores.csv": ("--mode=evaluate", "--output={}/scores.csv"),
    "predict --sheet=page.html": ("--mode=predict", "--sheet={}/page.html", PHOTO),
    "predict --sheet=page.png": ("--mode=predict", "--sheet={}/page.png", PHOTO),
}
PRINTED = (
    ("--help",),
    ("--mode=summary", "--config=configs/cnn.py"),
    ("--mode=predict", "--workdir={}", PHOTO),
    ("--mode=predict", "--workdir={}", "--json", PHOTO),
    ("--mode=evaluate", "--workdir={}"),
    (*SMALL, "--workdir={}-2"),
)


# What was there before, and how much of what is written the disk takes.
CASES = [(old, part) for old in (b"", b"old") for part in (0, 0.25, 0.5, 1)]


def measure_answers(done: int) -> Iterator[Outcome]:
    with tempfile.TemporaryDirectory() as name:
        workdir = train(Path(name) / "run")
        for text, (mode, *rest) in ANSWERS.items():
            left, done = CASES[done:], max(0, done - len(CASES))
            if left:
                disk = Path(name) / text.partition("=")[2]
                words = (word.format(disk) for word in rest)
                for ended in answered(
                    (mode, f"--workdir={workdir}", *words), disk, left
                ):
                    yield Outcome(f"disk full while writing, {text}", ended)
        for arguments in PRINTED[done:]:
            ended = printed(*(word.format(workdir) for word in arguments))
            yield Outcome("disk full where standard output goes", ended)


def answered(
    arguments: tuple[str, ...], disk: Path, cases: Iterable[tuple[bytes, float]]
) -> Iterator[str]:
    """How a command ends that writes to a disk which is too small.

    Nothing is left of what it could not write whole, and what was there before is.
    """
    with small_disk(disk) as resize:
        resize(ROOM)
        done = main(*arguments)
        whole = {file.name: file.stat().st_size for file in disk.iterdir()}
        if done.returncode or not whole:
            raise RuntimeError(done.stderr)
        pages = sum(-(-size // PAGE) for size in whole.values())
        for old, part in cases:
            for file in disk.iterdir():
                file.unlink()
            if old:
                (disk / next(iter(whole))).write_bytes(old)
            resize(max(1, int(part * (pages - 1))) * PAGE)
            ended = refusal(main(*arguments), str(disk))
            left = {x.name: x.stat().st_size for x in disk.iterdir()}
            half = [x for x, n in left.items() if n not in (whole.get(x), len(old))]
            yield f"left in part: {half}" if half else ended


def printed(*arguments: str) -> str:
    """How a command ends whose standard output goes to a full disk."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command(*arguments),
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    return refusal(done, "standard output")
