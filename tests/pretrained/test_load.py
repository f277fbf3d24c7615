"""What a person may name as weights: a file, a workdir, a published name."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from configs import cnn, resnet
from signjax import build, workdir
from signjax.data.download import RemoteFile
from signjax.errors import InputError, RunError
from signjax.pretrained.load import Weights, open_weights
from signjax.pretrained.published import PUBLISHED, STRIKES_BACK, Published
from signjax.runtime.checkpoint import Checkpoints
from tests.helpers.weight_files import write_sparse_safetensors

NAME = "timm/resnet50.a1_in1k"


def open_(given: str | Path) -> Weights:
    return open_weights(str(given), devices=jax.devices()[:1], warn=pytest.fail)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with torchvision's names and six outputs, all zeros."""
    golden = Path(__file__).parent / "golden" / "port.json.gz"
    shapes = json.loads(gzip.decompress(golden.read_bytes()))["shapes"]["torchvision"]
    path = tmp_path_factory.mktemp("weights") / "resnet50.safetensors"
    return write_sparse_safetensors(path, {k: tuple(v) for k, v in shapes.items()})


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_is_opened_with_its_digest(file: Path) -> None:
    weights = open_(file)
    assert weights.origin == str(file)
    assert weights.sha256 == sha256(file)
    assert weights.ported.classes == tuple("012345")


def test_a_tilde_is_the_home_folder(file: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("HOME", str(file.parent))
    weights = open_("~/resnet50.safetensors")
    assert weights.origin == "~/resnet50.safetensors"
    assert weights.sha256 == sha256(file)


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
    with pytest.raises(InputError, match="neither a file or folder") as caught:
        open_(name)
    assert all(known in str(caught.value) for known in PUBLISHED)


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a folder without run\.json") as caught:
        open_(tmp_path)
    assert str(tmp_path) in str(caught.value)


def save(directory: Path, config: Any, variables: Any = None) -> None:
    """A workdir of `config`, with new weights or with `variables`."""
    classes = tuple("abc")
    network = build.make_network(config, len(classes), jax.devices()[:1])
    data = {"source": "signs", "origin": "here", "sha256": "0"}
    run = workdir.Run(config, classes, data, train_size=32)
    workdir.record_run(directory, run)
    if variables is None:
        recipe = build.make_recipe(config, network, 32)
        state = build.make_state(config, network, recipe)
    else:
        state = build.ported_state(config, network, variables)
    with Checkpoints(directory / "checkpoints", warn=pytest.fail) as checkpoints:
        checkpoints.save(0, state)


def test_a_workdir_gives_its_weights_and_how_images_are_prepared(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = resnet.get_config()
    config.model.stride_on = "1x1"
    config.data.image_size = 96
    config.data.mean = (0.5, 0.25, 0.125)
    config.data.crop = 0.75
    config.data.interpolation = "bilinear"
    head = {
        "kernel": np.full((2048, 3), 2.0, np.float32),
        "bias": np.arange(3, dtype=np.float32),
    }
    variables = open_(file).ported.variables
    params = variables["params"] | {"head": head}
    save(tmp_path / "run", config, variables | {"params": params})
    monkeypatch.setenv("HOME", str(tmp_path))
    weights = open_("~/run")
    assert (weights.origin, weights.sha256) == ("~/run", "")
    ported = weights.ported
    assert ported.classes == tuple("abc")
    assert ported.variant["bn_momentum"] == config.model.bn_momentum
    assert ported.variant["stride_on"] == "1x1"
    assert ported.preprocessing == (
        (0.5, 0.25, 0.125),
        tuple(config.data.std),
        96,
        0.75,
        "bilinear",
        True,
        15.0,
    )
    found = ported.variables["params"]["head"]
    np.testing.assert_array_equal(found["bias"], [0, 1, 2])
    assert len(jax.tree.leaves(ported.variables)) == 267


def test_the_workdir_of_another_network_is_refused(tmp_path: Path) -> None:
    save(tmp_path, cnn.get_config("seed"))
    with pytest.raises(InputError, match="the workdir of a CNN; expected a ResNet-50"):
        open_(tmp_path)
