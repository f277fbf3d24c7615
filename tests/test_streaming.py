"""A run that reads its images from disk gives the bits of one in memory."""

import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import pytest

from configs import cnn
from signjax.config import check
from signjax.data import stream
from signjax.data.batches import Batches
from signjax.errors import RunError
from signjax.runtime.console import Console
from signjax.train import train
from tests.helpers.records import metrics
from tests.helpers.refusals import refused
from tests.helpers.runs import differences
from tests.helpers.streaming import BATCH, EPOCHS, SIZE, STEPS, Alive

pytestmark = pytest.mark.usefixtures("needs_grain", "shared_cache")


def train_in(workdir: Path, folder: Path, **data: Any) -> Path:
    """Trains in that workdir and returns it."""
    config: Any = cnn.get_config("")
    config.data.update(source="folder", dir=str(folder), image_size=SIZE, **data)
    config.train.update(epochs=EPOCHS, batch_size=BATCH, drop_remainder=False)
    config.augment.brightness = 0.2
    config.optimizer.learning_rate = 0.01
    config.run.eval_batch_size = 8
    check(config)
    train(config, workdir, jax.devices()[:1], Console(quiet=True))
    return workdir


@pytest.fixture(scope="module")
def never_stopped(shared_cache, image_folder, tmp_path_factory):
    """A run whose images are all in memory."""
    workdir = tmp_path_factory.mktemp("runs") / "never_stopped"
    return train_in(workdir, image_folder, validation_fraction=0.2)


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
    never_stopped, image_folder, tmp_path, monkeypatch
):
    alive = Alive(stream.load_image)
    monkeypatch.setattr(stream, "load_image", alive)
    run = train_in(tmp_path, image_folder, validation_fraction=0.2, stream=True)
    assert alive.decoded >= EPOCHS * 32 and alive.most <= 3 * BATCH
    assert differences(never_stopped, run) == []


@pytest.mark.parametrize(("step", "later"), [(STEPS - 1, True), (STEPS + 2, False)])
def test_a_stopped_run_goes_on_with_the_same_images_on_disk_or_in_memory(
    never_stopped, image_folder, tmp_path, monkeypatch, step, later
):
    options = {"validation_fraction": 0.2}
    with monkeypatch.context() as patch:
        before_batch(patch, step, lambda: signal.raise_signal(signal.SIGINT))
        with refused(f"stopped by SIGINT after step {step} ", RunError):
            train_in(tmp_path, image_folder, stream=True, **options)
    run = train_in(tmp_path, image_folder, stream=later, **options)
    assert differences(never_stopped, run) == []


def test_an_image_lost_in_training_is_named_and_what_was_saved_is_kept(
    image_folder, tmp_path, monkeypatch
):
    copy, run = tmp_path / "copy", tmp_path / "run"
    shutil.copytree(image_folder, copy)
    lost = copy / "train" / "b" / "3.png"
    content = lost.read_bytes()
    options: Any = {"folder": copy, "stream": True, "validation_fraction": 0.0}
    with monkeypatch.context() as patch:
        before_batch(patch, STEPS + 1, lambda: lost.write_bytes(b"<html>"))
        with refused(f"^{lost}: .*web page.*goes on from the last checkpoint"):
            train_in(run, **options)
    assert [record["epoch"] for record in metrics(run)] in ([1], [1, 2])
    with refused(re.escape(str(lost))):
        train_in(run, **options)
    lost.write_bytes(content)
    whole = train_in(tmp_path / "whole", **options)
    assert differences(whole, train_in(run, **options)) == []
