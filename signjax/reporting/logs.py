"""What a run tells people and programs: console lines, metrics.jsonl, JSON files."""

import contextlib
import errno
import io
import json
import math
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from signjax.errors import InputError, RunError, SignjaxError

SLOW = 2.0  # seconds after which a person wants to know what takes so long

# rich is imported where it is drawn with: a run whose output goes to a file or a
# pipe starts without it.


class Progress:
    """Where the training loop reports its steps; this one, for pipes, is silent."""

    def update(
        self, step: int, *, loss: float, accuracy: float, images_per_second: float
    ) -> None:
        """Shows that `step` optimizer steps are done; the numbers are the latest."""


class _ProgressBar(Progress):
    def __init__(self, total_steps: int, first_step: int) -> None:
        from rich import progress

        self.bar = progress.Progress(
            progress.TextColumn("step"),
            progress.MofNCompleteColumn(),
            progress.BarColumn(bar_width=None),
            progress.TextColumn("{task.fields[numbers]}"),
            progress.TextColumn("ETA"),
            progress.TimeRemainingColumn(),
            # The span that the ETA averages over takes in evaluations and slow steps.
            speed_estimate_period=300,
            refresh_per_second=4,
            redirect_stderr=is_terminal(sys.stderr),
            transient=True,
            expand=True,
        )
        self._task = self.bar.add_task(
            "", total=total_steps, completed=first_step, numbers="compiling"
        )

    def update(
        self, step: int, *, loss: float, accuracy: float, images_per_second: float
    ) -> None:
        numbers = (
            f"loss {loss:.4f}  accuracy {accuracy:.3f}"
            f"  {images_per_second:.1f} images/s"
        )
        self.bar.update(self._task, completed=step, numbers=numbers)


class Console:
    """Lines for a person: results on stdout, warnings on stderr.

    A terminal gets a progress bar and boxed warnings, anything else plain lines.
    Characters that the encoding of stdout or stderr cannot express are escaped.
    quiet: says nothing at all, as another process says the same.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bar: _ProgressBar | None = None
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")

    def header(self, lines: Mapping[str, str]) -> None:
        """What is about to run, printed once: one aligned `key: value` a line."""
        width = max(map(len, lines), default=0) + 1
        for key, value in lines.items():
            self.info(f"{key + ':':<{width}} {value}")

    def info(self, text: str) -> None:
        """One plain line on stdout (above the bar, which redirects stdout)."""
        if not self._quiet:
            print(text, flush=True)

    @contextlib.contextmanager
    def if_slow(self, text: str) -> Iterator[None]:
        """Prints `text` if the block takes more than SLOW seconds, and meanwhile."""

        def tell() -> None:
            # The thread that works meets a closed pipe itself, at its next line.
            with contextlib.suppress(BrokenPipeError):
                self.info(text)

        timer = threading.Timer(SLOW, tell)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def epoch(self, record: Mapping[str, Any], *, epochs: int) -> None:
        """The line of a finished epoch; see `epoch_line`."""
        self.info(epoch_line(record, epochs=epochs))

    def warning(self, text: str) -> None:
        """A line that cannot be missed, on stderr; boxed on a terminal."""
        if self._quiet:
            return
        if not is_terminal(sys.stderr):
            print(f"WARNING: {text}", file=sys.stderr, flush=True)
            return
        from rich.console import Console as RichConsole
        from rich.panel import Panel
        from rich.text import Text

        # A bar on screen owns the terminal: lines that bypass it are overwritten.
        console = self._bar.bar.console if self._bar else RichConsole(stderr=True)
        body = Text(text, style="bold")
        console.print(Panel(body, title="WARNING", style="yellow", expand=False))

    @contextlib.contextmanager
    def progress(self, total_steps: int, first_step: int = 0) -> Iterator[Progress]:
        """A bar from `first_step` (more than 0 when resumed) to `total_steps`.

        It is drawn while the context is open, and only on a terminal.
        """
        if self._quiet or not is_terminal(sys.stdout):
            yield Progress()
            return
        self._bar = _ProgressBar(total_steps, first_step)
        try:
            with self._bar.bar:
                yield self._bar
        finally:
            self._bar = None


def epoch_line(record: Mapping[str, Any], *, epochs: int) -> str:
    """One epoch of metrics.jsonl in words.

    record: `epoch` (counted from 1), `step`, `data`, `learning_rate`,
    `images_per_second`, and `<split>_loss` and `<split>_accuracy` of each split
    that was measured (train, validation, test).
    """
    parts = [
        f"epoch {record['epoch']:>{len(str(epochs))}}/{epochs}",
        record["data"],
        f"step {record['step']:>5}",
    ]
    for split in ("train", "validation", "test"):
        if f"{split}_loss" in record:
            loss, accuracy = record[f"{split}_loss"], record[f"{split}_accuracy"]
            parts.append(f"{split} loss {loss:.4f} accuracy {accuracy:.3f}")
    parts.append(f"lr {record['learning_rate']:.1e}")
    parts.append(f"{record['images_per_second']:.1f} images/s")
    return "  ".join(parts)


def is_terminal(stream: TextIO) -> bool:
    """Whether a person looks at `stream`, on a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


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
