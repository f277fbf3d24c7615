"""SIGTERM and Ctrl-C: one line and the end, or in training a request to save first."""

import os
import signal
import sys
from threading import Thread
from types import FrameType
from typing import Self

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def end_at_once_when_signalled() -> None:
    """From now on SIGTERM and SIGINT end the process, status 1, with one line.

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
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
    Thread(target=_end_when_told, args=(read,), daemon=True).start()


def _end_when_told(read: int) -> None:
    name = signal.Signals(os.read(read, 1)[0]).name
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), b"\x1b[?25h")  # a progress bar hides the cursor
    line = f"error: stopped by {name}; what was saved before is kept\n"
    os.write(sys.stderr.fileno(), line.encode())
    os._exit(1)


class StopRequest:
    """While entered, the first SIGTERM or SIGINT is only noted, in `received`.

    A second one of either kind acts as the system does by default, for someone who
    cannot wait.
    """

    received: str | None = None

    def is_due(self, step: int) -> bool:
        """Whether to stop after `step`; asked once a step."""
        del step
        return self.received is not None

    def __enter__(self) -> Self:
        self._old = {number: signal.signal(number, self._note) for number in SIGNALS}
        self._wakeup = signal.set_wakeup_fd(-1)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = signal.Signals(number).name
        for either in self._old:
            signal.signal(either, signal.SIG_DFL)


class SharedStopRequest(StopRequest):
    """That of several processes: a signal to one of them stops all after one step.

    jax.distributed has taken over SIGTERM: its handler has the processes agree on the
    first step that none of them has passed. Here SIGINT becomes a SIGTERM.
    """

    def __enter__(self) -> Self:
        from jax.experimental import multihost_utils

        self._reached = multihost_utils.reached_preemption_sync_point
        self._old = {signal.SIGINT: signal.signal(signal.SIGINT, self._note)}
        self._wakeup = signal.set_wakeup_fd(-1)
        return self

    def is_due(self, step: int) -> bool:
        if self._reached(step):
            self.received = signal.SIGTERM.name
        return super().is_due(step)

    def _note(self, number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
