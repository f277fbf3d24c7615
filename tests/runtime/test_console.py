"""Console lines on a terminal and off it."""

import errno
import io
import itertools
import math
import os
import pty
import re
import subprocess
import sys
import threading
import time

import pytest

from signjax.errors import RunError
from signjax.runtime import console as console_module
from signjax.runtime.console import SILENCE, SLOW, Console
from tests.helpers.command_line import ROOT, command

RECORD = {
    "epoch": 3,
    "step": 99,
    "data": "signs",
    "train_loss": 1.2345,
    "train_accuracy": 0.612,
    "test_loss": 1.1,
    "test_accuracy": 0.65,
    "learning_rate": 0.01,
    "seconds": 4.5,
    "images_per_second": 31.2,
}
EPOCH_LINE = (
    "epoch  3/30  signs  step    99  train loss 1.2345 accuracy 0.612"
    "  test loss 1.1000 accuracy 0.650  lr 1.0e-02  31.2 images/s"
)

# A short run as the training loop drives the console, resumed at step 90.
RUN = f"""
import sys
from signjax.runtime.console import Console
console = Console()
console.header({{"device": "cpu", "model": "résnet"}})
console.warning("only synthetic [hands] \u65e5")
with console.progress(120, 90) as progress:
    progress.update(99, loss=1.2345, accuracy=0.612, images_per_second=31.2)
    console.epoch({RECORD!r}, epochs=30)
    console.warning("careful now")
    progress.update(120, loss=0.5, accuracy=0.75, images_per_second=31.2)
console.info("rich imported" if "rich" in sys.modules else "no rich")
"""


def _environment(**changes: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"} | changes


def _run_on_terminal(code: str = RUN, **environment: str) -> str:
    """What a run shows on a terminal of 160 columns."""
    near, far = pty.openpty()
    size = {"TERM": "xterm-256color", "COLUMNS": "160", "LINES": "40"}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=far,
        stdout=far,
        stderr=far,
        env=_environment(**(size | environment)),
    )
    os.close(far)
    shown = b""
    try:
        while chunk := os.read(near, 65536):
            shown += chunk
    except OSError:  # how Linux ends the reading side of a closed terminal
        pass
    os.close(near)
    assert process.wait() == 0, shown.decode()
    return shown.decode()


def _run_piped(**environment: str) -> tuple[list[str], list[str]]:
    process = subprocess.run(
        [sys.executable, "-c", RUN],
        capture_output=True,
        env=_environment(**environment),
    )
    out, err = process.stdout.decode(), process.stderr.decode()
    assert process.returncode == 0, err
    return out.splitlines(), err.splitlines()


def test_piped_output_is_plain_lines_without_rich():
    out, err = _run_piped()
    assert out == ["device: cpu", "model:  résnet", EPOCH_LINE, "no rich"]
    assert err == ["WARNING: only synthetic [hands] \u65e5", "WARNING: careful now"]


class Speech:
    """A console that is told what time it is, and what it says."""

    def __init__(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(console_module, "_POLL", 0.001)
        self.now = 0.0
        self.console = Console(clock=lambda: self.now)
        self._capsys = capsys

    def at(self, now: float, wait: float = 10.0) -> str:
        """The next line from then on; "" where none comes in `wait` real seconds."""
        self.now, end = now, time.monotonic() + wait
        while time.monotonic() < end:
            if out := self._capsys.readouterr().out:
                return out
            time.sleep(0.001)
        return ""


@pytest.fixture
def speech(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Speech:
    return Speech(capsys, monkeypatch)


def test_what_takes_long_is_announced_and_told_again(speech: Speech) -> None:
    with speech.console.if_slow("compiling"):
        assert speech.at(SLOW / 2, wait=0.3) == ""
        assert speech.at(SLOW) == "compiling\n"
        assert speech.at(SILENCE, wait=0.3) == ""
        assert speech.at(SLOW + SILENCE) == "compiling, 22 s so far\n"
        assert speech.at(SLOW + 2 * SILENCE) == "compiling, 42 s so far\n"
    assert speech.at(1000, wait=0.3) == ""


def test_beside_results_stderr_tells_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_module, "_POLL", 0.001)
    steps = itertools.count(step=SILENCE)
    console, done = Console(results_only=True, clock=steps.__next__), []
    with console.if_slow(lambda: f"reading {len(done)} of 2"):
        for _ in range(20_000):
            time.sleep(0.001)
            out, err = capsys.readouterr()
            assert out == ""
            if err:
                done.append(err)
            if len(done) == 2:
                break
    assert done[0].startswith("reading 0 of 2, ") and "reading 1 of 2, " in done[1]


def test_training_off_a_terminal_breaks_its_silence(speech: Speech) -> None:
    console = speech.console
    with console.progress(120, 90) as progress:
        assert speech.at(SILENCE) == "step 90/120\n"
        progress.update(99, loss=1.2345, accuracy=0.612, images_per_second=31.2)
        console.info("epoch")
        assert speech.at(2 * SILENCE - 1) == "epoch\n"
        told = "step 99/120  loss 1.2345  accuracy 0.612  31.2 images/s\n"
        assert speech.at(2 * SILENCE) == told
        with console.if_slow("evaluating"):
            assert speech.at(2 * SILENCE + SLOW, wait=0.3) == ""
            for times in range(1, 9):  # which of the two speaks is no accident
                line = f"evaluating, {times * SILENCE:.0f} s so far\n"
                assert speech.at((2 + times) * SILENCE) == line
        assert speech.at(11 * SILENCE) == told


class Failing(io.StringIO):
    """Of which each write fails."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number, self.tried = number, threading.Event()

    def write(self, text: str) -> int:
        self.tried.set()
        raise OSError(self.number, text)


def test_a_line_to_a_terminal_that_is_gone_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its SIGHUP does, which may come after the line."""
    monkeypatch.setattr(sys, "stdout", Failing(errno.EIO))
    Console().info("line")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EPIPE])
def test_output_that_fails_meanwhile_is_told_by_the_next_line(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(sys, "stdout", Failing(number))
    console = Console(clock=itertools.count(step=SILENCE).__next__)
    with console.if_slow("compiling"):
        assert sys.stdout.tried.wait(60)
    with pytest.raises((RunError, BrokenPipeError)):
        console.info("line")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_where_output_goes_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(command("--help"), stdout=full, stderr=-1, cwd=ROOT)
    assert done.returncode == 1
    told = b"error: standard output cannot be written: No space left on device; "
    assert done.stderr.startswith(told) and done.stderr.count(b"\n") == 1


def test_output_that_the_shell_has_closed_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As `>&-` does."""
    monkeypatch.setattr(sys, "stdout", None)
    console = Console()
    with console.progress(2) as progress:
        progress.update(1, loss=1.0, accuracy=0.0, images_per_second=1.0)
        console.info("line")


def test_another_process_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(quiet=True, clock=iter(range(0, 9999, 100)).__next__)
    with console.progress(9) as progress, console.if_slow("compiling"):
        progress.update(1, loss=1.0, accuracy=0.0, images_per_second=1.0)
        console.info("line")
        console.warning("line")
    assert capsys.readouterr() == ("", "")


def test_terminal_shows_bar_numbers_eta_and_boxed_warnings():
    shown = _run_on_terminal()
    plain = _without_escapes(shown)
    assert "90/120" in plain  # before the first step is done
    assert "120/120" in plain and "loss 0.5000  accuracy 0.750  31.2 images/s" in plain
    assert "ETA" in plain
    assert EPOCH_LINE in plain
    assert "─ WARNING ─" in plain and "only synthetic [hands] \u65e5" in plain
    assert "careful now" in plain
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is back
    assert plain.rstrip().endswith("rich imported")


def _without_escapes(shown: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)


def test_dumb_terminal_gets_plain_lines():
    shown = _run_on_terminal(TERM="dumb")
    assert "\x1b" not in shown and "120/120" not in shown
    assert EPOCH_LINE in shown and "WARNING: careful now" in shown


def test_ascii_only_output_is_escaped_not_a_crash():
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    out, err = _run_piped(**ascii_only)
    assert out[1] == r"model:  r\xe9snet"
    assert err[0] == r"WARNING: only synthetic [hands] \u65e5"
    # Narrow, so that rich cuts columns with an ellipsis, which ASCII has not.
    shown = _run_on_terminal(**ascii_only, COLUMNS="60")
    assert r"r\xe9snet" in shown and "WARNING" in shown


def test_an_error_under_the_bar_leaves_a_usable_terminal():
    code = """
from signjax.runtime.console import Console
console = Console()
try:
    with console.progress(10):
        raise ZeroDivisionError
except ZeroDivisionError:
    console.info("lines as before")
"""
    shown = _run_on_terminal(code)
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is back
    assert shown.endswith("lines as before\r\n")


def test_the_line_of_an_epoch_names_the_split_that_was_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = {k: v for k, v in RECORD.items() if not k.startswith("test")}
    held_out = {"validation_loss": math.nan, "validation_accuracy": 0.25}
    Console().epoch(record | held_out | {"data": "synthetic"}, epochs=5)
    line = capsys.readouterr().out
    assert "validation loss nan accuracy 0.250" in line
    assert line.startswith("epoch 3/5  synthetic  step") and "test" not in line
