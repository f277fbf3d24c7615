"""What a run tells people: lines, warnings, a progress bar."""

import contextlib
import errno
import io
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TextIO

from signjax.errors import RunError, printable

SLOW = 2.0  # seconds after which a person wants to know what takes so long
# Seconds of silence after which the same is said again. With a slow step or two after
# that, something is said every half minute.
SILENCE = 20.0
_POLL = 0.2

# rich is imported where it is drawn with: a run whose output goes to a file or a
# pipe starts without it.


class Progress:
    """Where the training loop reports its steps."""

    def __init__(self, total_steps: int, first_step: int) -> None:
        self._total, self._first = total_steps, first_step
        self._bar: Any = None
        self.line = f"step {first_step}/{total_steps}"  # the latest, in words

    def update(
        self, step: int, *, loss: float, accuracy: float, images_per_second: float
    ) -> None:
        """Notes that `step` optimizer steps are done; the numbers are the latest."""
        numbers = (
            f"loss {loss:.4f}  accuracy {accuracy:.3f}"
            f"  {images_per_second:.1f} images/s"
        )
        self.line = f"step {step}/{self._total}  {numbers}"
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=step, numbers=numbers)

    def bar(self) -> Any:
        """rich's bar of the same steps, to be entered, which `update` moves."""
        from rich import progress

        self._bar = progress.Progress(
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
        self._bar.add_task("", total=self._total, completed=self._first, numbers="")
        return self._bar


class Console:
    """Lines for a person: results on stdout, warnings on stderr.

    A terminal gets a progress bar and boxed warnings, anything else plain lines, and
    while something is under way one at least every half minute. Characters that the
    encoding of stdout or stderr cannot express are escaped.
    quiet: says nothing at all, as another process says the same. results_only: a
    program may read stdout, so what is under way is told on stderr. clock: seconds.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        results_only: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quiet = quiet
        self._results_only = results_only
        self._clock = clock
        self._last_line = clock()
        self._under_way: list[Callable[[], str]] = []  # the innermost last
        self._bar: Any = None  # rich's, while it is on screen
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")

    def header(self, lines: Mapping[str, str]) -> None:
        """What is about to run, printed once: one aligned `key: value` a line."""
        width = max(map(len, lines), default=0) + 1
        for key, value in lines.items():
            self.info(f"{key + ':':<{width}} {value}")

    def info(self, text: str) -> None:
        """One plain line on stdout (above the bar, which redirects stdout).

        Raises BrokenPipeError where its reader has left, RunError where the disk that
        it goes to is full.
        """
        self._last_line = self._clock()
        if self._quiet:
            return
        try:
            print(printable(text), flush=True)
        except OSError as error:
            # Python would try to write what it still holds of the line at the end.
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                raise
            # A terminal that is gone; its SIGHUP, which saves the run, may come later.
            if error.errno != errno.EIO:
                told = f"standard output cannot be written: {error.strerror}"
                raise RunError(f"{told}; what was saved before is kept") from error

    @contextlib.contextmanager
    def if_slow(self, text: str | Callable[[], str]) -> Iterator[None]:
        """Says `text` if the block takes more than SLOW seconds, and again meanwhile.

        text: a function where it changes, as it tells how much is done. Within another
        such block or a progress, that speak already, it is said after SILENCE.
        """
        begin = self._clock()

        def line() -> str:
            seconds, now = self._clock() - begin, text() if callable(text) else text
            return f"{now}, {seconds:.0f} s so far" if seconds >= SILENCE else now

        within = self._under_way or self._bar
        with self._speak(line, after=SILENCE if within else SLOW):
            yield

    @contextlib.contextmanager
    def _speak(self, line: Callable[[], str], *, after: float) -> Iterator[None]:
        """Says line() once nothing has been said for `after` seconds, then SILENCE."""
        if self._quiet:
            yield
            return
        over, begin = threading.Event(), self._clock()

        def run() -> None:
            silence = after
            while not over.wait(_POLL):
                silent = self._clock() - max(begin, self._last_line)
                if self._under_way[-1] is line and silent >= silence:
                    self._last_line = self._clock()
                    stream = sys.stderr if self._results_only else sys.stdout
                    # What it may raise, the thread that works meets too.
                    with contextlib.suppress(OSError):
                        # In one piece: another thread may write there too.
                        print(
                            f"{line()}\n",
                            end="",
                            file=stream or io.StringIO(),
                            flush=True,
                        )
                    silence = SILENCE

        thread = threading.Thread(target=run, daemon=True)
        self._under_way.append(line)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self._under_way.remove(line)

    def epoch(self, record: Mapping[str, Any], *, epochs: int) -> None:
        """One record of metrics.jsonl in a line, with each split that it has."""
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
        self.info("  ".join(parts))

    def warning(self, text: str) -> None:
        """A line that cannot be missed, on stderr; boxed on a terminal."""
        if self._quiet:
            return
        if not is_terminal(sys.stderr):
            print(f"WARNING: {printable(text)}", file=sys.stderr, flush=True)
            return
        from rich.console import Console as RichConsole
        from rich.panel import Panel
        from rich.text import Text

        # A bar on screen owns the terminal: lines that bypass it are overwritten.
        console = self._bar.console if self._bar else RichConsole(stderr=True)
        body = Text(printable(text), style="bold")
        console.print(Panel(body, title="WARNING", style="yellow", expand=False))

    @contextlib.contextmanager
    def progress(self, total_steps: int, first_step: int = 0) -> Iterator[Progress]:
        """From `first_step` (more than 0 when resumed) to `total_steps`.

        A bar on a terminal, while the context is open; elsewhere a line of the latest
        step where nothing else has been said for SILENCE seconds.
        """
        progress = Progress(total_steps, first_step)
        if self._quiet or not is_terminal(sys.stdout):
            with self._speak(lambda: progress.line, after=SILENCE):
                yield progress
            return
        self._bar = progress.bar()
        try:
            with self._bar:
                yield progress
        finally:
            self._bar = None


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person looks at `stream`, on a terminal that can move its cursor.

    stream: sys.stdout or sys.stderr, None where the shell has closed it.
    """
    return bool(stream and stream.isatty()) and os.environ.get("TERM") != "dumb"
