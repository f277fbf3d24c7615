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
from tests.helpers.command_line import CNN, ROOT, command
from tests.helpers.records import metrics
from tests.helpers.streaming import BATCH, SIZE

pytestmark = pytest.mark.usefixtures("module_cache")

Process = subprocess.Popen[str]
Done = subprocess.CompletedProcess[str]

COUNT = 2
LIMIT = 600  # seconds for one command, on a machine that has other work too
EPOCHS, STEPS = 3, 4
TRAIN = (
    *CNN,
    "--config.data.synthetic_train=48",
    "--config.data.synthetic_test=10",
    "--config.augment.brightness=0.2",
    "--config.train.batch_size=12",
    "--config.run.eval_batch_size=9",
)


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


def arguments(workdir: Path, epochs: int = EPOCHS) -> tuple[str, ...]:
    return (*TRAIN, f"--config.train.epochs={epochs}", f"--workdir={workdir}")


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
    shutil.rmtree(copy / "checkpoints" / f"{EPOCHS * STEPS:08}")
    (copy / "result.json").unlink()
    return copy


@pytest.fixture(scope="module")
def by_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workdir of one process alone."""
    workdir = tmp_path_factory.mktemp("one") / "run"
    (done,) = finish(start(*arguments(workdir)))
    assert done.returncode == 0, done.stderr
    return workdir


@pytest.fixture(scope="module")
def by_two(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, list[Done]]:
    """The workdir of two processes, and what they said."""
    workdir = tmp_path_factory.mktemp("two") / "run"
    return workdir, finish(*start_all(*arguments(workdir)))


def test_two_processes_learn_what_one_does_and_the_first_speaks(
    by_one: Path, by_two: tuple[Path, list[Done]]
) -> None:
    workdir, (first, second) = by_two
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert first.stdout.count("epoch 1/") == 1
    said = [line for line in second.stdout.splitlines() if "Gloo" not in line]
    assert said == [] and "WARNING" not in second.stderr
    assert not list(workdir.rglob("*.tmp"))
    assert_same_curve(workdir, by_one)
    result, expected = (
        json.loads((path / "result.json").read_text()) for path in (workdir, by_one)
    )
    assert result["test"]["confusion"] == expected["test"]["confusion"]
    assert result["test"]["loss"] == pytest.approx(expected["test"]["loss"], rel=1e-4)
    assert "2 x cpu over 2 processes" in result["device"]


def test_what_two_saved_one_goes_on_with(
    by_one: Path, by_two: tuple[Path, list[Done]], tmp_path: Path
) -> None:
    workdir = without_last_checkpoint(by_two[0], tmp_path / "run")
    (done,) = finish(start(*arguments(workdir)))
    assert done.returncode == 0, done.stderr
    assert f"resumed after step {(EPOCHS - 1) * STEPS}" in done.stdout
    assert_same_curve(workdir, by_one)


def test_what_one_saved_two_go_on_with(by_one: Path, tmp_path: Path) -> None:
    workdir = without_last_checkpoint(by_one, tmp_path / "run")
    processes = start_all_as_slurm_does(*arguments(workdir))
    first, second = finish(*processes)
    assert (first.returncode, second.returncode) == (0, 0), (first, second)
    assert f"resumed after step {(EPOCHS - 1) * STEPS}" in first.stdout
    assert_same_curve(workdir, by_one)


def test_what_one_saved_two_go_on_with_in_a_bucket(
    by_one: Path, bucket: BucketPath, tmp_path: Path
) -> None:
    upload(without_last_checkpoint(by_one, tmp_path / "run"), bucket)
    first, second = finish(*start_all(*arguments(bucket)))
    assert (first.returncode, second.returncode) == (0, 0), (first, second)
    assert f"resumed after step {(EPOCHS - 1) * STEPS}" in first.stdout
    assert_same_curve(bucket, by_one)


def test_a_refused_workdir_ends_all(by_one: Path) -> None:
    before = (by_one / "run.json").read_bytes()
    first, second = finish(*start_all(*arguments(by_one, epochs=2)))
    assert (first.returncode, second.returncode) == (2, 2), (first, second)
    assert "config.train.epochs was 3 and is now 2" in first.stderr
    assert "process 0 cannot go on" in second.stderr
    assert (by_one / "run.json").read_bytes() == before


def test_sigterm_to_one_process_saves_and_stops_all(tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    processes = start_all(*arguments(workdir, epochs=100_000))
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

where, folder = sys.argv[1:]
with distributed_session(where):
    alive = stream.load_image = Alive(stream.load_image)
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
    print("seen", seen.hexdigest(), alive.decoded)
"""


def read(where: str, folder: Path) -> Process:
    words = [sys.executable, "-c", STREAM, where, str(folder)]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    out = subprocess.PIPE
    return subprocess.Popen(words, env=environment, stdout=out, stderr=out, text=True)


def read_together(folder: Path) -> list[Process]:
    port = free_port()
    places = [f"localhost:{port},{COUNT},{i}" for i in range(COUNT)]
    return [read(where, folder) for where in places]


def test_an_image_that_one_process_cannot_read_is_named_and_ends_all(
    image_folder: Path, needs_grain: None, tmp_path: Path
) -> None:
    shutil.copytree(image_folder, tmp_path / "images")
    lost = tmp_path / "images" / "train" / "b" / "3.png"
    lost.write_bytes(b"<html>")
    done = finish(*read_together(tmp_path / "images"))
    assert sorted(each.returncode for each in done) == [1, 2], done
    (told,) = (each.stderr for each in done if each.returncode == 2)
    assert told.splitlines()[-1].startswith(f"error: {lost}: ")


def test_each_process_reads_its_share_of_the_batches_of_one(
    image_folder: Path, needs_grain: None
) -> None:
    done = [*finish(*read_together(image_folder)), *finish(read("", image_folder))]
    assert [each.returncode for each in done] == [0, 0, 0], done
    lines = [line for x in done for line in x.stdout.splitlines() if line[:4] == "seen"]
    digests, counts = zip(*(line.split()[1:] for line in lines), strict=True)
    assert digests[0] == digests[1] == digests[2]
    assert int(counts[0]) == int(counts[1]) == int(counts[2]) // 2


def test_two_processes_stream_to_the_losses_of_one(
    image_folder: Path, needs_grain: None, tmp_path: Path
) -> None:
    words = (
        "--config=configs/cnn.py:seed",
        "--config.data.source=folder",
        f"--config.data.dir={image_folder}",
        "--config.data.stream=True",
        f"--config.data.image_size={SIZE}",
        f"--config.train.batch_size={BATCH}",
        f"--config.train.epochs={EPOCHS}",
        "--config.augment.brightness=0.2",
    )
    one, two = (f"--workdir={tmp_path / name}" for name in ("one", "two"))
    (alone,) = finish(start(*words, one))
    both = finish(*start_all(*words, two))
    assert [x.returncode for x in (alone, *both)] == [0, 0, 0], (alone, both)
    assert_same_curve(tmp_path / "two", tmp_path / "one")


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
