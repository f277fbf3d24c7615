"""Files of weights are told apart by what is in them, and wrong ones get one line."""

import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

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
    shapes_of,
    write_keras_h5,
    write_keras_weights,
    write_keras_zip,
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


WRITERS: dict[str, Callable[[Path], Path]] = {
    "keras_applications": lambda path: write_keras_h5(
        path, zeros(shapes_of("keras_applications"))
    ),
    "keras_applications_old": lambda path: write_keras_h5(
        path, zeros(shapes_of("keras_applications_old"))
    ),
    "keras_model": lambda path: write_keras_h5(
        path, zeros(shapes_of("keras_model")), golden_json()["model_config"]
    ),
    "torchvision": lambda path: write_sparse_safetensors(
        path, shapes_of("torchvision")
    ),
    "keras_applications_new": lambda path: write_keras_weights(
        path, zeros(shapes_of("keras_applications"))
    ),
    "keras_model_zip": lambda path: write_keras_zip(
        path, zeros(shapes_of("keras_model")), golden_json()["model_config"]
    ),
    "hugging_face": lambda path: write_sparse_safetensors(
        path, shapes_of("hugging_face")
    ),
}


@pytest.mark.parametrize("case", WRITERS)
def test_a_file_is_told_by_its_content(case: str, tmp_path: Path) -> None:
    kind = case.removesuffix("_new").removesuffix("_zip")
    for name in ("resnet50.h5", "model.safetensors", "x"):
        source = read_weights(WRITERS[case](tmp_path / name))
        assert source.layout.kind == kind
    found = {name: array.shape for name, array in source.arrays.items()}
    assert found == shapes_of(kind, counters=False)
    assert source.sha256 == hashlib.sha256((tmp_path / "x").read_bytes()).hexdigest()
    table = names.table(source.layout)
    assert set(found) == {n for n in table if n in found} and len(found) >= 267


def test_the_published_file_is_read_whole(shared: Path) -> None:
    source = read_weights(shared / "weights" / "resnet50_imagenet_keras.h5")
    assert source.layout.kind == "keras_applications"
    found = {name: array.shape for name, array in source.arrays.items()}
    assert found == shapes_of("keras_applications")


def test_keras_2_12_files_are_read_under_their_own_group(tmp_path: Path) -> None:
    arrays = {
        n: np.full(3, i, np.float32) for i, n in enumerate(shapes_of("keras_model"))
    }
    config, found = golden_json()["model_config"], []
    for base in ("layers", "_layer_checkpoint_dependencies"):
        path = write_keras_zip(tmp_path / base, _ranked(arrays), config, base=base)
        found.append(read_weights(path).arrays)
    assert found[0].keys() == arrays.keys()
    for name, array in found[0].items():
        np.testing.assert_array_equal(found[1][name], array)


def _ranked(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same with the ranks that tell convolutions from dense layers."""
    ranks = {name: len(shape) for name, shape in shapes_of("keras_model").items()}
    return {n: a.reshape((1,) * (ranks[n] - 1) + (-1,)) for n, a in arrays.items()}


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16])
@pytest.mark.parametrize("kind", ["h5", "weights.h5", "safetensors", "msgpack"])
def test_half_precision_is_widened(dtype: type, kind: str, tmp_path: Path) -> None:
    case = "torchvision" if kind == "safetensors" else "keras_applications"
    arrays = {
        name: np.full((1,) * (len(shape) - 1) + (2,), 1.5, dtype)
        for name, shape in shapes_of(case, counters=False).items()
    }
    if kind == "msgpack":
        layer = {"conv1": {"kernel": np.full((1, 2), 1.5, dtype)}}
        tree = {"params": {"stage1_block1": layer}}
        (tmp_path / "x").write_bytes(serialization.msgpack_serialize(tree))
    else:
        writers = {
            "h5": write_keras_h5,
            "weights.h5": write_keras_weights,
            "safetensors": write_safetensors,
        }
        writers[kind](tmp_path / "x", arrays)
    for array in read_weights(tmp_path / "x").arrays.values():
        assert array.dtype == np.float32
        assert (array == 1.5).all()


@pytest.mark.parametrize("case", ["torchvision", "hugging_face", "keras_applications"])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.backbone.", ""])
def test_names_may_stand_below_others(case: str, prefix: str, tmp_path: Path) -> None:
    """Of Hugging Face's base model, too, which has no `resnet.` before its names."""
    prefix = prefix.replace(".", "/") if case.startswith("keras") else prefix
    shapes = shapes_of(case, counters=False)
    arrays = {prefix + name: np.zeros(s[-2:]) for name, s in shapes.items()}
    found = names.recognize({name: shapes[name[len(prefix) :]] for name in arrays})
    assert found is not None and found.kind == case
    assert names.table(found).keys() >= arrays.keys()
    if case == "hugging_face":
        base = {
            n.removeprefix("resnet."): s for n, s in shapes.items() if "resnet" in n
        }
        found = names.recognize(base)
        assert found is not None
        assert names.table(found).keys() - base.keys() == {
            "classifier.1.weight",
            "classifier.1.bias",
        }


@pytest.mark.parametrize("head", ["fc.1", "head.linear", "module.classifier"])
def test_a_classifier_may_have_any_name(head: str) -> None:
    shapes = shapes_of("torchvision", counters=False)
    shapes = {n.replace("fc", head) if "fc" in n else n: s for n, s in shapes.items()}
    found = names.recognize(shapes)
    assert found is not None
    assert names.table(found)[f"{head}.weight"] == ("params", "head", "kernel")
    assert names.table(found).keys() == shapes.keys()


# Wrong files.


def test_other_keras_weights_are_named(tmp_path: Path) -> None:
    vgg = {"block1_conv1/kernel": (3, 3, 3, 64), "block1_conv1/bias": (64,)}
    text = message(write_keras_h5(tmp_path / "vgg16.h5", zeros(vgg)))
    assert text.startswith("Keras weights of another network (block1_conv1/kernel, ")


def test_automatic_names_without_a_graph_need_the_whole_model(tmp_path: Path) -> None:
    arrays = zeros(shapes_of("keras_model"))
    text = message(write_keras_h5(tmp_path / "x.h5", arrays))
    assert "automatic layer names" in text
    assert "model.save('X.keras')" in text


def test_other_safetensors_are_named(tmp_path: Path) -> None:
    vgg = {"features.0.weight": (64, 3, 3, 3), "features.0.bias": (64,)}
    text = message(write_sparse_safetensors(tmp_path / "x", vgg))
    assert "another network (features.0.bias, features.0.weight)" in text


def test_a_keras_resnet101_is_told_by_its_blocks(tmp_path: Path) -> None:
    model = json.loads(golden_json()["model_config"])
    layers = model["config"]["layers"]
    add = next(layer for layer in layers if layer["class_name"] == "Add")
    for i in range(17):
        more = json.loads(json.dumps(add))
        more["config"]["name"] = f"more_{i}"
        layers.append(more)
    path = write_keras_h5(tmp_path / "x.h5", {}, json.dumps(model))
    assert "33 residual blocks: expected the 16 of ResNet-50" in message(path)


def change_layer(name: str, **settings: object) -> str:
    model = json.loads(golden_json()["model_config"])
    (layer,) = [x for x in model["config"]["layers"] if x["name"] == name]
    layer["config"] |= settings
    return json.dumps(model)


def layer_names(kind: str) -> list[str]:
    layers = json.loads(golden_json()["model_config"])["config"]["layers"]
    return [layer["name"] for layer in layers if layer["class_name"] == kind]


@pytest.mark.parametrize(
    ("kind", "index", "settings", "expected"),
    [
        ("Conv2D", 0, {"padding": "same"}, "padding is same: expected valid"),
        ("Conv2D", 3, {"strides": [2, 2]}, "strides is (2, 2): expected (1, 1)"),
        ("Conv2D", 2, {"dilation_rate": [2, 2]}, "dilation_rate is (2, 2)"),
        ("MaxPooling2D", 0, {"padding": "same"}, "padding is same: expected valid"),
        ("Activation", 5, {"activation": "gelu"}, "expected ReLU"),
        ("BatchNormalization", 7, {"epsilon": 1e-5}, "epsilon differs between layers"),
        ("AveragePooling2D", 0, {"pool_size": [1, 1]}, "the whole map"),
        ("Dense", 0, {"activation": "sigmoid"}, "expected softmax or linear"),
        ("InputLayer", 0, {"batch_shape": [None, 64, 64, 1]}, "expected RGB"),
    ],
)
def test_a_network_that_differs_is_refused_at_the_layer(
    kind: str, index: int, settings: dict, expected: str, tmp_path: Path
) -> None:
    changed = change_layer(layer_names(kind)[index], **settings)
    text = message(write_keras_h5(tmp_path / "x.h5", {}, changed))
    assert text.startswith("not ResNet-50: ")
    assert expected in text


@pytest.mark.parametrize("kind", WRITERS)
def test_a_truncated_download_is_named(kind: str, tmp_path: Path) -> None:
    path = WRITERS[kind](tmp_path / "x")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size // 2)
    assert "its download cut short perhaps" in message(path)


def test_a_truncated_flax_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x"
    tree = {"params": {"conv_stem": {"kernel": np.ones((7, 7, 3, 64), np.float32)}}}
    path.write_bytes(serialization.msgpack_serialize(tree)[:5000])
    assert "a damaged Flax variables file" in message(path)


def test_a_web_page_is_named(tmp_path: Path) -> None:
    path = tmp_path / "resnet50.h5"
    path.write_text("<!DOCTYPE html><html><body>Sign in</body></html>")
    assert message(path).startswith("a saved web page (HTML)")


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_is_not_read_but_told_how_to_convert(
    protocol: int, tmp_path: Path
) -> None:
    path = tmp_path / "resnet50.pth"
    path.write_bytes(pickle.dumps({"conv1.weight": 0}, protocol))
    text = message(path)
    assert "safetensors.torch" in text


def test_a_torch_zip_is_not_read_but_told_how_to_convert(tmp_path: Path) -> None:
    path = tmp_path / "resnet50.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"never read")
    assert "safetensors.torch" in message(path)


def test_another_zip_is_named(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.savez(content, a=np.zeros(3))
    path = tmp_path / "weights.npz"
    path.write_bytes(content.getvalue())
    assert "a zip archive but no Keras model (it holds a.npy)" in message(path)


def test_other_numbers_are_refused(tmp_path: Path) -> None:
    arrays = zeros(shapes_of("keras_applications"), np.float64)
    text = message(write_keras_h5(tmp_path / "x", arrays))
    assert text.startswith("320 of 320 arrays are float64 (conv1_conv/kernel, ")


def test_an_hdf5_file_of_images_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train_signs.h5"
    with h5py.File(path, "w") as file:
        file["train_set_x"] = np.zeros((1, 64, 64, 3), np.uint8)
    assert "without Keras weights (it holds train_set_x)" in message(path)


def test_of_a_flax_train_state_the_weights_are_read(tmp_path: Path) -> None:
    leaf = np.arange(3, dtype=np.float32)
    state = {
        "step": 7,
        "params": {"stage1_block1": {"conv1": {"kernel": leaf}}},
        "opt_state": {"0": {"count": np.int32(7)}},
        "batch_stats": {"bn": {"mean": leaf}},
    }
    path = tmp_path / "state.msgpack"
    path.write_bytes(serialization.msgpack_serialize(state))
    arrays = read_weights(path).arrays
    first = "params/stage1_block1/conv1/kernel"
    assert sorted(arrays) == ["batch_stats/bn/mean", first]
    state["params"]["stage1_block1"]["conv1"]["kernel"] = 1.0
    path.write_bytes(serialization.msgpack_serialize(state))
    assert f"no arrays ({first})" in message(path)


def test_msgpack_without_params_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(serialization.msgpack_serialize({"weights": {"a": 1}}))
    assert "msgpack without params (it holds weights)" in message(path)


@pytest.mark.parametrize("content", [b"", b"hello, world"])
def test_anything_else_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    assert "expected a ResNet-50's weights as Keras h5 or .keras" in message(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert message(tmp_path / "absent.h5") == "No such file or directory"
