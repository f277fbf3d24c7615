"""Files that are on disk whole or not at all: JSON, text, metrics.jsonl."""

import errno
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import get_ident
from typing import Any

from signjax.errors import InputError, RunError
from signjax.runtime import bucket
from signjax.runtime.bucket import BucketPath, as_path
from signjax.runtime.lease import require_leases


def cache_directory() -> Path:
    """$SIGNJAX_CACHE, else $XDG_CACHE_HOME/signjax, else ~/.cache/signjax.

    Raises RunError where there is no home, as for a container's numeric user.
    """
    if own := os.environ.get("SIGNJAX_CACHE"):
        return Path(own)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "signjax"
    try:
        return Path.home() / ".cache" / "signjax"
    except RuntimeError as error:
        raise RunError(
            "there is no home directory to keep downloads in: set SIGNJAX_CACHE=DIR"
        ) from error


# Ends the name of a file or folder that is being made or removed.
UNFINISHED = ".tmp"


class MetricsFile:
    """metrics.jsonl: one JSON object a line, each with the `step` it was taken at.

    A record is on disk when `append` returns, so appending before the checkpoint of
    the same step is saved, and `truncate_after` on resuming, keep every step once.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = as_path(str(path))

    def append(self, record: Mapping[str, Any]) -> None:
        """Adds one line; NaN and infinite values become null.

        Raises InputError or RunError where it cannot be written, as `write_json`.
        """
        if isinstance(self.path, BucketPath):  # an object grows by being replaced
            write_bytes(self.path, self.path.read().value + _line(record))
            return
        with _errors_of(self.path), self.path.open("ab") as file:
            file.write(_line(record))
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> list[dict[str, Any]]:
        """All records in file order; a last line cut short by a kill is left out.

        Raises InputError with file and line number where a line is no record.
        """
        if not self.path.exists():
            return []
        # A record ends with its newline; what follows the last one was cut short.
        *lines, _ = self.path.read_bytes().split(b"\n")
        return [self._parse(number, line) for number, line in enumerate(lines, 1)]

    def truncate_after(self, step: int) -> None:
        """Drops the records of steps beyond `step`, which a resumed run takes again."""
        if self.path.exists():
            kept = [record for record in self.read() if record["step"] <= step]
            write_bytes(self.path, b"".join(map(_line, kept)))

    def _parse(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            record = json.loads(line)
        except ValueError:  # not JSON or not UTF-8
            record = None
        if not isinstance(record, dict) or not isinstance(record.get("step"), int):
            raise InputError(
                f"{self.path}, line {number}: expected a JSON object with an integer "
                f"'step', found {line[:40]!r}; remove the line or the file"
            )
        return record


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes `value` as indented JSON with sorted keys, whole or not at all.

    Arrays become lists, NaN and infinite numbers null. Missing folders are made.
    Raises InputError where the file cannot be written.
    """
    text = json.dumps(_plain(value), indent=2, sort_keys=True, allow_nan=False)
    write_bytes(path, text.encode() + b"\n")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file, in UTF-8, as `write_json` writes its own.

    What a file name holds that is no text is written as an escape.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


def read_json(path: str | os.PathLike[str]) -> Any:
    """The value in a JSON file. Raises InputError naming the file and the cause."""
    try:
        return json.loads(as_path(str(path)).read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path}: expected a JSON file: {error}") from error


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(_plain(record), allow_nan=False).encode() + b"\n"


def _plain(value: Any) -> Any:
    """`value` as JSON has it: arrays as lists, NaN and infinities as None."""
    if hasattr(value, "tolist"):  # NumPy and JAX arrays and scalars
        value = value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def publish(unfinished: Path, path: Path) -> None:
    """Renames a finished file or folder to `path`, once all of it is on disk.

    A file that has the name is replaced. When this returns, the new name outlives a
    power cut too, as far as the disk keeps what it reports as flushed. Raises OSError.
    Into a bucket a folder is copied, and its own files come last.
    """
    if isinstance(path, BucketPath):
        require_leases(path)
        bucket.upload(unfinished, path)
        shutil.rmtree(unfinished)
        return
    for part in (unfinished, *unfinished.rglob("*")):
        _flush(part)
    unfinished.replace(path)
    for folder in path.parent, path.parent.parent:  # the first may be new as well
        _flush(folder)


def unpublish(path: Path) -> None:
    """Removes a folder, of which a removal cut short leaves nothing under its name.

    In a bucket its own files are gone first.
    """
    if isinstance(path, BucketPath):
        require_leases(path)
        bucket.remove(path)
    else:
        shutil.rmtree(path.rename(path.with_name(path.name + UNFINISHED)))


@contextmanager
def on_disk(path: Path) -> Iterator[Path]:
    """A folder of this machine: `path` itself, or a copy while the block runs."""
    if not isinstance(path, BucketPath):
        yield path
        return
    with TemporaryDirectory(prefix="signjax-") as folder:
        bucket.download(path, Path(folder))
        yield Path(folder)


def beside(path: Path) -> Path:
    """The folder of this machine in which what is published at `path` is made."""
    if isinstance(path, BucketPath):
        return cache_directory().joinpath("unfinished", *path.parts[1:-1])
    return path.parent


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to be filled, which is at `path` once the block has ended well.

    Until then it is beside it under another name, and gone if the block fails. Raises
    InputError at once where something is at `path`, an empty folder excepted, and where
    it cannot be written.
    """
    _require_no_content(path)
    unfinished = path.with_name(f".{path.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # of one that was killed
    try:
        with _errors_of(path):
            unfinished.mkdir(parents=True)
        yield unfinished
        with _errors_of(path):
            publish(unfinished, path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _require_no_content(path: Path) -> None:
    """Raises InputError where there is something at `path`, but an empty folder."""
    with _errors_of(path):
        if path.is_dir() and not any(path.iterdir()):
            return
        if path.exists():
            what = "a folder with files in it" if path.is_dir() else "a file"
            raise InputError(f"{path}: {what}; name a new folder or an empty one")


def _flush(path: Path) -> None:
    try:
        file = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    except PermissionError:
        if path.is_dir():
            return  # Windows opens no folders, and not everybody may list /home
        raise
    try:
        os.fsync(file)
    finally:
        os.close(file)


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Puts `content` at `path` so that a kill leaves the old file or the new one."""
    path = as_path(str(path))
    if isinstance(path, BucketPath):
        require_leases(path)
        path.write_bytes(content)
        return
    with _errors_of(path):
        if path.exists() and not path.is_file():
            path.write_bytes(content)  # /dev/stdout or a named pipe must stay one
            return
        path = path.resolve()  # a link stays a link
        if not path.parent.exists():  # of a file there, writing tells what is wrong
            path.parent.mkdir(parents=True, exist_ok=True)
        # Of this writer alone: several runs may write one file of the cache at once.
        unfinished = path.with_name(f".{os.getpid()}-{get_ident()}{UNFINISHED}")
        try:
            unfinished.write_bytes(content)
            publish(unfinished, path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """A full disk is the run's failure; another place is wrong."""
    try:
        yield
    except OSError as error:
        told = f"{path}: cannot be written: {error.strerror}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise RunError(
                f"{told}; free some space and give the same command again"
            ) from error
        raise InputError(told) from error
