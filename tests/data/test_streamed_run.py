"""A run that reads its pictures from disk gives the bits of one in memory."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from configs import cnn
from signjax import train
from signjax.commands import evaluate
from signjax.commands.cli import Options
from signjax.config import check
from signjax.data import stream
from signjax.data.stream import ReadAhead
from signjax.errors import InputError, RunError
from signjax.runtime import distributed as processes
from signjax.workdir import load_trained
from tests.helpers.records import metrics
from tests.helpers.streaming import BATCH, EPOCHS, SIZE, STEPS, Alive, write_pictures

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.usefixtures("needs_grain")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


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


def options_of(workdir: Path, config: Any = None, **changes: Any) -> Options:
    return Options(config=config, workdir=str(workdir), **changes)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGNJAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        before = jax.config.jax_compilation_cache_dir
        yield
        jax.config.update("jax_compilation_cache_dir", before)


Run = Callable[..., Path]


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Run:
    """Trains in a workdir of that name and returns it."""

    def start(name: str, *, directory: Path = folder, **changes: Any) -> Path:
        changes = {key.replace("__", "."): value for key, value in changes.items()}
        train.run(options_of(tmp_path / name, config_of(directory, **changes)))
        return tmp_path / name

    return start


@pytest.fixture(scope="module")
def never_stopped(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose images are all in memory."""
    workdir = tmp_path_factory.mktemp("runs") / "never_stopped"
    train.run(options_of(workdir, config_of(folder)))
    return workdir


def bits(workdir: Path) -> list[bytes]:
    """Of all arrays of the last checkpoint: weights, moments, step and sums."""
    model = load_trained(workdir, devices=jax.devices(), warn=pytest.fail)
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
    asked, original = 0, ReadAhead.__next__

    def then(self: ReadAhead) -> Any:
        nonlocal asked
        asked += 1
        if asked == number:
            action()
        return original(self)

    monkeypatch.setattr(ReadAhead, "__next__", then)


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


@pytest.mark.parametrize(
    ("step", "later"), [(STEPS - 1, True), (STEPS, True), (STEPS + 2, False)]
)
def test_a_stopped_run_goes_on_with_the_same_pictures_on_disk_or_in_memory(
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


def test_a_picture_lost_in_training_is_named_and_what_was_saved_is_kept(
    run: Run,
    never_stopped: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
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


def test_evaluate_finds_the_test_images_of_a_streamed_run(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workdir = run("run", data__stream=True)
    # Which needs no reading ahead.
    monkeypatch.setitem(sys.modules, "grain", None)
    output = tmp_path / "scores.json"
    evaluate.run(options_of(workdir, output=str(output)))
    scores = json.loads(output.read_text())
    assert scores["count"] == 9
    assert scores["accuracy"] == metrics(workdir)[-1]["test_accuracy"]


def test_without_grain_it_says_how_to_get_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(InputError, match=r'pip install "signjax\[stream\]"') as error:
        run("run", data__stream=True)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_several_processes_are_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "alone", lambda: False)
    with pytest.raises(InputError, match="which --distributed does not take"):
        run("run", data__stream=True)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"data.source": "signs"}, "config.data.stream is True, which only folders"),
        ({"data.source": "auto"}, "config.data.stream is True, which only folders"),
        ({"data.synthetic_count": 5}, "config.data.synthetic_count is 5, but with"),
    ],
)
def test_what_cannot_be_streamed_is_refused(
    folder: Path, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        config_of(folder, **{"data.stream": True} | changes)


def test_the_command_line_streams_and_ends(folder: Path, tmp_path: Path) -> None:
    """A process of its own: no warning, and no thread that outlives its error."""
    arguments = [
        "--config=configs/cnn.py",
        "--config.data.source=folder",
        "--config.data.stream=True",
        f"--config.data.dir={folder}",
        f"--config.data.image_size={SIZE}",
        "--config.data.validation_fraction=0",
        "--config.train.batch_size=8",
        "--config.train.epochs=2",
    ]
    warnings = "error,ignore:the load_module() method is deprecated:DeprecationWarning"
    done = subprocess.run(
        [sys.executable, "main.py", *arguments, f"--workdir={tmp_path / 'run'}"],
        cwd=ROOT,
        env=os.environ | {"PYTHONWARNINGS": warnings, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "test  accuracy" in done.stdout
