"""Ported weights compute what Keras and PyTorch compute with them.

tests/golden/ holds samples of their results, which
benchmarks/baselines/golden_port.py wrote.
"""

import json
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import serialization

from signjax.data.image import load_image
from signjax.models.resnet import ResNet
from signjax.pretrained import names
from signjax.pretrained.port import (
    Ported,
    flatten,
    imagenet_classes,
    port,
)
from signjax.pretrained.read import read_weights
from tests.helpers.seeded_weights import STEP_SEED, calm, draw, random_images, sample
from tests.helpers.weight_files import (
    GOLDEN,
    as_source,
    golden_json,
    shapes_of,
    write_keras_3,
    write_keras_h5,
    write_keras_zip,
    write_safetensors,
    zeros,
)

TENSORS = ("stem", "stage1", "stage2", "stage3", "stage4", "logits")
STAGE_ENDS = {
    "bn_stem": "stem",
    "stage1_block3": "stage1",
    "stage2_block4": "stage2",
    "stage3_block6": "stage3",
    "stage4_block3": "stage4",
}
TOLERANCE = 1e-4


@cache
def golden_arrays() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "port.npz") as stored:
        return dict(stored)


def network(ported: Ported) -> ResNet:
    classes = ported.variables["params"]["head"]["bias"].size
    return ResNet(classes, **ported.variant, conv_impl="matmul")


def prepare(ported: Ported, images: np.ndarray) -> np.ndarray:
    mean, std = ported.preprocessing.mean, ported.preprocessing.std
    return ((images / 255 - np.array(mean)) / np.array(std)).astype(np.float32)


@cache
def compiled(variant: tuple[tuple[str, Any], ...], classes: int) -> Any:
    model = ResNet(classes, **dict(variant), conv_impl="matmul")

    def keep(module: Any, method: str) -> bool:
        return method == "__call__" and module.name in STAGE_ENDS

    return jax.jit(
        partial(
            model.apply,
            train=False,
            capture_intermediates=keep,
            mutable=["intermediates"],
        )
    )


def activations(ported: Ported, images: np.ndarray) -> dict[str, np.ndarray]:
    apply = compiled(
        tuple(ported.variant.items()), ported.variables["params"]["head"]["bias"].size
    )
    logits, state = apply(ported.variables, prepare(ported, images))
    found = {
        STAGE_ENDS[name]: np.asarray(value["__call__"][0])
        for name, value in state["intermediates"].items()
    }
    return found | {"logits": np.asarray(logits)}


def error(case: str, tensor: str, found: np.ndarray, count: int = 200) -> float:
    """max |a - b| / max |b| of the sample that the golden file holds."""
    expected = golden_arrays()[f"{case}/{tensor}"]
    scale = golden_arrays()[f"{case}/{tensor}/scale"]
    return float(np.abs(sample(found, count) - expected).max() / scale)


def assert_equal_to_golden(case: str, found: dict[str, np.ndarray]) -> None:
    errors = {tensor: error(case, tensor, found[tensor]) for tensor in TENSORS}
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
    images = {
        "chelsea": lambda: load_image(GOLDEN / "chelsea.png", 300)[
            None, 38:262, 38:262
        ],
        "noise224": lambda: random_images(1, 224),
        "noise64": lambda: random_images(2, 64),
    }[name]()
    assert_equal_to_golden(f"keras-imagenet/{name}", activations(real, images))


def test_chelsea_is_an_egyptian_cat(real: Ported) -> None:
    image = load_image(GOLDEN / "chelsea.png", real.preprocessing.image_size)
    logits = activations(real, image[None])["logits"][0]
    probabilities = np.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    assert real.classes is not None
    assert real.classes[probabilities.argmax()] == "Egyptian cat"
    assert probabilities.max() == pytest.approx(0.855, abs=0.01)


def ported_of(case: str, **options: Any) -> Ported:
    return port(as_source(case, draw(shapes_of(case, counters=False))), **options)


@pytest.mark.slow
def test_a_training_step_equals_torch_in_float64() -> None:
    """Gradients, and BatchNorm's statistics after the n / (n - 1) of PyTorch's."""
    ported = port(
        as_source("torchvision", calm(draw(shapes_of("torchvision", counters=False))))
    )
    model = network(ported)
    images = random_images(8, 32, STEP_SEED)
    labels = np.arange(8) % 6

    def loss_fn(params: Any) -> tuple[jax.Array, Any]:
        logits, updates = model.apply(
            {**ported.variables, "params": params},
            prepare(ported, images),
            train=True,
            mutable=["batch_stats"],
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return jnp.mean(losses), updates["batch_stats"]

    gradient = jax.jit(jax.value_and_grad(loss_fn, has_aux=True))
    (loss, statistics), gradients = gradient(ported.variables["params"])
    found = flatten({"params": gradients, "batch_stats": statistics})
    before = flatten(ported.variables)
    assert error("step", "loss", np.asarray(loss), 40) <= TOLERANCE
    errors = {}
    for name, place in names.table(names.LAYOUTS["torchvision"]).items():
        value = np.asarray(found[place])
        if place[0] == "params":
            axes = (3, 2, 0, 1) if value.ndim == 4 else None
            errors[name] = error("step", f"gradient/{name}", value.transpose(axes), 40)
            continue
        if place[-1] == "var":
            size = count_of_values(place, batch=8)
            decayed = 0.9 * before[place]
            value = decayed + (value - decayed) * size / (size - 1)
        errors[name] = error("step", f"statistic/{name}", value, 40)
    assert len(errors) == 161 + 106
    assert max(errors.values()) <= TOLERANCE, {
        name: e for name, e in errors.items() if e > TOLERANCE
    }


def count_of_values(place: names.LeafPath, batch: int) -> int:
    """How many values a BatchNorm's statistics are of, at 32 x 32 input."""
    if place[1] == "bn_stem":
        return batch * 16 * 16
    stage, block = int(place[1][5]), int(place[1][-1])
    side = 8 // 2 ** (stage - 1)
    if stage > 1 and block == 1 and place[2] == "bn1":
        side *= 2  # before the stride
    return batch * side * side


@pytest.mark.slow
def test_folded_biases_train_as_biases_do() -> None:
    """The same logits and, but for the bias itself, the same new statistics."""
    folded, kept = (
        ported_of("keras_applications", keep_conv_bias=keep) for keep in (False, True)
    )
    assert (folded.variant["conv_bias"], kept.variant["conv_bias"]) == (False, True)
    images = random_images(4, 64)
    results = []
    for ported in (folded, kept):
        apply = jax.jit(
            partial(network(ported).apply, train=True, mutable=["batch_stats"])
        )
        results.append(apply(ported.variables, prepare(ported, images)))
    (logits, statistics), (expected, expected_statistics) = results
    assert np.abs(logits - expected).max() <= TOLERANCE * np.abs(expected).max()
    biases = flatten(kept.variables["params"])
    found = flatten(statistics["batch_stats"])
    for place, wanted in flatten(expected_statistics["batch_stats"]).items():
        if place[-1] == "mean":
            conv = place[-2].replace("bn", "conv")
            wanted = wanted - biases[*place[:-2], conv, "bias"]
        difference = np.abs(found[place] - wanted).max()
        assert difference <= TOLERANCE * np.abs(wanted).max(), place


def test_a_whole_keras_model_states_its_variant(tmp_path: Path) -> None:
    ported = port(read_weights(write_whole_model(tmp_path)))
    assert ported.variant == {
        "stride_on": "1x1",
        "pool_padding": 0,
        "same_padding": False,
        "conv_bias": False,
        "bn_momentum": 0.99,
        "bn_epsilon": 1e-3,
    }
    assert ported.preprocessing.image_size == 64
    assert ported.classes == ("0", "1", "2", "3", "4", "5")


def write_whole_model(folder: Path, model_config: str | None = None) -> Path:
    config = model_config or golden_json()["model_config"]
    return write_keras_h5(folder / "m.h5", zeros(shapes_of("keras_model")), config)


def with_training_argument(model_config: str) -> str:
    """The configuration of the same model with training=True in its BatchNorms."""
    model = json.loads(model_config)
    for layer in model["config"]["layers"]:
        if layer["class_name"] == "BatchNormalization":
            layer["inbound_nodes"][0]["kwargs"]["training"] = True
    return json.dumps(model)


def as_keras_2(model_config: str) -> str:
    """The same configuration as Keras 2 wrote it."""
    model = json.loads(model_config)
    for layer in model["config"]["layers"]:
        settings = layer["config"]
        if "batch_shape" in settings:
            settings["batch_input_shape"] = settings.pop("batch_shape")
        for i, node in enumerate(layer["inbound_nodes"]):
            (tensors,) = node["args"]
            tensors = tensors if isinstance(tensors, list) else [tensors]
            layer["inbound_nodes"][i] = [
                [*tensor["config"]["keras_history"], node["kwargs"]]
                for tensor in tensors
            ]
    return json.dumps(model | {"class_name": "Model"})


@pytest.mark.parametrize("convert", [with_training_argument, as_keras_2])
def test_a_batch_norm_called_in_training_mode_is_named(
    convert: Any, tmp_path: Path
) -> None:
    config = with_training_argument(golden_json()["model_config"])
    config = config if convert is with_training_argument else convert(config)
    notes = port(read_weights(write_whole_model(tmp_path, config))).notes
    (note,) = [note for note in notes if "training=True" in note]
    assert note.startswith("53 BatchNorm layers")


def test_a_keras_zip_is_the_same_model(tmp_path: Path) -> None:
    arrays = draw(shapes_of("keras_model"))
    config = golden_json()["model_config"]
    whole = port(read_weights(write_keras_h5(tmp_path / "a", arrays, config)))
    zipped = port(read_weights(write_keras_zip(tmp_path / "b", arrays, config)))
    assert_same_tree(zipped.variables, whole.variables)


@pytest.mark.parametrize("named", [True, False])
def test_keras_3_weights_of_the_published_network(named: bool, tmp_path: Path) -> None:
    import h5py

    arrays = draw(shapes_of("keras_applications"))
    with h5py.File(tmp_path / "x.weights.h5", "w") as root:
        write_keras_3(root, arrays, named=named)
    found = port(read_weights(tmp_path / "x.weights.h5"))
    assert_same_tree(found.variables, ported_of("keras_applications").variables)


def assert_same_tree(found: Any, expected: Any) -> None:
    found, expected = flatten(found), flatten(expected)
    assert found.keys() == expected.keys()
    for place, leaf in expected.items():
        np.testing.assert_array_equal(found[place], leaf, str(place))


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
    assert [classes[i] for i in (0, 285, 999)] == [
        "tench",
        "Egyptian cat",
        "toilet tissue",
    ]
