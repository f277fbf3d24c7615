"""The first signal is a request, a second one that a person sends an order."""

import os
import signal
import subprocess
import sys

import pytest

from signjax.runtime.signals import StopRequest

ORDERS = [signal.SIGTERM, signal.SIGINT]
SIGNALS = [*ORDERS, signal.SIGHUP, signal.SIGUSR1]


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_noted_and_forgotten_afterwards(
    number: signal.Signals,
) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with StopRequest() as stop:
        assert stop.received is None and not stop.is_due(1)
        os.kill(os.getpid(), number)
        assert stop.received == number.name and stop.is_due(1)
        if number not in ORDERS:  # a closing terminal or a queue may repeat it
            os.kill(os.getpid(), number)
    assert [signal.getsignal(each) for each in SIGNALS] == before
    with StopRequest() as stop:
        assert stop.received is None


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", ORDERS)
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


# With "busy", in a call into C without Python's lock, as a compilation is; with
# "asked", after a loop had asked to be told of signals; with "nohup", as that does.
PROGRAM = """
import ctypes, signal, sys
from signjax.runtime.signals import StopRequest, end_at_once_when_signalled
if "nohup" in sys.argv:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
end_at_once_when_signalled()
if "asked" in sys.argv:
    with StopRequest():
        pass
print("ready", flush=True)
left = 600
while left and "busy" in sys.argv:
    left = ctypes.CDLL(None).sleep(left)
input()
if "nohup" in sys.argv:
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGHUP)
        print(stop.received)
"""


def start(how: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("how", ["idle", "busy", "asked"])
@pytest.mark.parametrize("number", SIGNALS)
def test_outside_of_training_a_signal_is_one_line_and_the_end(
    number: signal.Signals, how: str
) -> None:
    with start(how) as process:
        process.send_signal(number)
        assert process.wait(timeout=60) == 1
        assert process.stderr is not None
        line = f"error: stopped by {number.name}; what was saved before is kept\n"
        assert process.stderr.read() == line


def test_nohup_keeps_the_terminal_that_closes_from_ending_it() -> None:
    with start("nohup") as process:
        process.send_signal(signal.SIGHUP)
        stdout, stderr = process.communicate("\n", timeout=60)
    assert (process.returncode, stdout, stderr) == (0, "None\n", "")
