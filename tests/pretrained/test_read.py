"""Files of weights are told apart by what is in them, and wrong ones get one line."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from flax import serialization

from signjax.errors import InputError
from signjax.pretrained import names
from signjax.pretrained.read import read_weights
from tests.helpers.weight_files import (
    golden_json,
    shapes_of,
    write_keras_3,
    write_keras_h5,
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
    assert "\n" not in text
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
    "hugging_face": lambda path: write_sparse_safetensors(
        path, shapes_of("hugging_face")
    ),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_is_recognised_whatever_its_name(kind: str, tmp_path: Path) -> None:
    for name in ("resnet50.h5", "model.safetensors", "weights.pth", "x"):
        assert read_weights(WRITERS[kind](tmp_path / name)).layout.kind == kind


@pytest.mark.parametrize("kind", WRITERS)
def test_arrays_come_under_the_source_names(kind: str, tmp_path: Path) -> None:
    source = read_weights(WRITERS[kind](tmp_path / "x"))
    expected = shapes_of(kind)
    kept = {k: v for k, v in expected.items() if not k.endswith("num_batches_tracked")}
    assert {name: array.shape for name, array in source.arrays.items()} == kept


def test_the_sha256_is_of_the_file(tmp_path: Path) -> None:
    import hashlib

    path = WRITERS["torchvision"](tmp_path / "x")
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_weights(path).sha256 == expected


def test_the_published_file_is_read_whole(shared: Path) -> None:
    source = read_weights(shared / "weights" / "resnet50_imagenet_keras.h5")
    assert source.layout.kind == "keras_applications"
    found = {name: array.shape for name, array in source.arrays.items()}
    assert found == shapes_of("keras_applications")


def test_keras_3_weights_are_read_by_the_names_in_them(tmp_path: Path) -> None:
    path = tmp_path / "x.weights.h5"
    with h5py.File(path, "w") as root:
        write_keras_3(root, zeros(shapes_of("keras_applications")))
    source = read_weights(path)
    assert source.layout.kind == "keras_applications"
    found = {name: array.shape for name, array in source.arrays.items()}
    assert found == shapes_of("keras_applications")


def test_a_keras_zip_is_a_model(tmp_path: Path) -> None:
    arrays = zeros(shapes_of("keras_model"))
    path = write_keras_zip(tmp_path / "x", arrays, golden_json()["model_config"])
    source = read_weights(path)
    assert source.layout.kind == "keras_model"
    assert source.network is not None
    assert source.network.image_size == 64
    assert source.arrays.keys() == arrays.keys()


# Wrong files.


def test_other_keras_weights_are_named(tmp_path: Path) -> None:
    vgg = {"block1_conv1/kernel": (3, 3, 3, 64), "block1_conv1/bias": (64,)}
    text = message(write_keras_h5(tmp_path / "vgg16.h5", zeros(vgg)))
    assert text == (
        "Keras weights of another network (its layers are block1_conv1): expected "
        "ResNet-50's, conv1_conv or res2a_branch2a among them"
    )


def test_automatic_names_without_a_graph_need_the_whole_model(tmp_path: Path) -> None:
    arrays = zeros(shapes_of("keras_model"))
    text = message(write_keras_h5(tmp_path / "x.h5", arrays))
    assert "automatic layer names" in text
    assert "model.save('X.keras')" in text


def test_other_safetensors_are_named(tmp_path: Path) -> None:
    vgg = {"features.0.weight": (64, 3, 3, 3), "features.0.bias": (64,)}
    text = message(write_sparse_safetensors(tmp_path / "x", vgg))
    assert (
        "another network (its tensors are features.0.bias, features.0.weight)" in text
    )


def test_a_keras_resnet101_is_told_by_its_blocks(tmp_path: Path) -> None:
    model = json.loads(golden_json()["model_config"])
    layers = model["config"]["layers"]
    add = next(layer for layer in layers if layer["class_name"] == "Add")
    model["config"]["layers"] = layers + 17 * [add]
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


def test_a_sequential_model_is_refused(tmp_path: Path) -> None:
    model = json.dumps({"class_name": "Sequential", "config": {"layers": []}})
    text = message(write_keras_h5(tmp_path / "x.h5", {}, model))
    assert "of class Sequential: expected a functional model" in text


@pytest.mark.parametrize("kind", WRITERS)
def test_a_truncated_download_is_named(kind: str, tmp_path: Path) -> None:
    path = WRITERS[kind](tmp_path / "x")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size // 2)
    assert "its download cut short perhaps" in message(path)


def test_a_truncated_keras_zip_is_named(tmp_path: Path) -> None:
    arrays = zeros(shapes_of("keras_model"))
    path = write_keras_zip(tmp_path / "x", arrays, golden_json()["model_config"])
    path.write_bytes(path.read_bytes()[:100_000])
    assert "a damaged zip archive" in message(path)


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
    assert "timm/resnet50.tv_in1k" in text


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


def test_half_precision_keras_weights_are_refused(tmp_path: Path) -> None:
    arrays = zeros(shapes_of("keras_applications"), np.float16)
    text = message(write_keras_h5(tmp_path / "x", arrays))
    assert text.startswith("320 of 320 arrays are float16 (conv1_conv/kernel, ")
    assert "expected float32" in text


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_half_precision_safetensors_are_refused(dtype: str, tmp_path: Path) -> None:
    path = write_sparse_safetensors(tmp_path / "x", shapes_of("torchvision"), dtype)
    assert f"arrays are {dtype} (" in message(path)


def test_an_hdf5_file_of_images_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train_signs.h5"
    with h5py.File(path, "w") as file:
        file["train_set_x"] = np.zeros((1, 64, 64, 3), np.uint8)
    assert "without Keras weights (it holds train_set_x)" in message(path)


def test_of_a_flax_train_state_the_weights_are_read(tmp_path: Path) -> None:
    leaf = np.arange(3, dtype=np.float32)
    state = {
        "step": 7,
        "params": {"head": {"bias": leaf}},
        "opt_state": {"0": {"count": np.int32(7)}},
        "batch_stats": {"bn": {"mean": leaf}},
    }
    path = tmp_path / "state.msgpack"
    path.write_bytes(serialization.msgpack_serialize(state))
    arrays = read_weights(path).arrays
    assert sorted(arrays) == ["batch_stats/bn/mean", "params/head/bias"]
    state["params"]["head"]["bias"] = 1.0
    path.write_bytes(serialization.msgpack_serialize(state))
    assert "no arrays (params/head/bias)" in message(path)


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


def test_counters_of_batches_are_left_out(tmp_path: Path) -> None:
    arrays: dict[str, np.ndarray] = {
        "layer1.0.conv1.weight": np.ones((1, 1, 1, 1), np.float32),
        "bn1.num_batches_tracked": np.array(7, np.int64),
    }
    source = read_weights(write_safetensors(tmp_path / "x", arrays))
    assert list(source.arrays) == ["layer1.0.conv1.weight"]


def test_every_unit_of_a_whole_model_is_found(tmp_path: Path) -> None:
    network = read_weights(WRITERS["keras_model"](tmp_path / "x")).network
    assert network is not None
    assert list(network.units) != []
    assert set(network.units) == set(names.units())
    assert network.head == layer_names("Dense")[0]
