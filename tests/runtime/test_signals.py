"""The first signal is a request, the second an order."""

import os
import signal
import subprocess
import sys

import pytest

from signjax.runtime.signals import StopRequest

SIGNALS = [signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_noted(number: signal.Signals) -> None:
    with StopRequest() as stop:
        assert stop.received is None
        os.kill(os.getpid(), number)
        assert stop.received == number.name


def test_without_a_signal_nothing_is_received() -> None:
    with StopRequest() as stop:
        pass
    assert stop.received is None


@pytest.mark.parametrize("signalled", [False, True])
def test_afterwards_signals_mean_what_they_meant(signalled: bool) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with StopRequest():
        assert [signal.getsignal(number) for number in SIGNALS] != before
        if signalled:
            os.kill(os.getpid(), signal.SIGTERM)
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_request_of_before_is_forgotten() -> None:
    with StopRequest():
        os.kill(os.getpid(), signal.SIGTERM)
    with StopRequest() as stop:
        assert stop.received is None


# With "busy", in a call into C without Python's lock, as a compilation is; with
# "asked", after a loop had asked to be told of signals.
PROGRAM = """
import ctypes, sys
from signjax.runtime.signals import StopRequest, end_at_once_when_signalled
end_at_once_when_signalled()
if "asked" in sys.argv:
    with StopRequest():
        pass
print("ready", flush=True)
left = 600
while left and "busy" in sys.argv:
    left = ctypes.CDLL(None).sleep(left)
input()
"""


@pytest.mark.parametrize("how", ["idle", "busy", "asked"])
@pytest.mark.parametrize("number", SIGNALS)
def test_outside_of_training_a_signal_is_one_line_and_the_end(
    number: signal.Signals, how: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(timeout=60) == 1
        line = f"error: stopped by {number.name}; what was saved before is kept\n"
        assert process.stderr.read() == line


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_the_second_signal_ends_the_process(
    first: signal.Signals, second: signal.Signals
) -> None:
    program = (
        "import os\n"
        "from signjax.runtime.signals import StopRequest\n"
        "with StopRequest():\n"
        f"    os.kill(os.getpid(), {int(first)})\n"
        "    print('noted', flush=True)\n"
        f"    os.kill(os.getpid(), {int(second)})\n"
        "    print('survived')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert ended.stdout == "noted\n"
    assert ended.returncode == -second
