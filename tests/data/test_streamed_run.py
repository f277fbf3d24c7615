"""A run that reads its images from disk gives the bits of one in memory."""

import json
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from configs import cnn
from signjax.config import check
from signjax.data import stream
from signjax.data.batches import Batches
from signjax.errors import InputError, RunError
from signjax.runtime.console import Console
from signjax.train import train
from signjax.workdir import load_trained
from tests.helpers.command_line import main
from tests.helpers.records import metrics
from tests.helpers.streaming import BATCH, EPOCHS, SIZE, STEPS, Alive

pytestmark = pytest.mark.usefixtures("needs_grain", "module_cache")


def config_of(folder: Path, **changes: Any) -> Any:
    config: Any = cnn.get_config("")
    config.update_from_flattened_dict(
        {
            "data.source": "folder",
            "data.dir": str(folder),
            "data.image_size": SIZE,
            "data.validation_fraction": 0.0,
            "train.epochs": EPOCHS,
            "train.batch_size": BATCH,
            "train.drop_remainder": False,
            "augment.flip": True,
            "augment.rotation": 10.0,
            "optimizer.learning_rate": 0.01,
            "run.eval_batch_size": 8,
        }
        | changes
    )
    check(config)
    return config


Run = Callable[..., Path]


def train_in(workdir: Path, config: Any) -> Path:
    train(config, workdir, jax.devices()[:1], Console(quiet=True))
    return workdir


@pytest.fixture
def run(image_folder: Path, tmp_path: Path) -> Run:
    """Trains in a workdir of that name and returns it."""

    def start(name: str, *, directory: Path = image_folder, **changes: Any) -> Path:
        changes = {key.replace("__", "."): value for key, value in changes.items()}
        return train_in(tmp_path / name, config_of(directory, **changes))

    return start


@pytest.fixture(scope="module")
def never_stopped(
    module_cache: None, image_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run whose images are all in memory."""
    workdir = tmp_path_factory.mktemp("runs") / "never_stopped"
    return train_in(workdir, config_of(image_folder))


def bits(workdir: Path) -> list[bytes]:
    """Of all arrays of the last checkpoint: weights, moments, step and sums."""
    model = load_trained(workdir, devices=jax.devices()[:1], warn=pytest.fail)
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(model.state)]


def assert_same_end(one: Path, other: Path) -> None:
    assert len(bits(one)) > 10
    assert bits(one) == bits(other)
    assert metrics(one) == metrics(other)
    first, second = (json.loads((w / "result.json").read_text()) for w in (one, other))
    for part in ("train", "test", "data"):
        assert first[part] == second[part]


def before_batch(
    monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[], Any]
) -> None:
    """Has `action` done once, before the batch of that number is handed out."""
    asked, epoch = 0, Batches.epoch

    def then(self: Batches, number_of_epoch: int, skip: int = 0) -> Iterator[Any]:
        nonlocal asked
        for batch in epoch(self, number_of_epoch, skip):
            asked += 1
            if asked == number:
                action()
            yield batch

    monkeypatch.setattr(Batches, "epoch", then)


def test_a_streamed_run_ends_with_the_bits_of_one_in_memory(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_out = {"data__validation_fraction": 0.2}
    memory = run("memory", **held_out)
    assert len(metrics(memory)) == EPOCHS
    alive = Alive(stream.load_image)
    monkeypatch.setattr(stream, "load_image", alive)
    streamed = run("streamed", data__stream=True, **held_out)
    assert alive.decoded >= EPOCHS * 32 and alive.most <= 3 * BATCH
    assert_same_end(memory, streamed)


@pytest.mark.parametrize(("step", "later"), [(STEPS, True), (STEPS + 2, False)])
def test_a_stopped_run_goes_on_with_the_same_images_on_disk_or_in_memory(
    run: Run,
    never_stopped: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    later: bool,
) -> None:
    with monkeypatch.context() as patch:
        before_batch(patch, step, lambda: signal.raise_signal(signal.SIGINT))
        with pytest.raises(RunError, match=f"stopped by SIGINT after step {step} "):
            run("stopped", data__stream=True)
    assert_same_end(never_stopped, run("stopped", data__stream=later))


def test_an_image_lost_in_training_is_named_and_what_was_saved_is_kept(
    run: Run,
    never_stopped: Path,
    image_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(image_folder, copy)
    lost = copy / "train" / "b" / "3.png"
    content = lost.read_bytes()
    start = partial(run, "run", directory=copy, data__stream=True)
    with monkeypatch.context() as patch:
        before_batch(patch, STEPS + 1, lambda: lost.write_bytes(b"<html>"))
        with pytest.raises(InputError) as error:
            start()
    said = str(error.value)
    assert said.startswith(f"{lost}: ") and "web page" in said and "\n" not in said
    assert "goes on from the last checkpoint" in said
    assert [record["epoch"] for record in metrics(tmp_path / "run")] in ([1], [1, 2])
    with pytest.raises(InputError, match=re.escape(str(lost))):
        start()
    lost.write_bytes(content)
    assert_same_end(start(), never_stopped)


def test_the_command_line_streams_and_ends(image_folder: Path, tmp_path: Path) -> None:
    """A process of its own: no warning, and no thread that outlives its error."""
    done = main(
        "--config=configs/cnn.py",
        "--config.data.source=folder",
        "--config.data.stream=True",
        f"--config.data.dir={image_folder}",
        f"--config.data.image_size={SIZE}",
        "--config.data.validation_fraction=0",
        "--config.train.batch_size=8",
        "--config.train.epochs=2",
        f"--workdir={tmp_path / 'run'}",
        JAX_PLATFORMS="cpu",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "test  accuracy" in done.stdout
