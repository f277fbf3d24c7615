"""Runs that are killed or stopped: nothing is lost, and one line says what happened."""

import os
import pty
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from signjax.runtime.bucket import BucketPath, download
from signjax.runtime.files import MetricsFile
from signjax.workdir import lock
from tests.helpers.bucket import without_log
from tests.helpers.command_line import CNN, ROOT, command, main
from tests.helpers.runs import (
    LONG,
    differences,
    freeze_when,
    is_inside_a_later_save,
    saved_steps,
    start,
    unfinished_files,
)
from tests.promises import kills
from tests.promises.outcome import EQUAL, train

pytestmark = pytest.mark.usefixtures("shared_cache")


def resumed_after(process: subprocess.Popen[str]) -> int:
    """The step that the header names, read as soon as it is there; 0 for none."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("steps:"):
            _, resumed, step = line.partition("resumed after step ")
            return int(step) if resumed else 0
    raise AssertionError(process.communicate()[1])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, shared_cache: None) -> Path:
    """The workdir of a run that was never stopped."""
    return train(tmp_path_factory.mktemp("runs") / "whole", LONG)


def kill_and_resume(workdir: Path) -> str:
    """Kills a run there inside a save, has it go on to its end: what it then says."""
    process = start(LONG, workdir)
    try:
        assert freeze_when(process, lambda: is_inside_a_later_save(workdir))
    finally:
        process.kill()
        process.communicate()
    assert unfinished_files(workdir) and (workdir / "lock").is_file()
    done = main(*LONG, f"--workdir={workdir}")
    assert done.returncode == 0 and "resumed after step" in done.stdout, done
    assert not unfinished_files(workdir)
    return without_log(done.stderr)


@pytest.mark.slow
def test_a_killed_run_ends_with_the_bits_of_one_never_stopped(
    whole: Path, tmp_path: Path
) -> None:
    assert kill_and_resume(tmp_path / "run") == ""
    assert differences(whole, tmp_path / "run") == []


@pytest.mark.slow
def test_a_killed_resnet_ends_with_the_bits_of_one_never_stopped() -> None:
    """At a moment of any kind: it has BatchNorm's statistics to lose too."""
    (kill,) = kills.measure("ResNet", 1, 0)
    assert kill.ended == EQUAL


@pytest.mark.slow
def test_a_killed_run_in_a_bucket_ends_with_the_bits_of_one_on_disk(
    whole: Path, bucket: BucketPath, tmp_path: Path
) -> None:
    [line] = kill_and_resume(bucket).splitlines()
    assert f"{bucket}/checkpoints/" in line and "is passed over: it has no" in line
    assert differences(whole, bucket) == []
    download(bucket, tmp_path)
    assert differences(whole, tmp_path) == []
    assert not (bucket / "lock").is_file()
    own = {file.relative_to(whole) for file in whole.iterdir() if file.is_file()}
    there = {str(file.relative_to(bucket).parts[0]) for file in bucket.files()}
    assert {str(x) for x in own} - there == {"lock"}

    done = main("--mode=evaluate", f"--workdir={bucket}", "--best")
    assert done.returncode == 0 and f"report: {bucket}/report_best.html" in done.stdout


@pytest.mark.slow
def test_a_stopped_run_ends_with_the_bits_of_one_never_stopped(
    whole: Path, tmp_path: Path
) -> None:
    """SIGTERM, then a queue's warning, each inside an epoch: one line, and saved."""
    stopped = tmp_path / "stopped"
    records, reached = MetricsFile(stopped / "metrics.jsonl"), 0
    for number in (signal.SIGTERM, signal.SIGUSR1):
        process, before = start(LONG, stopped), len(records.read())
        assert resumed_after(process) == reached
        assert freeze_when(process, lambda n=before: len(records.read()) > n)
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 1
        reached = saved_steps(stopped)[-1]
        assert stderr == (
            f"error: stopped by {number.name} after step {reached} of 288; the state "
            "is saved, and the same command goes on from here\n"
        )
    train(stopped, LONG)
    assert differences(whole, stopped) == []


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
    with lock(tmp_path / "run"):
        assert not (tmp_path / "run" / "metrics.jsonl").exists()


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
