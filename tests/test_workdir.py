"""A workdir goes on with its own run only, and gives its model back."""

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import cnn
from signjax import workdir
from signjax.config import check, field
from signjax.data.dataset import Dataset, Splits
from signjax.errors import InputError
from signjax.experiment import make_experiment
from signjax.runtime.bucket import BucketPath
from signjax.runtime.checkpoint import Checkpoints
from signjax.runtime.console import Console


def make_splits(source: str = "synthetic", shift: int = 0) -> Splits:
    labels = np.arange(12, dtype=np.int32) % 3
    images = np.full((12, 32, 32, 3), shift, np.uint8)
    data = Dataset(images, labels, ("a", "b", "c"))
    return Splits(data, data.take(np.arange(6)), source, "made here")


def make_config(**changes: Any) -> ConfigDict:
    config: Any = cnn.get_config("seed")
    config.data.image_size = 32
    config.update_from_flattened_dict(
        {key.replace("__", "."): value for key, value in changes.items()}
    )
    return config


def describe(splits: Splits | None = None, **changes: Any) -> workdir.Run:
    return workdir.describe(make_config(**changes), splits or make_splits(), 12)


def test_what_begins_is_read_back(tmp_path: Path) -> None:
    run = describe()
    workdir.record_run(tmp_path / "new" / "run", run)
    found = workdir.read(tmp_path / "new" / "run")
    assert found.classes == ("a", "b", "c")
    assert found.data == run.data
    assert found.train_size == 12
    check(found.config)
    stored = json.loads((tmp_path / "new" / "run" / "run.json").read_text())
    assert stored["versions"].keys() >= {"jax", "python", "signjax"}


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 0},
        {"name": "other"},
        {"data__dir": "elsewhere"},
        {"data__source": "synthetic"},
        {"run__eval_batch_size": 7},
        {"run__checkpoint_every_epochs": 3},
        {"run__tensorboard": True},
    ],
)
def test_what_changes_no_result_may_differ(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    workdir.record_run(tmp_path, describe())
    before = json.loads((tmp_path / "run.json").read_text())
    run = describe(**changes)
    workdir.record_run(tmp_path, run)
    # The new values are those that the commands given a workdir go by.
    (key,) = (name.replace("__", ".") for name in changes)
    (value,) = changes.values()
    expected = str(Path(value).absolute()) if key == "data.dir" else value
    assert field(workdir.read(tmp_path).config, key) == expected
    after = json.loads((tmp_path / "run.json").read_text())
    assert before.keys() == after.keys()
    assert after["versions"] == before["versions"]


def test_a_finished_run_may_go_on_for_more_epochs_and_not_for_fewer(
    tmp_path: Path,
) -> None:
    workdir.record_run(tmp_path, describe(train__epochs=3))
    (tmp_path / "result.json").write_text("{}")
    line = workdir.record_run(tmp_path, describe(train__epochs=5))
    assert "train.epochs was 3 and is now 5; the learning rate follows" in line
    assert workdir.read(tmp_path).config.train.epochs == 5
    assert workdir.record_run(tmp_path, describe(train__epochs=5)) == ""
    for changes in ({"train__epochs": 4}, {"train__epochs": 6, "seed": 1}):
        with pytest.raises(InputError, match="holds another run"):
            workdir.record_run(tmp_path, describe(**changes))


def test_a_run_stopped_before_it_saved_anything_makes_way(tmp_path: Path) -> None:
    assert workdir.record_run(tmp_path, describe()) == ""
    (tmp_path / "checkpoints" / "00000003.tmp" / "state").mkdir(parents=True)
    line = workdir.record_run(tmp_path, describe(seed=1))
    assert "replaces" in line and "config.seed was 0 and is now 1" in line
    assert "\n" not in line
    assert workdir.read(tmp_path).config.seed == 1
    assert workdir.record_run(tmp_path, describe(seed=1)) == ""


@pytest.mark.parametrize("left", ["metrics.jsonl", "result.json", "checkpoint"])
def test_whatever_took_training_is_not_replaced(tmp_path: Path, left: str) -> None:
    workdir.record_run(tmp_path, describe())
    if left == "checkpoint":
        with Checkpoints(tmp_path / "checkpoints", warn=pytest.fail) as checkpoints:
            checkpoints.save(3, {"w": jax.numpy.zeros(2)})
    else:
        (tmp_path / left).write_text('{"step": 5}\n')
    with pytest.raises(InputError, match=r"holds another run: config\.seed"):
        workdir.record_run(tmp_path, describe(seed=1))
    assert workdir.read(tmp_path).config.seed == 0


LOCK = """
import sys
from pathlib import Path
from signjax import workdir
with workdir.lock(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_workdir_is_one_process_own_until_that_ends(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-c", LOCK, str(directory)],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(InputError, match="run is in use by another process"):
            with workdir.lock(directory):
                pytest.fail("two have it")
        other.kill()
        other.wait()
        with workdir.lock(directory):
            assert sorted(path.name for path in directory.iterdir()) == ["lock"]


def test_a_place_that_cannot_be_locked_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for path in (tmp_path / "notes.txt", tmp_path / "notes.txt" / "run"):
        with pytest.raises(InputError, match=r"--workdir .*notes\.txt.*directory"):
            with workdir.lock(path):
                pytest.fail("locked")
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """And no file stays there that would refuse the next run after a kill."""

    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    for _ in range(2):
        with workdir.lock(tmp_path), workdir.lock(tmp_path):
            pass


def refused(directory: Path, run: workdir.Run) -> str:
    """Why it may not go on in a workdir where another has saved something."""
    (directory / "metrics.jsonl").write_bytes(b'{"step": 5}\n')
    before = (directory / "run.json").read_bytes()
    with pytest.raises(InputError) as error:
        workdir.record_run(directory, run)
    assert (directory / "run.json").read_bytes() == before
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_key_that_differs_is_named_with_both_values(tmp_path: Path) -> None:
    workdir.record_run(tmp_path, describe())
    changes = {"seed": 3, "data__mean": (0.1, 0.2, 0.3), "name": "x"}
    message = refused(tmp_path, describe(make_splits("signs"), **changes))
    assert "config.seed was 0 and is now 3" in message
    assert "config.data.mean was (0.0, 0.0, 0.0) and is now (0.1, 0.2, 0.3)" in message
    assert "data's source was 'synthetic' and is now 'signs'" in message
    assert message.count(" is now ") == 3


SPLITS = make_splits()
MORE = SPLITS.train.join(make_splits(shift=1).train.take(np.arange(3)))
SWAPPED = replace(SPLITS.train, labels=SPLITS.train.labels[::-1].copy())


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (make_splits(shift=9), "18 images were added and 18 removed"),
        (SPLITS._replace(train=MORE), "3 images were added and 0 removed"),
        (SPLITS._replace(test=SPLITS.test.take(np.arange(5))), "0 images were added"),
        (SPLITS._replace(train=SWAPPED), "other labels, classes, splits or order"),
    ],
)
def test_changed_images_are_another_run_and_told_by_their_number(
    tmp_path: Path, changed: Splits, told: str
) -> None:
    workdir.record_run(tmp_path, describe(SPLITS))
    message = refused(tmp_path, describe(changed))
    assert f"the data changed: {told}" in message.replace("they have ", "")
    assert "sha256" not in message


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"config": 1}', '{"config": {}}'])
def test_a_damaged_run_json_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError, match=r"run\.json"):
        workdir.read(tmp_path)


def test_an_empty_workdir_holds_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no run\.json"):
        workdir.read(tmp_path / "nothing")
    workdir.record_run(tmp_path, describe())
    with pytest.raises(InputError, match="no finished checkpoint"):
        workdir.load_trained(tmp_path, devices=jax.devices()[:1], warn=pytest.fail)


def test_a_workdir_in_a_bucket_is_that_of_one_run_at_a_time(
    bucket: BucketPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=f"{bucket} holds no run .no run.json"):
        workdir.read(bucket)
    run, console = describe(), Console(quiet=True)
    with workdir.create_or_resume(bucket, run, console) as checkpoints:
        assert checkpoints.steps() == []
        with pytest.raises(InputError, match=f"{bucket} is in use by another process"):
            with workdir.lock(bucket):
                pytest.fail("locked")
    with workdir.create_or_resume(tmp_path, run, console):
        pass
    for name in "run.json", "trained_on.json":
        assert (bucket / name).read_bytes() == (tmp_path / name).read_bytes()
    assert "config.seed was 0 and is now 3" in refused(bucket, describe(seed=3))


def test_event_files_are_refused_in_a_bucket(bucket: BucketPath) -> None:
    run = describe(run__tensorboard=True)
    with pytest.raises(InputError, match="config.run.tensorboard is True, but gs://"):
        with workdir.create_or_resume(bucket, run, Console(quiet=True)):
            pytest.fail("it was taken")
    assert bucket.files() == []


def test_data_in_a_bucket_keep_their_address(tmp_path: Path) -> None:
    workdir.record_run(tmp_path, describe(data__dir="gs://bucket/data"))
    stored = json.loads((tmp_path / "run.json").read_text())
    assert stored["config"]["data"]["dir"] == "gs://bucket/data"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A workdir with two checkpoints, the first better, and their parameters."""
    directory = tmp_path_factory.mktemp("trained")
    config = make_config(train__batch_size=6)
    workdir.record_run(directory, workdir.describe(config, make_splits(), 12))
    state = make_experiment(config, 3, 12, jax.devices()[:1]).initial_state()
    params = []
    with Checkpoints(directory / "checkpoints", warn=pytest.fail) as checkpoints:
        for step, accuracy in ((2, 0.9), (4, 0.5)):
            state = state.replace(
                step=state.step * 0 + step,
                params=jax.tree.map(lambda x: x + 1, state.params),
            )
            params.append(jax.tree.map(np.asarray, state.params))
            checkpoints.save(step, state, {"accuracy": accuracy})
    return directory, params


@pytest.mark.parametrize(("best", "step", "place"), [(False, 4, 1), (True, 2, 0)])
@pytest.mark.parametrize("devices", [1, 8])
def test_the_trained_model_is_the_latest_or_the_best_on_any_device_count(
    trained: tuple[Path, list[Any]], best: bool, step: int, place: int, devices: int
) -> None:
    """Whatever the batch size that it was trained with: 6 splits over no 8 devices."""
    directory, params = trained
    model = workdir.load_trained(
        directory, devices=jax.devices()[:devices], warn=pytest.fail, best=best
    )
    assert model.step == step
    jax.tree.map(np.testing.assert_array_equal, model.state.params, params[place])
    assert model.run.classes == ("a", "b", "c")


def test_the_packed_model_is_of_the_network_that_its_record_names(
    tmp_path: Path,
) -> None:
    box = shutil.copytree(workdir.RECOGNISER, tmp_path / "box")
    load = partial(workdir.load_trained, devices=jax.devices()[:1], warn=pytest.fail)
    calibrated = json.loads((box / "calibration.json").read_text())
    assert load(box).step == calibrated["step"]
    with pytest.raises(InputError, match="--best: .*box has one state alone"):
        load(box, best=True)
    stored = json.loads((box / "run.json").read_text())
    stored["config"]["model"]["width"] += 8
    (box / "run.json").write_text(json.dumps(stored))
    with pytest.raises(InputError, match="is not of the network that its run.json"):
        load(box)
