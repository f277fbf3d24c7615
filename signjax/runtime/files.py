"""Files that are on disk whole or not at all: JSON, text, metrics.jsonl."""

import errno
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from signjax.errors import InputError, RunError, SignjaxError


def cache_directory() -> Path:
    """$SIGNJAX_CACHE, else $XDG_CACHE_HOME/signjax, else ~/.cache/signjax."""
    if own := os.environ.get("SIGNJAX_CACHE"):
        return Path(own)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "signjax"
    return Path.home() / ".cache" / "signjax"


class MetricsFile:
    """metrics.jsonl: one JSON object a line, each with the `step` it was taken at.

    A record is on disk when `append` returns, so appending before the checkpoint of
    the same step is saved, and `truncate_after` on resuming, keep every step once.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def append(self, record: Mapping[str, Any]) -> None:
        """Adds one line; NaN and infinite values become null.

        Raises InputError or RunError where it cannot be written, as `write_json`.
        """
        try:
            with self.path.open("ab") as file:
                file.write(_line(record))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _unwritable(self.path, error) from error

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
            _replace(self.path, b"".join(map(_line, kept)))

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
    _replace(Path(path), text.encode() + b"\n")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file, in UTF-8, as `write_json` writes its own.

    What a file name holds that is no text is written as an escape.
    """
    _replace(Path(path), text.encode(errors="backslashreplace"))


def read_json(path: str | os.PathLike[str]) -> Any:
    """The value in a JSON file. Raises InputError naming the file and the cause."""
    try:
        return json.loads(Path(path).read_bytes())
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


def _replace(path: Path, content: bytes) -> None:
    """Puts `content` at `path` so that a kill leaves the old file or the new one."""
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)  # /dev/stdout or a named pipe must stay one
            return
        path = path.resolve()  # a link stays a link
        if not path.parent.exists():
            path.parent.mkdir(parents=True)
        unfinished = path.with_name(path.name + ".tmp")
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> SignjaxError:
    """A full disk is the run's failure, to be gone on from; another place is wrong."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return RunError(
            f"{path}: cannot be written: {error.strerror}; free some space, and the "
            "same command goes on from what was saved"
        )
    return InputError(f"{path}: cannot be written: {error.strerror}")
