"""Every file of a checkpoint damaged in four ways, then the run resumed.

Of the newest checkpoint: the one before is taken, a line says so, and the run ends with
the same bits. Of all of them: refused in one line. The workdir's other files are plain
text without checksums, so no bit of theirs is flipped; records of metrics.jsonl that
are lost are named.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.helpers.command_line import main
from tests.helpers.runs import LONG, differences, freeze_when, saved_steps, start
from tests.promises.outcome import EQUAL, TOLD, Outcome, refusal, train

OTHERS = ("run.json", "trained_on.json", "metrics.jsonl")


def flip_a_bit(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


HARMS: dict[str, Callable[[bytes], bytes | None]] = {
    "with a flipped bit": flip_a_bit,
    "truncated": lambda content: content[: len(content) // 2],
    "zeroed": lambda content: bytes(len(content)),
    "deleted": lambda content: None,
}


def measure(done: int) -> Iterator[Outcome]:
    with tempfile.TemporaryDirectory() as name:
        whole = train(Path(name) / "whole", LONG)
        stopped, workdir = Path(name) / "stopped", Path(name) / "damaged"
        process = start(LONG, stopped)
        freeze_when(process, lambda: len(saved_steps(stopped)) > 1)
        process.kill()
        process.communicate()
        for promise, files, harm in list(cases(stopped))[done:]:
            shutil.rmtree(workdir, ignore_errors=True)
            shutil.copytree(stopped, workdir)
            for file in files:
                damage(workdir / file, harm)
            yield Outcome(promise, resumed(whole, workdir, files))


def cases(stopped: Path) -> Iterator[tuple[str, list[Path], str]]:
    """What is promised, the files to damage, named below `stopped`, and how."""
    checkpoints = [stopped / f"checkpoints/{s:08d}" for s in saved_steps(stopped)]
    newest = [x.relative_to(stopped) for x in files_of(checkpoints[-1])]
    manifests = [(x / "manifest.json").relative_to(stopped) for x in checkpoints]
    for harm in HARMS:
        for file in newest:
            if harm == "deleted" or (stopped / file).stat().st_size:  # some are empty
                yield f"file of the newest checkpoint {harm}", [file], harm
        yield f"file of each checkpoint {harm}", manifests, harm
        for file in OTHERS if harm != "with a flipped bit" else ():
            yield f"{file} {harm}", [Path(file)], harm


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def damage(file: Path, harm: str) -> None:
    content = HARMS[harm](file.read_bytes())
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)


def resumed(whole: Path, workdir: Path, files: list[Path]) -> str:
    """How the same command then ends."""
    done = main(*LONG, f"--workdir={workdir}")
    if done.returncode:
        return refusal(done)
    expected, same, ended = [], [], EQUAL
    if files[0].parts[0] == "checkpoints":
        expected = ["is damaged and passed over"]
    elif files[0].name == "metrics.jsonl":
        expected, same, ended = ["the records of epochs"], ["metrics.jsonl"], TOLD
    said = done.stderr.splitlines()
    if len(said) != len(expected) or any(
        text not in line for text, line in zip(expected, said, strict=True)
    ):
        return f"{files[0]}: said {said}"
    if (different := differences(whole, workdir)) != same:
        return f"{files[0]}: {different}"
    return ended
