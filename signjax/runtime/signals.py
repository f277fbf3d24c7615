"""Signals that end a run: one line and the end, or in training a request to save."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterable
from threading import Thread
from types import FrameType
from typing import Self

# Ctrl-C; what systems end a process with; the terminal that closes; what SLURM
# (--signal=USR1@120) and other queues warn with. Windows has the first two alone.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))


def end_at_once_when_signalled() -> None:
    """From now on each of SIGNALS ends the process, status 1, with one line.

    At once, even inside a long call into C such as a compilation, where Python's own
    handlers would wait; and by `os._exit`: a KeyboardInterrupt in the middle of
    importing jax, or in a callback that drops it, ends in a crash or not at all.
    Nothing is lost by it, as whatever this program writes bears a SIGKILL.
    """
    if os.name != "posix":
        return  # Windows wakes by a socket; there KeyboardInterrupt must do
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write)
    for number in _heeded(SIGNALS):
        signal.signal(number, lambda *_: None)
    Thread(target=_end_when_told, args=(read,), daemon=True).start()


def _end_when_told(read: int) -> None:
    name = signal.Signals(os.read(read, 1)[0]).name
    line = f"error: stopped by {name}; what was saved before is kept\n".encode()
    if sys.stderr.isatty():
        line = b"\x1b[?25h" + line  # a progress bar hides the cursor
    with contextlib.suppress(OSError):  # the terminal may be gone
        os.write(sys.stderr.fileno(), line)
    os._exit(1)


def _heeded(signals: Iterable[signal.Signals]) -> list[signal.Signals]:
    """All but a SIGHUP that nohup has the process ignore."""
    return [
        number
        for number in signals
        if number.name != "SIGHUP" or signal.getsignal(number) != signal.SIG_IGN
    ]


def _leave_a_closed_terminal() -> None:
    """Lets what is still printed vanish, where it would raise OSError."""
    for output in (1, 2):
        try:
            os.write(output, b"")
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), output)


class StopRequest:
    """While entered, the first of SIGNALS is only noted, in `received`.

    A SIGINT or SIGTERM after it acts as the system does by default, for someone who
    cannot wait; the others often come twice.
    """

    signals = SIGNALS
    received: str | None = None

    def is_due(self, step: int) -> bool:
        """Whether to stop after `step`; asked once a step."""
        del step
        return self.received is not None

    def __enter__(self) -> Self:
        noted = _heeded(self.signals)
        self._old = {number: signal.signal(number, self._note) for number in noted}
        self._wakeup = signal.set_wakeup_fd(-1)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.received = signal.Signals(number).name
        if self.received == "SIGHUP":
            _leave_a_closed_terminal()
        for each in self._old:
            order = each in (signal.SIGINT, signal.SIGTERM)
            signal.signal(each, signal.SIG_DFL if order else signal.SIG_IGN)


class SharedStopRequest(StopRequest):
    """That of several processes: a signal to one of them stops all after one step.

    jax.distributed has taken over SIGTERM: its handler has the processes agree on the
    first step that none of them has passed. Here the others become a SIGTERM.
    """

    signals = tuple(number for number in SIGNALS if number != signal.SIGTERM)

    def is_due(self, step: int) -> bool:
        from jax.experimental import multihost_utils

        if multihost_utils.reached_preemption_sync_point(step):
            self.received = signal.SIGTERM.name
        return self.received is not None

    def _note(self, number: int, frame: FrameType | None) -> None:
        super()._note(number, frame)
        self.received = None  # until all have agreed on the step
        signal.raise_signal(signal.SIGTERM)
