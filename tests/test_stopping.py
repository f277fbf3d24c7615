"""Runs that are killed or stopped: nothing is lost, and one line says what happened."""

import os
import pty
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from signjax.runtime.files import MetricsFile
from signjax.workdir import load_trained
from tests.helpers.command_line import CNN, ROOT, command, main
from tests.helpers.records import metrics

pytestmark = pytest.mark.usefixtures("module_cache")

LONG = (  # epochs of many steps, so that most moments lie in the middle of one
    *CNN,
    "--config.data.synthetic_train=144",
    "--config.train.batch_size=4",
    "--config.train.epochs=8",
)
RESNET = (
    "--config=configs/resnet.py",
    "--config.data.source=synthetic",
    "--config.data.synthetic_count=0",
    "--config.data.synthetic_train=24",
    "--config.data.synthetic_test=12",
    "--config.data.image_size=32",
    "--config.train.batch_size=4",
    "--config.train.epochs=3",
    "--config.optimizer.warmup_epochs=1",
)


def assert_same_end(one: Path, other: Path) -> None:
    """The same bits in every array of the last checkpoints, the same metrics."""
    states = [
        load_trained(workdir, devices=jax.devices()[:1], warn=pytest.fail)
        for workdir in (one, other)
    ]
    assert states[0].step == states[1].step
    leaves = [jax.tree_util.tree_leaves_with_path(s.state) for s in states]
    assert len(leaves[0]) == len(leaves[1]) > 10
    for (path, a), (_, b) in zip(*leaves, strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), path
    assert metrics(one) == metrics(other)


def start(arguments: tuple[str, ...], workdir: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments, f"--workdir={workdir}"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def resumed_after(process: subprocess.Popen[str]) -> int:
    """The step that the header names, read as soon as it is there; 0 for none."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("steps:"):
            _, resumed, step = line.partition("resumed after step ")
            return int(step) if resumed else 0
    raise AssertionError(process.communicate()[1])


def freeze_when(process: subprocess.Popen[str], seen: Callable[[], bool]) -> None:
    """Brings the process to a standstill in a moment at which `seen()` holds."""
    for _ in range(200_000):
        assert process.poll() is None, "it ended before that moment came"
        if seen():
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            if seen():
                return
            process.send_signal(signal.SIGCONT)
        time.sleep(0.001)
    raise AssertionError("that moment never came")


def saved_steps(workdir: Path) -> list[int]:
    names = [path.name for path in workdir.glob("checkpoints/*")]
    return sorted(int(name) for name in names if name.isdigit())


def is_inside_a_later_save(workdir: Path) -> bool:
    return bool(saved_steps(workdir)) and any(workdir.glob("checkpoints/*.tmp/*"))


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


def resume(arguments: tuple[str, ...], workdir: Path) -> subprocess.Popen[str]:
    """Goes on with a saved run, from the last step that it saved."""
    reached = saved_steps(workdir)[-1]
    process = start(arguments, workdir)
    assert resumed_after(process) == reached > 0
    return process


def resume_and_kill(
    arguments: tuple[str, ...], workdir: Path, *, within: float
) -> None:
    """Goes on with a saved run and kills it within as many seconds of its header."""
    process = resume(arguments, workdir)
    time.sleep(random.uniform(0, within))
    process.kill()  # it may have ended
    process.communicate(timeout=120)


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
    freeze_when(process, lambda: is_inside_an_epoch(tmp_path))
    kill(process)

    process = resume(LONG, tmp_path)
    freeze_when(process, lambda: is_inside_a_later_save(tmp_path))
    kill(process)
    assert is_inside_a_later_save(tmp_path), "what the kill left"

    resume_and_kill(LONG, tmp_path, within=3)

    finish(resume(LONG, tmp_path))
    assert_same_end(never_stopped, tmp_path)


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
        freeze_when(process, partial(is_inside_an_epoch, tmp_path, after=reached))
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
    assert_same_end(never_stopped, tmp_path)


@pytest.mark.slow
def test_a_killed_resnet_ends_with_the_bits_of_one_never_stopped(
    tmp_path: Path,
) -> None:
    """SIGKILL inside a save and at a random moment."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(start(RESNET, whole))

    process = start(RESNET, killed)
    assert resumed_after(process) == 0
    freeze_when(process, lambda: is_inside_a_later_save(killed))
    kill(process)
    assert is_inside_a_later_save(killed), "what the kill left"

    resume_and_kill(RESNET, killed, within=5)

    finish(start(RESNET, killed))
    assert_same_end(whole, killed)


@pytest.mark.skipif(not shutil.which("setsid"), reason="needs util-linux's setsid")
def test_a_terminal_that_closes_ends_it_with_its_state_saved(tmp_path: Path) -> None:
    """The bar and the lines of the epochs then have nowhere to go."""
    ours, theirs = pty.openpty()
    longer = (*LONG, "--config.train.epochs=9999", f"--workdir={tmp_path}")
    process = subprocess.Popen(
        ["setsid", "--ctty", *command(*longer)],
        cwd=ROOT,
        env=os.environ | {"TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(theirs)
    while not (tmp_path / "metrics.jsonl").exists():
        assert process.poll() is None, process.communicate()[1]
        os.read(ours, 65536)
    os.close(ours)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1
    assert stderr.startswith("error: stopped by SIGHUP after step"), stderr
    assert f"after step {saved_steps(tmp_path)[-1]} of" in stderr


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
    assert process.stdout.readline().startswith("workdir:")
    process.stdout.close()
    with process.stderr as stderr:
        assert stderr.read() == ""
    assert process.wait(timeout=60) == 1
