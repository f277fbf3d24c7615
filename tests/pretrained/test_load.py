"""What a person may name as weights: a file, a workdir, a published name."""

import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from configs import cnn, resnet, resnet_pretrained
from signjax import workdir
from signjax.config import check
from signjax.data.download import RemoteFile
from signjax.errors import InputError, RunError
from signjax.experiment import Experiment, make_experiment
from signjax.pretrained.load import (
    Weights,
    open_weights,
    ported_config,
    ported_state,
    settle_weights,
    start_from,
)
from signjax.pretrained.port import Ported
from signjax.pretrained.published import PUBLISHED, STRIKES_BACK, Published
from signjax.runtime.checkpoint import Checkpoints
from signjax.runtime.console import Console
from tests.helpers.weight_files import shapes_of, write_sparse_safetensors

NAME = "timm/resnet50.a1_in1k"
DEVICES = jax.devices()[:1]


def open_(given: str | Path) -> Weights:
    return open_weights(str(given), devices=DEVICES, warn=pytest.fail)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with torchvision's names and six outputs, all zeros."""
    path = tmp_path_factory.mktemp("weights") / "resnet50.safetensors"
    return write_sparse_safetensors(path, shapes_of("torchvision"))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_below_the_home_folder_is_opened(file: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("HOME", str(file.parent))
    weights = open_("~/resnet50.safetensors")
    assert weights.origin == "~/resnet50.safetensors"
    assert weights.sha256 == sha256(file)
    assert weights.ported.classes == tuple("012345")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIGNJAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def publish(path: Path, digest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `path` what is found under NAME's address."""
    remote = RemoteFile("a1.safetensors", (path.as_uri(),), sha256=digest)
    monkeypatch.setitem(PUBLISHED, NAME, Published(remote, STRIKES_BACK))


def test_a_published_name_is_fetched_into_the_cache_once(
    file: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = tmp_path / "served.safetensors"
    address.hardlink_to(file)
    publish(address, sha256(file), monkeypatch)
    weights = open_(NAME)
    assert weights.origin == NAME
    assert weights.sha256 == sha256(file)
    assert sha256(cache / "weights" / "a1.safetensors") == sha256(file)
    # The images are prepared as its publisher does, which is then no guess.
    assert weights.ported.preprocessing == STRIKES_BACK
    assert not any("input" in note for note in weights.ported.notes)
    address.unlink()
    assert open_(NAME).sha256 == sha256(file)


def test_a_published_file_with_other_content_is_refused(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "served").write_bytes(b"another file")
    publish(tmp_path / "served", "0" * 64, monkeypatch)
    with pytest.raises(RunError, match="wrong checksum"):
        open_(NAME)
    assert not list((cache / "weights").iterdir())


@pytest.mark.parametrize("name", ["keras-imagnet", "missing.h5"])
def test_an_unknown_name_lists_those_there_are(name: str, cache: Path) -> None:
    with pytest.raises(InputError, match=f"{name}: neither a file or f") as caught:
        open_(name)
    assert all(known in str(caught.value) for known in PUBLISHED)


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"without run\.json or config\.json") as found:
        open_(tmp_path)
    assert str(tmp_path) in str(found.value)


def save(directory: Path, config: Any, variables: Any = None) -> Experiment:
    """A workdir of `config`, with new weights or with `variables`."""
    experiment = make_experiment(config, 3, 32, DEVICES)
    data = {"source": "signs", "origin": "here", "sha256": "0"}
    run = workdir.Run(config, tuple("abc"), data, train_size=32)
    workdir.record_run(directory, run)
    if variables is None:
        state = experiment.initial_state()
    else:
        state = ported_state(experiment, variables)
    with Checkpoints(directory / "checkpoints", warn=pytest.fail) as checkpoints:
        checkpoints.save(0, state)
    return experiment


def test_a_workdir_gives_its_network_and_how_images_are_prepared(
    tmp_path: Path,
) -> None:
    config = resnet.get_config()
    config.model.update(stride_on="1x1", width=8, stage_sizes=(1, 1, 1, 2))
    config.data.update(image_size=96, crop=0.75, interpolation="bilinear")
    config.data.mean = (0.5, 0.25, 0.125)
    state = save(tmp_path, config).initial_state()
    weights = open_(tmp_path)
    assert (weights.origin, weights.sha256) == (str(tmp_path), "")
    ported = weights.ported
    assert ported.classes == tuple("abc")
    means, stds = (0.5, 0.25, 0.125), tuple(config.data.std)
    assert ported.preprocessing == (means, stds, 96, 0.75, "bilinear", True, 15.0)
    jax.tree.map(np.testing.assert_array_equal, ported.variables, state.variables)
    kept = ported_config(ported)
    check(kept)
    for key in ("mean", "std", "image_size", "crop", "interpolation"):
        assert kept.data[key] == config.data[key]
    for key in ported.variant:
        assert kept.model[key] == config.model[key]
    assert (kept.tta.flip, kept.tta.rotation) == (config.tta.flip, config.tta.rotation)


def test_a_cnn_starts_from_the_weights_of_a_cnn(tmp_path: Path) -> None:
    experiment = save(tmp_path / "run", cnn.get_config("seed"))
    config = cnn.get_config("seed")
    config.model.weights = str(tmp_path / "run")
    check(config)
    _, ported = settle(config, tmp_path / "new")
    assert ported is not None and ported.network == "cnn"
    new = experiment.create_state(jax.random.key(99))
    start = start_from(ported, experiment, tuple("abc"), Console(quiet=True))
    started = start(new)
    for found, wanted, other in zip(
        *map(jax.tree.leaves, (started.params, ported.variables["params"], new.params)),
        strict=True,
    ):
        np.testing.assert_array_equal(found, wanted)
        assert found.ndim < 2 or not np.array_equal(found, other)
    kept = ported_config(ported)
    check(kept)
    assert kept.model.name == "cnn"
    other = resnet.get_config()
    other.model.weights = str(tmp_path / "run")
    with pytest.raises(InputError, match="config.model.name is 'resnet50', not 'cnn'"):
        settle(other, tmp_path / "new")


def test_values_that_no_network_has_are_refused_in_workdirs(tmp_path: Path) -> None:
    config = cnn.get_config("seed")
    experiment = make_experiment(config, 3, 32, DEVICES)
    variables = jax.tree.map(np.array, experiment.initial_state().variables)
    variables["params"]["conv2"]["kernel"][0, 0, 0, 0] = np.nan
    save(tmp_path, config, variables)
    with pytest.raises(InputError, match="not a number in params/conv2/kernel"):
        open_(tmp_path)


# What follows from the weights.


def settle(config: Any, directory: Path, *chosen: str) -> tuple[Any, Ported | None]:
    return settle_weights(config, directory, chosen, DEVICES, Console(quiet=True))


def from_weights(path: Path) -> Any:
    config = resnet_pretrained.get_config()
    config.model.weights = str(path)
    return config


def test_what_follows_from_the_weights_is_taken_from_them(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = from_weights(file)
    chosen = ("data.image_size", "model.bn_momentum")
    settled, ported = settle_weights(config, tmp_path, chosen, DEVICES, Console())
    assert ported is not None
    expected = config.to_dict()
    expected["model"] |= {"stride_on": "3x3", "bn_epsilon": 1e-5}
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected["data"] |= {"mean": mean, "std": std}
    assert settled.to_dict() == expected  # and nothing else
    told = capsys.readouterr().out
    assert "weights: class names assumed: 0 to 5, in the order of the outputs" in told
    assert "from the weights: model.stride_on='3x3', model.bn_epsilon=1e-05" in told


def test_keys_set_on_purpose_are_refused_all_at_once(
    file: Path, tmp_path: Path
) -> None:
    config = from_weights(file)
    config.model.width = 16
    chosen = ("model.stride_on", "model.pool_padding", "model.width", "data.mean")
    with pytest.raises(InputError) as caught:
        settle(config, tmp_path, *chosen)
    line = str(caught.value)
    assert "config.model.width is 16, not 64" in line
    assert "config.model.stride_on is '1x1', not '3x3'" in line
    assert "config.data.mean is (0.48" in line
    assert "bn_epsilon" not in line and "pool_padding" not in line


def test_a_run_goes_on_without_the_file_it_started_from(
    file: Path, tmp_path: Path
) -> None:
    config = from_weights(file)
    settled, ported = settle(config, tmp_path)
    assert ported is not None
    config.model.weights = settled.model.weights = str(tmp_path / "gone")
    head = {"kernel": np.zeros((2048, 3), np.float32), "bias": np.zeros(3, np.float32)}
    ported.variables["params"]["head"] = head
    save(tmp_path, settled, ported.variables)
    again, ported = settle(config, tmp_path)
    assert ported is None
    assert again.to_dict() == settled.to_dict()


# Folders as Hugging Face's hub has them.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_sparse_safetensors(tmp_path / "model.safetensors", shapes_of("hugging_face"))
    labels = {str(i): name for i, name in enumerate("abcdef")}
    (tmp_path / "config.json").write_text(json.dumps({"id2label": labels}))
    return tmp_path


PROCESSORS: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {
    "convnext": (
        {"size": 224, "crop_pct": 0.875, "resample": 2, "image_mean": [0.5, 0.25, 0],
         "image_std": [0.5, 1, 2]},
        ((0.5, 0.25, 0.0), (0.5, 1.0, 2.0), 224, 0.875, "bilinear", False, 0.0),
    ),
    "crop": (
        {"size": {"shortest_edge": 256}, "do_center_crop": True, "resample": 3,
         "crop_size": {"height": 192, "width": 192}, "do_normalize": False},
        ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 192, 0.75, "bicubic", False, 0.0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROCESSORS)
def test_a_hugging_face_folder_says_classes_and_preparation(
    name: str, folder: Path
) -> None:
    stored, expected = PROCESSORS[name]
    (folder / "preprocessor_config.json").write_text(json.dumps(stored))
    ported = open_(folder).ported
    assert ported.classes == tuple("abcdef")
    assert ported.preprocessing == expected
    assert ported.variant["stride_on"] == "3x3"
    assert ported.notes == ()


TIMM = {
    "input_size": [3, 224, 224],
    "test_input_size": [3, 288, 288],
    "crop_pct": 0.95,
    "test_crop_pct": 1.0,
    "interpolation": "bicubic",
    "mean": [0.1, 0.2, 0.3],
    "std": [1, 2, 3],
}


def test_a_timm_folder_says_its_preparation(folder: Path) -> None:
    shapes = shapes_of("torchvision")
    write_sparse_safetensors(folder / "model.safetensors", shapes)
    (folder / "config.json").write_text(json.dumps({"pretrained_cfg": TIMM}))
    expected = ((0.1, 0.2, 0.3), (1.0, 2.0, 3.0), 288, 1.0, "bicubic", False, 0.0)
    assert open_(folder).ported.preprocessing == expected


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"depths": [3, 4, 23, 3]}, "depths is [3, 4, 23, 3]: expected ResNet-50's"),
        (
            {"downsample_in_bottleneck": True, "id2label": {"0": "a"}},
            "1 different class",
        ),
        ({"id2label": {"0": "a", "2": "b"}}, "not what transformers or timm write"),
        ({"id2label": {"0": "a\x1b[2J"}}, "class names 'a\\x1b[2J': expected text"),
        ({"pretrained_cfg": {"mean": 1}}, "not what transformers or timm write"),
        ({"pretrained_cfg": TIMM | {"std": [1, 0, 1]}}, "config.data.std is (1.0, 0.0"),
        ({"pretrained_cfg": TIMM | {"mean": [1, 2]}}, "config.data.mean is (1.0, 2.0)"),
        ({"pretrained_cfg": TIMM | {"test_crop_pct": 2}}, "config.data.crop is 2.0"),
        ({"pretrained_cfg": TIMM | {"mean": [1, 2, float("nan")]}}, "data.mean is (1."),
        ([], "expected a JSON object"),
    ],
)
def test_folders_that_do_not_fit_are_refused(
    config: Any, told: str, folder: Path
) -> None:
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError) as caught:
        open_(folder)
    assert told in str(caught.value)


@pytest.mark.parametrize("stored", [{"rescale_factor": 1.0}, {"do_rescale": False}])
def test_images_that_are_scaled_otherwise_are_refused(
    stored: dict[str, Any], folder: Path
) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps(stored))
    with pytest.raises(InputError, match="multiplies images by 1.*expected 1/255"):
        open_(folder)
