"""Files of weights are told apart by what is in them, and wrong ones get one line."""

import hashlib
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import jax.numpy as jnp
import numpy as np
import pytest
from flax import serialization

from signjax.errors import InputError
from signjax.pretrained import names
from signjax.pretrained.read import read_weights
from tests.helpers.weight_files import (
    golden_json,
    numbered,
    shapes_of,
    write_keras_h5,
    write_keras_weights,
    write_keras_zip,
    write_msgpack,
    write_safetensors,
    write_sparse_safetensors,
    zeros,
)


def message(path: Path) -> str:
    """What is said of a wrong file: one line that begins with its name."""
    with pytest.raises(InputError) as caught:
        read_weights(path)
    text = str(caught.value)
    assert text.startswith(f"weights {path}: ")
    assert text.isprintable() and len(text) <= 300
    return text.removeprefix(f"weights {path}: ")


def model_config(change: Callable[..., object] = dict) -> str:
    """The golden Keras model's, with `change` made to its layers and outputs."""
    model = json.loads(golden_json()["model_config"])
    change(**{key: model["config"][key] for key in ("layers", "output_layers")})
    return json.dumps(model)


def keras(case: str) -> dict[str, np.ndarray]:
    return zeros(shapes_of(case))


# By the kind that is found in them.
WRITERS: dict[str, Callable[[Path], Path]] = {
    "keras_applications": lambda x: write_keras_h5(x, keras("keras_applications")),
    "keras_applications, Keras 3": lambda x: write_keras_weights(
        x, keras("keras_applications")
    ),
    "keras_applications_old": lambda x: write_keras_h5(
        x, keras("keras_applications_old")
    ),
    "keras_model": lambda x: write_keras_h5(x, keras("keras_model"), model_config()),
    "keras_model, zip": lambda x: write_keras_zip(
        x, keras("keras_model"), model_config()
    ),
    "torchvision": lambda x: write_sparse_safetensors(x, shapes_of("torchvision")),
    "hugging_face": lambda x: write_sparse_safetensors(x, shapes_of("hugging_face")),
}


@pytest.mark.parametrize("case", WRITERS)
def test_a_file_is_told_by_its_content(case: str, tmp_path: Path) -> None:
    kind = case.split(",")[0]
    path = WRITERS[case](tmp_path / "resnet50.pdf")
    source = read_weights(path)
    assert source.layout.kind == kind
    found = {name: array.shape for name, array in source.arrays.items()}
    assert found == shapes_of(kind, counters=False)
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert names.table(source.layout).keys() >= found.keys()
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    assert "its download cut short perhaps" in message(path)


def test_the_published_file_is_read_whole(shared: Path) -> None:
    source = read_weights(shared / "weights" / "resnet50_imagenet_keras.h5")
    assert source.layout.kind == "keras_applications"
    found = {name: array.shape for name, array in source.arrays.items()}
    assert found == shapes_of("keras_applications")


def test_keras_2_12_files_are_read_under_their_own_group(tmp_path: Path) -> None:
    expected = numbered(shapes_of("keras_model"))
    path = write_keras_zip(
        tmp_path / "x",
        expected,
        model_config(),
        base="_layer_checkpoint_dependencies",
    )
    found = read_weights(path).arrays
    assert found.keys() == expected.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name])


HALVES: dict[str, tuple[str, Callable[..., Path]]] = {
    "h5": ("keras_applications", write_keras_h5),
    "weights.h5": ("keras_applications", write_keras_weights),
    "safetensors": ("torchvision", write_safetensors),
    "msgpack": ("flax", write_msgpack),
}


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16])
@pytest.mark.parametrize("kind", HALVES)
def test_half_precision_is_widened(dtype: type, kind: str, tmp_path: Path) -> None:
    case, write = HALVES[kind]
    expected = numbered(shapes_of(case, counters=False), dtype)
    found = read_weights(write(tmp_path / "x", expected)).arrays
    assert found.keys() == expected.keys()
    for name, array in found.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, np.asarray(expected[name], np.float32))


@pytest.mark.parametrize("case", ["torchvision", "hugging_face", "keras_applications"])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.backbone.", ""])
def test_names_may_stand_below_others(case: str, prefix: str) -> None:
    prefix = prefix.replace(".", "/") if case.startswith("keras") else prefix
    shapes = shapes_of(case, counters=False)
    below = {prefix + name: shape for name, shape in shapes.items()}
    found = names.recognize(below)
    assert found is not None and found.kind == case
    assert names.table(found).keys() == below.keys()


def test_hugging_faces_base_model_is_the_network_without_its_head() -> None:
    shapes = shapes_of("hugging_face", counters=False)
    base = {n.removeprefix("resnet."): s for n, s in shapes.items() if "resnet" in n}
    found = names.recognize(base)
    assert found is not None
    head = {"classifier.1.weight", "classifier.1.bias"}
    assert names.table(found).keys() - base.keys() == head


@pytest.mark.parametrize("head", ["fc.1", "head.linear", "module.classifier"])
def test_a_classifier_may_have_any_name(head: str) -> None:
    shapes = shapes_of("torchvision", counters=False)
    shapes = {n.replace("fc", head) if "fc" in n else n: s for n, s in shapes.items()}
    found = names.recognize(shapes)
    assert found is not None
    assert names.table(found)[f"{head}.weight"] == "params/head/kernel"
    assert names.table(found).keys() == shapes.keys()


# Wrong files.


def npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(3))


def torch_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"never read")


def signs_images(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["train_set_x"] = np.zeros((1, 64, 64, 3), np.uint8)


def msgpack(path: Path, tree: Any, size: int | None = None) -> None:
    path.write_bytes(serialization.msgpack_serialize(tree)[:size])


VGG = {"features.0.weight": (64, 3, 3, 3), "features.0.bias": (64,)}
VGG_KERAS = {"block1_conv1/kernel": (3, 3, 3, 64), "block1_conv1/bias": (64,)}
EXPECTED = "expected a ResNet-50's weights as Keras h5 or .keras"
WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "Keras' of another network": (
        lambda path: write_keras_h5(path, zeros(VGG_KERAS)),
        "Keras weights of another network (block1_conv1/kernel, ",
    ),
    "safetensors of another network": (
        lambda path: write_sparse_safetensors(path, VGG),
        "another network (features.0.bias, features.0.weight)",
    ),
    "automatic names without a graph": (
        lambda path: write_keras_h5(path, keras("keras_model")),
        "automatic layer names (",
    ),
    "Flax, truncated": (
        lambda path: msgpack(path, {"params": {"x": np.ones(9999)}}, 5000),
        "a damaged Flax variables file",
    ),
    "msgpack without params": (
        lambda path: msgpack(path, {"weights": {"a": 1}}),
        "msgpack without params (it holds weights)",
    ),
    "msgpack of a number": (
        lambda path: msgpack(path, {"params": {"a": 1.0}}),
        "leaves that are no arrays (params/a)",
    ),
    "a web page": (
        lambda path: path.write_text("<!DOCTYPE html><html><body></body></html>"),
        "a saved web page (HTML)",
    ),
    "a pickle": (
        lambda path: path.write_bytes(pickle.dumps({"conv1.weight": 0}, 2)),
        "safetensors.torch",
    ),
    "a later pickle": (
        lambda path: path.write_bytes(pickle.dumps({"conv1.weight": 0}, 4)),
        "safetensors.torch",
    ),
    "torch's zip": (torch_zip, "safetensors.torch"),
    "another zip": (npz, "a zip archive but no Keras model (it holds a.npy)"),
    "float64": (
        lambda path: write_keras_h5(
            path, zeros(shapes_of("keras_applications"), np.float64)
        ),
        "320 of 320 arrays are float64 (conv1_conv/kernel, ",
    ),
    "8 bits": (
        lambda path: write_sparse_safetensors(
            path, {"conv1.weight": (4,)}, dtype="F8_E4M3"
        ),
        "conv1.weight is F8_E4M3: expected F32, F16, BF16",
    ),
    "SIGNS": (signs_images, "without Keras weights (it holds train_set_x)"),
    "nothing": (lambda path: path.touch(), EXPECTED),
    "text": (lambda path: path.write_text("hello, world"), EXPECTED),
    "no file": (lambda path: None, "No such file or directory"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_named(case: str, tmp_path: Path) -> None:
    write, expected = WRONG[case]
    write(tmp_path / "weights.h5")
    assert expected in message(tmp_path / "weights.h5")


def test_of_a_flax_train_state_the_weights_are_read(tmp_path: Path) -> None:
    leaf = np.arange(3, dtype=np.float32)
    state = {
        "step": 7,
        "params": {"stage1_block1": {"conv1": {"kernel": leaf}}},
        "opt_state": {"0": {"count": np.int32(7)}},
        "batch_stats": {"bn": {"mean": leaf}},
    }
    msgpack(tmp_path / "x", state)
    assert sorted(read_weights(tmp_path / "x").arrays) == [
        "batch_stats/bn/mean",
        "params/stage1_block1/conv1/kernel",
    ]


def more_blocks(layers: list[Any], **_: Any) -> None:
    add = next(layer for layer in layers if layer["class_name"] == "Add")
    for i in range(17):
        more = json.loads(json.dumps(add))
        more["config"]["name"] = f"more_{i}"
        layers.append(more)


def test_a_keras_resnet101_is_told_by_its_blocks(tmp_path: Path) -> None:
    path = write_keras_h5(tmp_path / "x.h5", {}, model_config(more_blocks))
    assert message(path) == "not ResNet-50: a ResNet-101, which has 33 residual blocks"


@pytest.mark.parametrize(
    ("kind", "index", "settings", "expected"),
    [
        ("Conv2D", 0, {"padding": "same"}, "has Conv2D filters=64 kernel_size=7 stri"),
        ("Conv2D", 3, {"strides": [2, 2]}, "kernel_size=1 strides=2) follows"),
        ("Conv2D", 2, {"dilation_rate": [2, 2]}, "dilation_rate=2) follows"),
        ("MaxPooling2D", 0, {"padding": "same"}, "pool_size=3 strides=2 padding=same)"),
        ("Activation", 5, {"activation": "gelu"}, "ResNet-50 has ReLU"),
        ("BatchNormalization", 7, {"epsilon": 1e-5}, "epsilon differs between layers"),
        ("BatchNormalization", 7, {"axis": [1]}, "(BatchNormalization axis=1) follows"),
        ("AveragePooling2D", 0, {"pool_size": [1, 1]}, "GlobalAveragePooling2D there"),
        (
            "Dense",
            0,
            {"activation": "sigmoid"},
            "Dense activation=softmax or Dense activation=linear or",
        ),
        ("InputLayer", 0, {"batch_shape": [None, 64, 64, 1]}, "expected RGB"),
    ],
)
def test_a_network_that_differs_is_refused_at_the_layer(
    kind: str, index: int, settings: dict, expected: str, tmp_path: Path
) -> None:
    def change(layers: list[Any], **_: Any) -> None:
        [x for x in layers if x["class_name"] == kind][index]["config"] |= settings

    text = message(write_keras_h5(tmp_path / "x.h5", {}, model_config(change)))
    assert text.startswith("not ResNet-50: ")
    assert expected in text


def test_a_network_that_ends_early_is_refused(tmp_path: Path) -> None:
    def cut(layers: list[Any], output_layers: list[Any]) -> None:
        del layers[-4:]
        output_layers[:] = [["add_31", 0, 0]]

    path = write_keras_h5(tmp_path / "x.h5", {}, model_config(cut))
    assert "it ends at add_31: ResNet-50 goes on there" in message(path)
