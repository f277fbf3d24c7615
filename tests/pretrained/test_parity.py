"""Ported networks against Keras and PyTorch themselves, tensor by whole tensor.

Runs where the extra `parity` is installed; tests/golden/ keeps the same proofs running
elsewhere, on samples.
"""

# pyright: reportMissingImports=false
# The parity extra's packages are not in every environment.

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.helpers.seeded_weights import STEP_SEED, calm, draw, random_images
from tests.helpers.weight_files import write_safetensors

torch = pytest.importorskip("torch", reason="the extra parity is not installed")
keras = pytest.importorskip("keras", reason="the extra parity is not installed")
transformers = pytest.importorskip(
    "transformers", reason="the extra parity is not installed"
)
skimage_data = pytest.importorskip(
    "skimage.data", reason="the extra parity is not installed"
)

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "baselines"))

import golden_port  # noqa: E402  (found by the line above)
import keras_reference  # noqa: E402
import torch_resnet  # noqa: E402

from signjax.models.resnet import ResNet  # noqa: E402
from signjax.pretrained import names  # noqa: E402
from signjax.pretrained.port import Ported, flatten, port  # noqa: E402
from signjax.pretrained.read import Source, read_weights  # noqa: E402

TOLERANCE = 1e-4
STAGE_ENDS = {
    "bn_stem": "stem",
    "stage1_block3": "stage1",
    "stage2_block4": "stage2",
    "stage3_block6": "stage3",
    "stage4_block3": "stage4",
}


def activations(ported: Ported, images: np.ndarray) -> dict[str, np.ndarray]:
    mean, std = ported.preprocessing.mean, ported.preprocessing.std
    inputs = ((images / 255 - np.array(mean)) / np.array(std)).astype(np.float32)
    head = ported.variables["params"]["head"]["bias"]
    model = ResNet(head.size, **ported.variant, conv_impl="matmul")
    apply = partial(
        model.apply,
        train=False,
        mutable=["intermediates"],
        capture_intermediates=lambda module, _: module.name in STAGE_ENDS,
    )
    logits, state = jax.jit(apply)(ported.variables, inputs)
    found = {
        STAGE_ENDS[name]: np.asarray(value["__call__"][0])
        for name, value in state["intermediates"].items()
    }
    return found | {"logits": np.asarray(logits)}


def error(found: Any, expected: Any) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def assert_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    errors = {name: error(found[name], expected[name]) for name in expected}
    assert max(errors.values()) <= TOLERANCE, errors


def photo(name: str, size: int = 224) -> np.ndarray:
    """uint8 [1, size, size, 3] from the middle of one of scikit-image's pictures."""
    image = getattr(skimage_data, name)()
    top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
    return image[None, top : top + size, left : left + size, :3]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chelsea", "astronaut", "coffee"])
def test_photographs_through_the_published_keras_network(
    name: str, shared: Path
) -> None:
    path = shared / "weights" / "resnet50_imagenet_keras.h5"
    model = keras.applications.ResNet50(weights=None)
    model.load_weights(path)
    images = photo(name)
    expected = golden_port.keras_tensors(model, golden_port.caffe(images))
    assert_equal(activations(port(read_weights(path)), images), expected)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["h5", "keras"])
def test_the_reference_network_as_keras_saves_it(suffix: str, tmp_path: Path) -> None:
    model = keras_reference.build(6)
    golden_port.keras_seed(model)
    model.save(tmp_path / f"resnet50.{suffix}")
    images = random_images(2, 64)
    expected = golden_port.keras_tensors(model, golden_port.unit(images))
    ported = port(read_weights(tmp_path / f"resnet50.{suffix}"))
    assert_equal(activations(ported, images), expected)


@pytest.mark.slow
def test_weights_of_the_published_network_as_keras_saves_them(tmp_path: Path) -> None:
    model = keras.applications.ResNet50(weights=None, input_shape=(64, 64, 3))
    golden_port.keras_seed(model)
    model.save_weights(tmp_path / "x.weights.h5")
    images = random_images(2, 64)
    expected = golden_port.keras_tensors(model, golden_port.caffe(images))
    assert_equal(
        activations(port(read_weights(tmp_path / "x.weights.h5")), images), expected
    )


def torchvision_model() -> Any:
    return torch_resnet.ResNet50(6)


def hugging_face_model() -> Any:
    return transformers.ResNetForImageClassification(
        transformers.ResNetConfig(num_labels=6)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "modules"),
    [
        (torchvision_model, golden_port.TORCHVISION_MODULES),
        (hugging_face_model, golden_port.HUGGING_FACE_MODULES),
    ],
)
def test_torch_networks(make: Any, modules: list[str], tmp_path: Path) -> None:
    model = make()
    golden_port.torch_seed(model)
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    images = photo("chelsea")
    expected = golden_port.torch_tensors(
        model, modules, golden_port.standardize(images)
    )
    ported = port(read_weights(write_safetensors(tmp_path / "x", state)))
    assert_equal(activations(ported, images), expected)


@pytest.mark.slow
def test_a_training_step_in_float64() -> None:
    """Every gradient and statistic, whole, with both sides in float64.

    In float32 rounding flips ReLUs, in PyTorch and here alike, and no gradient is to be
    had within 1e-4 of the true one.
    """
    images, labels = random_images(8, 32, STEP_SEED), np.arange(8) % 6
    expected = golden_port.training_step(images, labels)
    arrays = calm(draw(golden_port.torch_shapes(torch_resnet.ResNet50(6))))
    arrays = {k: v for k, v in arrays.items() if not k.endswith("tracked")}
    layout = names.recognize({name: array.shape for name, array in arrays.items()})
    assert layout is not None
    ported = port(Source("weights", layout, arrays))
    found = step_in_float64(ported, golden_port.standardize(images), labels)
    errors = {}
    for name, place in names.table(names.LAYOUTS["torchvision"]).items():
        value = found[place]
        if place[0] == "params":
            axes = (3, 2, 0, 1) if value.ndim == 4 else None
            errors[name] = error(value.transpose(axes), expected[f"gradient/{name}"])
        elif place[-1] == "mean":
            errors[name] = error(value, expected[f"statistic/{name}"])
    assert len(errors) == 161 + 53
    assert max(errors.values()) <= 1e-6, {k: e for k, e in errors.items() if e > 1e-6}


def step_in_float64(
    ported: Ported, inputs: np.ndarray, labels: np.ndarray
) -> dict[tuple[str, ...], np.ndarray]:
    with jax.enable_x64(True):
        model = ResNet(6, **ported.variant, conv_impl="matmul", dtype=jnp.float64)
        variables = jax.tree.map(lambda x: np.asarray(x, np.float64), ported.variables)

        def loss_fn(params: Any) -> tuple[jax.Array, Any]:
            logits, updates = model.apply(
                {**variables, "params": params},
                inputs.astype(np.float64),
                train=True,
                mutable=["batch_stats"],
            )
            logits = jnp.asarray(logits, jnp.float64)
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return jnp.mean(losses), updates["batch_stats"]

        gradient = jax.jit(jax.grad(loss_fn, has_aux=True))
        gradients, statistics = gradient(variables["params"])
        tree = {"params": gradients, "batch_stats": statistics}
        return {place: np.asarray(leaf) for place, leaf in flatten(tree).items()}
