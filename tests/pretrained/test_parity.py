"""Ported networks against Keras and PyTorch themselves, tensor by whole tensor.

Runs where the extra `parity` is installed; tests/golden/ keeps the same proofs running
elsewhere, on samples.
"""

# pyright: reportMissingImports=false
# The parity extra's packages are not in every environment.

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from signjax.pretrained import names
from signjax.pretrained.port import Ported, port
from signjax.pretrained.read import read_weights
from tests.helpers.ported import activations, in_torch_order, training_step
from tests.helpers.seeded_weights import STEP_SEED, calm, draw, random_images
from tests.helpers.weight_files import as_source, write_safetensors

WITHOUT = "the extra parity is not installed"
torch = pytest.importorskip("torch", reason=WITHOUT)
keras = pytest.importorskip("keras", reason=WITHOUT)
transformers = pytest.importorskip("transformers", reason=WITHOUT)
skimage_data = pytest.importorskip("skimage.data", reason=WITHOUT)

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "baselines"))

import golden_port  # noqa: E402  (found by the line above)
import keras_reference  # noqa: E402
import torch_resnet  # noqa: E402

# Keras asks torch for arrays in a way that NumPy is about to drop.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning"),
]

TOLERANCE = 1e-4


def error(found: Any, expected: Any) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def assert_equal(ported: Ported, images: np.ndarray, expected: dict[str, Any]) -> None:
    found = activations(ported, images)
    assert found.keys() == expected.keys()
    errors = {name: error(found[name], expected[name]) for name in expected}
    assert max(errors.values()) <= TOLERANCE, errors


def photo(name: str, size: int = 224) -> np.ndarray:
    """uint8 [1, size, size, 3] from the middle of one of scikit-image's pictures."""
    image = getattr(skimage_data, name)()
    top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
    return image[None, top : top + size, left : left + size, :3]


@pytest.mark.parametrize("name", ["chelsea", "astronaut", "coffee"])
def test_photographs_through_the_published_keras_network(
    name: str, shared: Path
) -> None:
    path = shared / "weights" / "resnet50_imagenet_keras.h5"
    model = keras.applications.ResNet50(weights=None)
    model.load_weights(path)
    images = photo(name)
    expected = golden_port.keras_tensors(model, golden_port.caffe(images))
    assert_equal(port(read_weights(path)), images, expected)


@pytest.mark.parametrize("suffix", ["h5", "keras"])
def test_the_reference_network_as_keras_saves_it(suffix: str, tmp_path: Path) -> None:
    model = keras_reference.build(6)
    golden_port.keras_seed(model)
    model.save(tmp_path / f"resnet50.{suffix}")
    images = random_images(2, 64)
    expected = golden_port.keras_tensors(model, golden_port.unit(images))
    assert_equal(port(read_weights(tmp_path / f"resnet50.{suffix}")), images, expected)


def test_weights_of_the_published_network_as_keras_saves_them(tmp_path: Path) -> None:
    model = keras.applications.ResNet50(weights=None, input_shape=(64, 64, 3))
    golden_port.keras_seed(model)
    model.save_weights(tmp_path / "x.weights.h5")
    images = random_images(2, 64)
    expected = golden_port.keras_tensors(model, golden_port.caffe(images))
    assert_equal(port(read_weights(tmp_path / "x.weights.h5")), images, expected)


def hugging_face_model(classes: int) -> Any:
    config = transformers.ResNetConfig(num_labels=classes)
    return transformers.ResNetForImageClassification(config)


@pytest.mark.parametrize(
    ("make", "modules"),
    [
        (torch_resnet.ResNet50, golden_port.TORCHVISION_MODULES),
        (hugging_face_model, golden_port.HUGGING_FACE_MODULES),
    ],
)
def test_torch_networks(make: Any, modules: list[str], tmp_path: Path) -> None:
    model = make(6)
    golden_port.torch_seed(model)
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    images = photo("chelsea")
    inputs = golden_port.standardize(images)
    expected = golden_port.torch_tensors(model, modules, inputs)
    ported = port(read_weights(write_safetensors(tmp_path / "x", state)))
    assert_equal(ported, images, expected)


def test_a_training_step_in_float64() -> None:
    """Every gradient and statistic, whole, with both sides in float64.

    In float32 rounding flips ReLUs, in PyTorch and here alike, and no gradient is to be
    had within 1e-4 of the true one.
    """
    images, labels = random_images(8, 32, STEP_SEED), np.arange(8) % 6
    expected = golden_port.training_step(images, labels)
    arrays = calm(draw(golden_port.torch_shapes(torch_resnet.ResNet50(6))))
    arrays = {k: v for k, v in arrays.items() if not k.endswith("tracked")}
    with jax.enable_x64(True):
        ported = port(as_source("torchvision", arrays))
        _, found = training_step(ported, images, labels, jnp.float64)
    errors = {}
    for name, place in names.table(names.LAYOUTS["torchvision"]).items():
        if place.startswith("params/"):
            value = in_torch_order(found[place])
            errors[name] = error(value, expected[f"gradient/{name}"])
        elif place.endswith("/mean"):
            errors[name] = error(found[place], expected[f"statistic/{name}"])
    assert len(errors) == 161 + 53
    assert max(errors.values()) <= 1e-6, {k: e for k, e in errors.items() if e > 1e-6}
