"""Training across processes: two of them on this machine against one alone."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from signjax.errors import InputError
from signjax.runtime.bucket import BucketPath, upload
from signjax.runtime.distributed import distributed_session, require_same, sync_errors
from tests.helpers.command_line import ROOT, command
from tests.helpers.records import metrics
from tests.helpers.streaming import SIZE

pytestmark = pytest.mark.usefixtures("shared_cache")

Process = subprocess.Popen[str]
Done = subprocess.CompletedProcess[str]

COUNT = 2
LIMIT = 600  # seconds for one command, on a machine that has other work too
EPOCHS, STEPS = 3, 4
LAST = f"{EPOCHS * STEPS:08}"
RESUMED = f"resumed after step {(EPOCHS - 1) * STEPS}"


def start(*arguments: str, **environment: str) -> Process:
    own = {"JAX_PLATFORMS": "cpu", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return subprocess.Popen(
        command(*arguments),
        cwd=ROOT,
        env=os.environ | own | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_all(*arguments: str) -> list[Process]:
    port = free_port()
    where = [f"--distributed=localhost:{port},{COUNT},{i}" for i in range(COUNT)]
    return [start(*arguments, words) for words in where]


def start_all_as_slurm_does(*arguments: str) -> list[Process]:
    cluster = {
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": str(COUNT),
        "JAX_COORDINATOR_PORT": str(free_port()),
    }
    tasks = [{"SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)} for i in range(COUNT)]
    return [start(*arguments, "--distributed=auto", **cluster, **t) for t in tasks]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def finish(*processes: Process) -> list[Done]:
    """Waits for all of them; none is left running, whatever happens."""
    deadline = time.monotonic() + LIMIT
    try:
        texts = [p.communicate(timeout=deadline - time.monotonic()) for p in processes]
        ends = zip(processes, texts, strict=True)
        return [Done(p.args, p.returncode, *text) for p, text in ends]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def assert_same_curve(workdir: Path, reference: Path) -> None:
    """Equal records, each epoch once; the losses to float32 rounding."""
    records, expected = metrics(workdir), metrics(reference)
    assert [record["epoch"] for record in records] == [*range(1, EPOCHS + 1)]
    for record, like in zip(records, expected, strict=True):
        assert record.pop("data") == like.pop("data")
        assert record == pytest.approx(like, rel=1e-4)


def without_last_checkpoint(workdir: Path, copy: Path) -> Path:
    """A copy in which the last epoch has not been saved, nor its result written."""
    shutil.copytree(workdir, copy)
    shutil.rmtree(copy / "checkpoints" / LAST)
    (copy / "result.json").unlink()
    return copy


@pytest.fixture(scope="module")
def train(image_folder: Path) -> tuple[str, ...]:
    """The command line of a run, but for its workdir."""
    return (
        "--config=configs/cnn.py:seed",
        "--config.data.source=folder",
        f"--config.data.dir={image_folder}",
        f"--config.data.image_size={SIZE}",
        "--config.augment.brightness=0.2",
        "--config.train.batch_size=12",
        f"--config.train.epochs={EPOCHS}",
        "--config.run.checkpoint_every_epochs=1",
        "--config.run.eval_batch_size=8",
    )


@pytest.fixture(scope="module")
def by_one(train: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workdir of one process alone."""
    workdir = tmp_path_factory.mktemp("one") / "run"
    (done,) = finish(start(*train, f"--workdir={workdir}"))
    assert done.returncode == 0, done.stderr
    return workdir


@pytest.fixture(scope="module")
def by_two(
    train: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory, needs_grain: None
) -> tuple[Path, list[Done]]:
    """The workdir of two processes that stream the images, and what they said."""
    workdir = tmp_path_factory.mktemp("two") / "run"
    words = (*train, "--config.data.stream=True", f"--workdir={workdir}")
    return workdir, finish(*start_all(*words))


def test_two_processes_learn_what_one_does_and_the_first_speaks(
    by_one: Path, by_two: tuple[Path, list[Done]]
) -> None:
    workdir, (first, second) = by_two
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert first.stdout.count("epoch 1/") == 1
    said = (second.stdout + first.stderr + second.stderr).splitlines()
    assert [line for line in said if "Gloo" not in line] == []
    assert not list(workdir.rglob("*.tmp"))
    assert_same_curve(workdir, by_one)
    result, expected = (
        json.loads((path / "result.json").read_text()) for path in (workdir, by_one)
    )
    assert result["test"]["confusion"] == expected["test"]["confusion"]
    assert result["test"]["loss"] == pytest.approx(expected["test"]["loss"], rel=1e-4)
    assert "2 x cpu over 2 processes" in result["device"]


def test_what_two_saved_one_goes_on_with(
    train: tuple[str, ...],
    by_one: Path,
    by_two: tuple[Path, list[Done]],
    tmp_path: Path,
) -> None:
    workdir = without_last_checkpoint(by_two[0], tmp_path / "run")
    (done,) = finish(start(*train, f"--workdir={workdir}"))
    assert done.returncode == 0, done.stderr
    assert RESUMED in done.stdout
    assert_same_curve(workdir, by_one)


def test_what_one_saved_two_go_on_with(
    train: tuple[str, ...], by_one: Path, place: Path | BucketPath, tmp_path: Path
) -> None:
    """As SLURM starts them."""
    saved = without_last_checkpoint(by_one, tmp_path / "saved")
    if isinstance(place, BucketPath):
        upload(saved, place)
    else:
        saved.rename(place)
    first, second = finish(*start_all_as_slurm_does(*train, f"--workdir={place}"))
    assert (first.returncode, second.returncode) == (0, 0), (first, second)
    assert RESUMED in first.stdout
    assert_same_curve(place, by_one)


def test_a_refused_workdir_ends_all(train: tuple[str, ...], by_one: Path) -> None:
    before = (by_one / "run.json").read_bytes()
    words = (*train, "--config.train.epochs=2", f"--workdir={by_one}")
    first, second = finish(*start_all(*words))
    assert (first.returncode, second.returncode) == (2, 2), (first, second)
    assert "config.train.epochs was 3 and is now 2" in first.stderr
    assert "process 0 cannot go on" in second.stderr
    assert (by_one / "run.json").read_bytes() == before


def test_sigterm_to_one_process_saves_and_stops_all(
    train: tuple[str, ...], tmp_path: Path
) -> None:
    workdir = tmp_path / "run"
    words = (*train, "--config.train.epochs=100000", f"--workdir={workdir}")
    processes = start_all(*words)
    try:
        deadline = time.monotonic() + LIMIT
        while not (workdir / "metrics.jsonl").exists():
            assert time.monotonic() < deadline
            assert all(process.poll() is None for process in processes)
            time.sleep(0.1)
        processes[1].send_signal(signal.SIGTERM)
    finally:
        done = finish(*processes)
    assert [each.returncode for each in done] == [1, 1], done
    steps = max(int(path.name) for path in (workdir / "checkpoints").iterdir())
    for each in done:
        assert f"stopped by SIGTERM after step {steps} of" in each.stderr


STREAM = """
import sys
from hashlib import sha256
from pathlib import Path
import jax
import numpy as np
from signjax.data import stream
from signjax.data.batches import Batches
from signjax.data.dataset import Dataset
from signjax.runtime.distributed import distributed_session, make_mesh
from tests.helpers.streaming import BATCH, SIZE, Alive

where, *folders = sys.argv[1:]
with distributed_session(where):
    alive = stream.load_image = Alive(stream.load_image)
    for folder in folders:
        paths = sorted(Path(folder).glob("train/*/*.png"))
        labels = np.arange(len(paths), dtype=np.int32) % 3
        data = Dataset(stream.ImagesOnDisk(paths, SIZE), labels, tuple("abc"))
        batches = Batches(
            data, make_mesh(jax.devices()), batch_size=BATCH, seed=5, shuffle=True,
            drop_remainder=False,
        )
        seen = sha256()
        for epoch, skip in ((0, 2), (1, 0)):
            for images, labels, _ in batches.epoch(epoch, skip):
                seen.update(np.asarray(images).tobytes() + np.asarray(labels).tobytes())
        print("seen", seen.hexdigest(), alive.decoded, flush=True)
"""


def read(where: str, *folders: Path) -> Process:
    words = [sys.executable, "-c", STREAM, where, *map(str, folders)]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    out = subprocess.PIPE
    return subprocess.Popen(words, env=environment, stdout=out, stderr=out, text=True)


def test_each_process_reads_its_share_and_one_that_cannot_ends_all(
    image_folder: Path, needs_grain: None, tmp_path: Path
) -> None:
    shutil.copytree(image_folder, tmp_path / "images")
    lost = tmp_path / "images" / "train" / "b" / "3.png"
    lost.write_bytes(b"<html>")
    port = free_port()
    places = [f"localhost:{port},{COUNT},{i}" for i in range(COUNT)]
    readers = [read(where, image_folder, tmp_path / "images") for where in places]
    both, (alone,) = finish(*readers), finish(read("", image_folder))
    seen = [
        line.split()[1:]
        for done in (*both, alone)
        for line in done.stdout.splitlines()
        if line.startswith("seen ")
    ]
    digests, counts = zip(*seen, strict=True)
    assert digests[0] == digests[1] == digests[2]
    assert int(counts[0]) == int(counts[1]) == int(counts[2]) // 2
    assert alone.returncode == 0, alone.stderr
    assert sorted(done.returncode for done in both) == [1, 2], both
    (told,) = (done.stderr for done in both if done.returncode == 2)
    assert told.splitlines()[-1].startswith(f"error: {lost}: ")


@pytest.mark.parametrize(
    "where",
    ["yes", "host,2,0", "host:1,2", "host:1,2,2", "host:99999,2,0", "a b:1,2,0"],
)
def test_a_malformed_flag_is_refused(where: str) -> None:
    with pytest.raises(InputError, match="expected auto, or HOST:PORT,COUNT,INDEX"):
        with distributed_session(where):
            pytest.fail("it was taken")


def test_one_process_agrees_with_itself() -> None:
    require_same("nothing", object())
    with pytest.raises(InputError, match="mine"), sync_errors():
        raise InputError("mine")
