"""Keras models as people save them after transfer learning: one ResNet-50 each.

They are put together around the network of tests/golden/; test_parity.py has Keras
itself save them.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from signjax.errors import InputError
from signjax.pretrained import names
from signjax.pretrained.read import Source, read_weights
from tests.helpers.weight_files import (
    golden_json,
    numbered,
    shapes_of,
    write_keras_h5,
    write_keras_zip,
)

Entry = dict[str, Any]


def network() -> tuple[list[Entry], Entry]:
    """(the layers of the golden network up to its last pool, its Dense layer)."""
    model = json.loads(golden_json()["model_config"])
    *body, head = model["config"]["layers"]
    return body, head


def layer(kind: str, name: str, *inputs: str, **settings: Any) -> Entry:
    tensors = [
        {"class_name": "__keras_tensor__", "config": {"keras_history": [x, 0, 0]}}
        for x in inputs
    ]
    nodes = [{"args": tensors, "kwargs": {}}] if inputs else []
    config = {"name": name, **settings}
    return {"class_name": kind, "name": name, "config": config, "inbound_nodes": nodes}


def base(*inputs: str, training: bool | None = None) -> Entry:
    """The network without its head, as one layer of another model."""
    body, _ = network()
    entry = layer("Functional", "resnet50", *inputs, layers=body)
    entry["config"]["input_layers"] = [[body[0]["name"], 0, 0]]
    entry["config"]["output_layers"] = [[body[-1]["name"], 0, 0]]
    if training is not None:
        entry["inbound_nodes"][0]["kwargs"]["training"] = training
    return entry


def dense(name: str, *inputs: str, activation: str = "softmax") -> Entry:
    return layer("Dense", name, *inputs, activation=activation)


IMAGES = layer("InputLayer", "images", batch_shape=[None, 64, 64, 3])
SIGNS = dense("signs", "resnet50")


def functional(*layers: Entry) -> str:
    config = {"layers": [IMAGES, *layers], "name": "model"}
    config["input_layers"] = [["images", 0, 0]]
    config["output_layers"] = [[layers[-1]["name"], 0, 0]]
    return json.dumps({"class_name": "Functional", "config": config})


def sequential(*layers: Entry) -> str:
    config = {"name": "sequential", "layers": [IMAGES, *layers]}
    return json.dumps({"class_name": "Sequential", "config": config})


def arrays() -> dict[str, np.ndarray]:
    """Small ones under the names within `resnet50`, the head's under `signs`."""
    _, head = network()
    found = {}
    for name, value in numbered(shapes_of("keras_model")).items():
        own, leaf = name.split("/")
        key = "signs" if own == head["name"] else f"resnet50/{own}"
        found[f"{key}/{leaf}"] = value
    return found


def read(config: str, folder: Path) -> list[Source]:
    """The model as a Keras 3 and a Keras 2 file hold it."""
    written = [
        write_keras_zip(folder / "x.keras", arrays(), config),
        write_keras_h5(folder / "x.h5", arrays(), config),
    ]
    return [read_weights(path) for path in written]


MODELS = {
    "sequential": sequential(base(), layer("Dropout", "drop"), dense("signs")),
    "functional": functional(
        base("images"), layer("Dropout", "drop", "resnet50"), dense("signs", "drop")
    ),
    "augmented": functional(
        layer("RandomFlip", "flip", "images"),
        base("flip", training=False),
        dense("signs", "resnet50", activation="linear"),
        layer("Activation", "softmax", "signs", activation="softmax"),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_network_within_a_model_is_the_same_network(
    name: str, tmp_path: Path
) -> None:
    plain = write_keras_h5(
        tmp_path / "plain",
        numbered(shapes_of("keras_model")),
        golden_json()["model_config"],
    )
    naming = read_weights(plain).layout.naming
    for source in read(MODELS[name], tmp_path):
        assert source.layout.head == "signs"
        assert source.layout.preprocessing.image_size == 64
        assert source.arrays.keys() == arrays().keys()
        for leaf, value in arrays().items():
            np.testing.assert_array_equal(source.arrays[leaf], value)
        for unit in names.units():
            inner = [x.removeprefix("resnet50/") for x in source.layout.naming(unit)]
            assert tuple(inner) == naming(unit)


def constant(*values: float) -> dict[str, Any]:
    return {"class_name": "__tensor__", "config": {"value": [[[values]]]}}


def call(entry: Entry, *args: Any) -> Entry:
    entry["inbound_nodes"][0]["args"] += args
    return entry


def reversed_3(name: str, x: str) -> list[Entry]:
    """Of Keras 3's preprocess_input: the channels in reverse."""
    dots = {"class_name": "__ellipsis__", "config": {}}
    picks = [call(layer("GetItem", f"get{i}", x), [dots, i]) for i in (2, 1, 0)]
    stack = layer("Stack", name, "get2", "get1", "get0", axis=-1)
    stack["inbound_nodes"][0]["args"] = [stack["inbound_nodes"][0]["args"]]
    return [*picks, stack]


def of_keras_2(kind: str, name: str, x: str, function: str, **options: Any) -> Entry:
    entry = layer(kind, name, function=function)
    return entry | {"inbound_nodes": [[x, 0, 0, options]]}


CAFFE_MEAN = (103.939, 116.779, 123.68)
CAFFE_PREPARED = (True, [*reversed(CAFFE_MEAN)], [1] * 3)
TO_ONE = (False, [127.5] * 3, [127.5] * 3)  # -1 to 1
DOTS = {"class_name": "__ellipsis__"}
# The layers before the network; whether it takes BGR, the mean and the deviation.
PREPARED: dict[str, tuple[list[Entry], tuple[bool, list[float], list[float]]]] = {
    "rescaling": (
        [layer("Rescaling", "x", "images", scale=1 / 127.5, offset=-1)],
        TO_ONE,
    ),
    "normalization": (
        [layer("Normalization", "x", "images", mean=[1, 2, 3], variance=[4, 9, 16])],
        (False, [1, 2, 3], [2, 3, 4]),
    ),
    "two": (
        [
            layer("Rescaling", "y", "images", scale=1 / 255, offset=0),
            layer("Normalization", "x", "y", mean=[[0.5]] * 3, variance=[[0.25]] * 3),
        ],
        TO_ONE,
    ),
    "preprocess_input": (
        [
            *reversed_3("y", "images"),
            call(layer("Add", "x", "y"), constant(*(-x for x in CAFFE_MEAN))),
        ],
        CAFFE_PREPARED,
    ),
    "preprocess_input of Keras 2": (
        [
            of_keras_2(
                "SlicingOpLambda", "y", "images", "__operators__.getitem",
                slice_spec=[DOTS, {"start": None, "stop": None, "step": -1}],
            ),
            of_keras_2(
                "TFOpLambda", "x", "y", "nn.bias_add", bias=[-x for x in CAFFE_MEAN]
            ),
        ],
        CAFFE_PREPARED,
    ),
    "arithmetic of Keras 2": (
        [
            of_keras_2("TFOpLambda", "y", "images", "math.truediv", y=127.5),
            of_keras_2("TFOpLambda", "x", "y", "math.subtract", y=1.0),
        ],
        TO_ONE,
    ),
}  # fmt: skip


def assert_prepared(source: Source, bgr: bool, mean: Any, std: Any) -> None:
    assert source.layout.bgr == bgr
    found = source.layout.preprocessing
    np.testing.assert_allclose(np.array(found.mean) * 255, mean, 1e-6)
    np.testing.assert_allclose(np.array(found.std) * 255, std, 1e-6)
    assert source.layout.notes == ()


@pytest.mark.parametrize("name", PREPARED)
def test_what_prepares_images_is_read_from_the_model(name: str, tmp_path: Path) -> None:
    before, expected = PREPARED[name]
    for source in read(functional(*before, base("x"), SIGNS), tmp_path):
        assert_prepared(source, *expected)


def test_a_normalization_adapted_to_images_is_read_from_its_variables(
    tmp_path: Path,
) -> None:
    adapted = layer("Normalization", "x", "images", mean=None, variance=None)
    variables = {
        "x/mean": np.array([1, 2, 3], np.float32),
        "x/variance": np.array([4, 9, 16], np.float32),
        "x/count": np.array(0, np.int64),
    }
    config = functional(adapted, base("x"), SIGNS)
    path = write_keras_h5(tmp_path / "x", arrays() | variables, config)
    assert_prepared(read_weights(path), False, [1, 2, 3], [2, 3, 4])


OTHERS = {
    "fc (Dense activation=relu) follows resnet50": sequential(
        base(), dense("fc", activation="relu"), dense("signs")
    ),
    "prep (Lambda) prepares its images": functional(
        layer("Lambda", "prep", "images"), base("prep"), SIGNS
    ),
    "crop (CenterCrop) prepares its images": functional(
        layer("CenterCrop", "crop", "images"), base("crop"), SIGNS
    ),
    "of class Custom: expected a functional or a sequential one": json.dumps(
        {"class_name": "Custom", "config": {"layers": []}}
    ),
    "(Multiply) follows": MODELS["sequential"].replace('"Add"', '"Multiply"'),
    "signs (Dense) prepares its images": sequential(dense("signs")),
}


@pytest.mark.parametrize("told", OTHERS)
def test_other_models_are_refused_by_the_layers_name(told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(OTHERS[told], tmp_path)
    assert told in str(caught.value)


def test_training_mode_of_the_whole_base_is_told(tmp_path: Path) -> None:
    for source in read(functional(base("images", training=True), SIGNS), tmp_path):
        (note,) = [x for x in source.layout.notes if "training=True" in x]
        assert note.startswith("53 BatchNorm layers")
