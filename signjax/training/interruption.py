"""SIGTERM and Ctrl-C as a request to save and stop, not as an end in mid-step."""

import signal
from types import FrameType
from typing import Self


class StopRequest:
    """While entered, the first SIGTERM or SIGINT is only noted, in `received`.

    A second one of either kind acts as the system does by default, for someone who
    cannot wait.
    """

    received: str | None = None

    def __enter__(self) -> Self:
        self._old = {
            number: signal.signal(number, self._note)
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = signal.Signals(number).name
        for either in self._old:
            signal.signal(either, signal.SIG_DFL)
