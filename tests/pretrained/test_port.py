"""Ported weights compute what Keras and PyTorch compute with them.

tests/golden/ holds samples of their results, which
benchmarks/baselines/golden_port.py wrote.
"""

import json
from functools import cache, partial
from pathlib import Path
from typing import Any

import h5py
import jax
import numpy as np
import pytest
from flax import serialization
from flax.traverse_util import unflatten_dict

from signjax.data.image import load_image
from signjax.pretrained import names
from signjax.pretrained.port import Ported, flatten, imagenet_classes, port
from signjax.pretrained.read import read_weights
from tests.helpers.ported import (
    activations,
    in_torch_order,
    network,
    prepare,
    training_step,
)
from tests.helpers.seeded_weights import STEP_SEED, calm, draw, random_images, sample
from tests.helpers.weight_files import (
    GOLDEN,
    as_source,
    golden_json,
    shapes_of,
    write_keras_3,
    write_keras_h5,
    write_safetensors,
    zeros,
)

TOLERANCE = 1e-4


@cache
def golden_arrays() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "port.npz") as stored:
        return dict(stored)


def error(case: str, tensor: str, found: np.ndarray, count: int = 200) -> float:
    """max |a - b| / max |b| of the sample that the golden file holds."""
    expected = golden_arrays()[f"{case}/{tensor}"]
    scale = golden_arrays()[f"{case}/{tensor}/scale"]
    return float(np.abs(sample(found, count) - expected).max() / scale)


def assert_equal_to_golden(case: str, found: dict[str, np.ndarray]) -> None:
    errors = {tensor: error(case, tensor, value) for tensor, value in found.items()}
    assert len(errors) == 6  # the stem, four stages, the logits
    assert max(errors.values()) <= TOLERANCE, errors


def write_source(case: str, folder: Path) -> Path:
    arrays = draw(shapes_of(case))
    if case in ("torchvision", "hugging_face"):
        return write_safetensors(folder / "weights", arrays)
    config = golden_json()["model_config"] if case == "keras_model" else None
    return write_keras_h5(folder / "weights", arrays, config)


@pytest.mark.parametrize(
    "case",
    [
        "keras_applications",
        "keras_applications_old",
        "keras_model",
        "torchvision",
        "hugging_face",
    ],
)
def test_every_stage_equals_the_source_network(case: str, tmp_path: Path) -> None:
    source = read_weights(write_source(case, tmp_path))
    assert source.layout.kind == case
    assert_equal_to_golden(case, activations(port(source), random_images(2, 64)))


@pytest.fixture(scope="module")
def real(request: pytest.FixtureRequest) -> Ported:
    shared = request.getfixturevalue("shared")
    return port(read_weights(shared / "weights" / "resnet50_imagenet_keras.h5"))


@pytest.mark.parametrize("name", ["chelsea", "noise224", "noise64"])
def test_the_published_weights_compute_as_in_keras(real: Ported, name: str) -> None:
    if name == "chelsea":
        images = load_image(GOLDEN / "chelsea.png", 300)[None, 38:262, 38:262]
    else:
        images = random_images(1, 224) if name == "noise224" else random_images(2, 64)
    assert_equal_to_golden(f"keras-imagenet/{name}", activations(real, images))


def ported_of(case: str) -> Ported:
    return port(as_source(case, draw(shapes_of(case, counters=False))))


@pytest.mark.slow
def test_a_training_step_equals_torch_in_float64() -> None:
    """Gradients, and BatchNorm's statistics after the n / (n - 1) of PyTorch's."""
    arrays = calm(draw(shapes_of("torchvision", counters=False)))
    ported = port(as_source("torchvision", arrays))
    images, labels = random_images(8, 32, STEP_SEED), np.arange(8) % 6
    loss, found = training_step(ported, images, labels)
    before = flatten(ported.variables)
    errors = {"loss": error("step", "loss", loss, 40)}
    for name, place in names.table(names.LAYOUTS["torchvision"]).items():
        value, kind = found[place], "statistic"
        if place.startswith("params/"):
            value, kind = in_torch_order(value), "gradient"
        elif place.endswith("/var"):
            size = count_of_values(place, batch=8)
            decayed = 0.9 * before[place]
            value = decayed + (value - decayed) * size / (size - 1)
        errors[name] = error("step", f"{kind}/{name}", value, 40)
    assert len(errors) == 1 + 161 + 106
    assert max(errors.values()) <= TOLERANCE, {
        name: e for name, e in errors.items() if e > TOLERANCE
    }


def count_of_values(place: str, batch: int) -> int:
    """How many values a BatchNorm's statistics are of, at 32 x 32 input."""
    _, layer, *own = place.split("/")
    if layer == "bn_stem":
        return batch * 16 * 16
    stage, block = int(layer[5]), int(layer[-1])
    side = 8 // 2 ** (stage - 1)
    if stage > 1 and block == 1 and own[0] == "bn1":
        side *= 2  # before the stride
    return batch * side * side


@pytest.mark.slow
def test_folded_biases_train_as_biases_do() -> None:
    """The same logits and, but for the bias itself, the same new statistics."""
    folded = ported_of("keras_applications")
    source = as_source("keras_applications", draw(shapes_of("keras_applications")))
    variables, biases = flatten(folded.variables), {}
    for name, place in names.table(source.layout).items():
        *layers, layer, leaf = place.split("/")
        if layer.startswith("conv") and leaf == "bias":
            mean = "/".join((*layers, layer.replace("conv", "bn"), "mean"))
            mean = mean.replace("params", "batch_stats")
            biases[mean] = variables[place] = source.arrays[name]
            variables[mean] = variables[mean] + source.arrays[name]
    assert len(biases) == 53
    images = prepare(folded, random_images(4, 64))
    results = []
    for tree, biased in ((folded.variables, False), (variables, True)):
        model = network(folded).clone(conv_bias=biased)
        apply = jax.jit(partial(model.apply, train=True, mutable=["batch_stats"]))
        results.append(apply(unflatten_dict(flatten(tree), sep="/"), images))
    (logits, statistics), (expected, expected_statistics) = results
    assert np.abs(logits - expected).max() <= TOLERANCE * np.abs(expected).max()
    found = flatten(statistics)
    for place, wanted in flatten(expected_statistics).items():
        wanted = wanted - biases.get(place, 0)
        difference = np.abs(found[place] - wanted).max()
        assert difference <= TOLERANCE * np.abs(wanted).max(), place


def write_whole_model(folder: Path, change: Any) -> Path:
    model = change(json.loads(golden_json()["model_config"]))
    arrays = zeros(shapes_of("keras_model"))
    return write_keras_h5(folder / "m.h5", arrays, json.dumps(model))


def as_keras_2_in_training_mode(model: Any) -> Any:
    """The configuration as Keras 2 wrote it, training=True in its BatchNorms."""
    for layer in model["config"]["layers"]:
        settings = layer["config"]
        if "batch_shape" in settings:
            settings["batch_input_shape"] = settings.pop("batch_shape")
        options = {}
        if layer["class_name"] == "BatchNormalization":
            options["training"] = True
        for i, node in enumerate(layer["inbound_nodes"]):
            (tensors,) = node["args"]
            tensors = tensors if isinstance(tensors, list) else [tensors]
            layer["inbound_nodes"][i] = [
                [*tensor["config"]["keras_history"], options] for tensor in tensors
            ]
    return model | {"class_name": "Model"}


def test_a_batch_norm_called_in_training_mode_is_told(tmp_path: Path) -> None:
    path = write_whole_model(tmp_path, as_keras_2_in_training_mode)
    (note,) = [x for x in port(read_weights(path)).notes if "training=True" in x]
    assert note.startswith("53 BatchNorm layers")


def of_180_pixels(model: Any) -> Any:
    first, *_, pool, _, _ = model["config"]["layers"]
    first["config"]["batch_shape"] = [None, 180, 180, 3]
    pool["config"]["pool_size"] = [6, 6]
    return model


def test_a_whole_keras_model_states_its_variant_and_its_size(tmp_path: Path) -> None:
    ported = port(read_weights(write_whole_model(tmp_path, of_180_pixels)))
    assert ported.variant == {
        "width": 64,
        "stage_sizes": (3, 4, 6, 3),
        "stride_on": "1x1",
        "pool_padding": 0,
        "same_padding": False,
        "conv_bias": False,
        "bn_momentum": 0.99,
        "bn_epsilon": 1e-3,
    }
    assert ported.preprocessing.image_size == 192  # a multiple of 32
    assert "images of 192 pixels a side, nearest to the weights' 180" in ported.notes
    assert ported.classes == tuple("012345")


@pytest.mark.parametrize("named", [True, False])
def test_keras_3_weights_of_the_published_network(named: bool, tmp_path: Path) -> None:
    arrays = draw(shapes_of("keras_applications"))
    with h5py.File(tmp_path / "x.weights.h5", "w") as root:
        write_keras_3(root, arrays, named=named)
    found = port(read_weights(tmp_path / "x.weights.h5"))
    assert_same_tree(found.variables, ported_of("keras_applications").variables)


def assert_same_tree(found: Any, expected: Any) -> None:
    found, expected = flatten(found), flatten(expected)
    assert found.keys() == expected.keys()
    for place, leaf in expected.items():
        np.testing.assert_array_equal(found[place], leaf, place)


def test_our_own_variables_come_back(tmp_path: Path) -> None:
    ported = ported_of("torchvision")
    path = tmp_path / "variables"
    path.write_bytes(serialization.msgpack_serialize(ported.variables))
    again = port(read_weights(path))
    assert_same_tree(again.variables, ported.variables)
    assert any("stride" in note for note in again.notes)


def test_weights_without_head_leave_the_head_new() -> None:
    arrays = zeros(shapes_of("keras_applications"))
    arrays = {k: v for k, v in arrays.items() if not k.startswith("predictions")}
    ported = port(as_source("keras_applications", arrays))
    assert "head" not in ported.variables["params"]
    assert ported.classes is None
    assert ported.coverage[-1] == ("head", 0, 0, 2)
    assert sum(row.ported for row in ported.coverage) == 53 * 5
    assert sum(row.folded for row in ported.coverage) == 53


def test_imagenet_has_a_thousand_different_class_names() -> None:
    classes = imagenet_classes()
    assert len(set(classes)) == 1000
    # Indices as printed with the ILSVRC 2012 challenge.
    assert (classes[0], classes[999]) == ("tench", "toilet tissue")
