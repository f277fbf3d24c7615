"""Runs that are killed or stopped: nothing is lost, and one line says what happened."""

import os
import pty
import random
import shutil
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest

from signjax.runtime.files import MetricsFile
from tests.helpers.command_line import CNN, ROOT, command, main
from tests.helpers.records import metrics
from tests.helpers.runs import (
    LONG,
    RESNET,
    differences,
    freeze_when,
    is_inside_a_later_save,
    saved_steps,
    start,
)

pytestmark = pytest.mark.usefixtures("module_cache")


def resumed_after(process: subprocess.Popen[str]) -> int:
    """The step that the header names, read as soon as it is there; 0 for none."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("steps:"):
            _, resumed, step = line.partition("resumed after step ")
            return int(step) if resumed else 0
    raise AssertionError(process.communicate()[1])


def is_inside_an_epoch(workdir: Path, *, after: int = 0) -> bool:
    """Between the begin of the last record's save and the next record.

    after: a step that has been saved, past which the run must have come.
    """
    if max(saved_steps(workdir), default=0) <= after:
        return False
    records = MetricsFile(workdir / "metrics.jsonl").read()
    if not records or not saved_steps(workdir) or records[-1]["epoch"] == 8:
        return False
    names = [path.name for path in workdir.glob("checkpoints/*")]
    return any(name.startswith(f"{records[-1]['step']:08d}") for name in names)


def kill_when_inside_a_later_save(
    process: subprocess.Popen[str], workdir: Path
) -> None:
    assert freeze_when(process, lambda: is_inside_a_later_save(workdir))
    kill(process)
    assert is_inside_a_later_save(workdir), "what the kill left"


def resume(arguments: tuple[str, ...], workdir: Path) -> subprocess.Popen[str]:
    """Goes on with a saved run, from the last step that it saved."""
    reached = saved_steps(workdir)[-1]
    process = start(arguments, workdir)
    assert resumed_after(process) == reached > 0
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, stderr


def finish(process: subprocess.Popen[str]) -> None:
    _, stderr = process.communicate(timeout=600)
    assert process.returncode == 0, stderr


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("whole")
    finish(start(LONG, workdir))
    return workdir


@pytest.mark.slow
def test_a_killed_run_ends_with_the_bits_of_one_never_stopped(
    never_stopped: Path, tmp_path: Path
) -> None:
    """SIGKILL inside an epoch, inside a save and at a random moment."""
    process = start(LONG, tmp_path)
    assert resumed_after(process) == 0
    assert freeze_when(process, lambda: is_inside_an_epoch(tmp_path))
    kill(process)
    kill_when_inside_a_later_save(resume(LONG, tmp_path), tmp_path)
    process = resume(LONG, tmp_path)
    time.sleep(random.uniform(0, 3))
    process.kill()  # it may have ended
    process.communicate(timeout=120)
    finish(resume(LONG, tmp_path))
    assert differences(never_stopped, tmp_path) == []


@pytest.mark.slow
def test_a_stopped_run_ends_with_the_bits_of_one_never_stopped(
    never_stopped: Path, tmp_path: Path
) -> None:
    """SIGTERM, then a queue's warning, each inside an epoch: one line, and saved."""
    reached = 0
    for number in (signal.SIGTERM, signal.SIGUSR1):
        process = start(LONG, tmp_path)
        assert resumed_after(process) == reached
        # The workdir looks like it before the resumed run has begun to train too.
        inside = partial(is_inside_an_epoch, tmp_path, after=reached)
        assert freeze_when(process, inside)
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 1
        reached = saved_steps(tmp_path)[-1]
        assert stderr == (
            f"error: stopped by {number.name} after step {reached} of 288; the state "
            "is saved, and the same command goes on from here\n"
        )
    finish(resume(LONG, tmp_path))
    assert differences(never_stopped, tmp_path) == []


@pytest.mark.slow
def test_a_killed_resnet_ends_with_the_bits_of_one_never_stopped(
    tmp_path: Path,
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(start(RESNET, whole))
    process = start(RESNET, killed)
    assert resumed_after(process) == 0
    kill_when_inside_a_later_save(process, killed)
    finish(resume(RESNET, killed))
    assert differences(whole, killed) == []


@pytest.mark.skipif(not shutil.which("setsid"), reason="needs util-linux's setsid")
def test_a_terminal_that_closes_ends_it_with_its_state_saved(tmp_path: Path) -> None:
    """The bar and the lines of the epochs then have nowhere to go."""
    near, far = pty.openpty()
    longer = (*LONG, "--config.train.epochs=9999", f"--workdir={tmp_path}")
    process = subprocess.Popen(
        ["setsid", "--ctty", *command(*longer)],
        cwd=ROOT,
        env=os.environ | {"TERM": "xterm-256color"},
        stdin=far,
        stdout=far,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(far)
    while not (tmp_path / "metrics.jsonl").exists():
        assert process.poll() is None, process.communicate()[1]
        os.read(near, 65536)
    os.close(near)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1
    last = saved_steps(tmp_path)[-1]
    assert f"error: stopped by SIGHUP after step {last} of" in stderr


def test_ctrl_c_before_training_is_one_line_and_leaves_the_workdir_free(
    tmp_path: Path,
) -> None:
    """While compiling: with a cache of its own, that takes its time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGNJAX_CACHE", str(tmp_path / "cache"))
        process = start(LONG, tmp_path / "run")
    assert resumed_after(process) == 0
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert stderr == "error: stopped by SIGINT; what was saved before is kept\n"
    assert (tmp_path / "run" / "run.json").exists()
    other = main(*CNN, "--config.train.epochs=1", f"--workdir={tmp_path / 'run'}")
    assert other.returncode == 0, other.stderr
    assert "which this one replaces" in other.stdout
    assert metrics(tmp_path / "run")[-1]["epoch"] == 1


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's /proc")
def test_ctrl_c_while_importing_is_one_line() -> None:
    """Python's own KeyboardInterrupt crashes some extension modules there."""
    process = subprocess.Popen(
        command("--mode=summary", "--config=configs/cnn.py"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    maps = Path(f"/proc/{process.pid}/maps")
    while "jaxlib" not in maps.read_text():
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert stdout == ""
    assert stderr == "error: stopped by SIGINT; what was saved before is kept\n"


def test_a_reader_that_leaves_ends_it_quietly(tmp_path: Path) -> None:
    """As `python main.py ... | head -1`."""
    process = start((*CNN, "--config.train.epochs=1"), tmp_path)
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    with process.stderr as stderr:
        assert stderr.read() == ""
    assert process.wait(timeout=60) == 1
