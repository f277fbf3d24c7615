"""Keras models as people save them after transfer learning: one ResNet-50 each.

They are put together around the network of tests/golden/; test_parity.py has Keras
itself save them.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from signjax.errors import InputError
from signjax.pretrained import names
from signjax.pretrained.read import Source, read_weights
from tests.helpers.weight_files import (
    golden_json,
    shapes_of,
    write_keras_h5,
    write_keras_zip,
    zeros,
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
    node = {"args": tensors, "kwargs": {}}
    nodes = [node] if inputs else []
    config = {"name": name, **settings}
    return {"class_name": kind, "name": name, "config": config, "inbound_nodes": nodes}


IMAGES = layer("InputLayer", "images", batch_shape=[None, 64, 64, 3])


def base(*inputs: str, training: bool | None = None) -> Entry:
    """The network without its head, as one layer of another model."""
    body, _ = network()
    ends = [[body[-1]["name"], 0, 0]]
    starts = [[body[0]["name"], 0, 0]]
    entry = layer("Functional", "resnet50", *inputs, layers=body)
    entry["config"] |= {"input_layers": starts, "output_layers": ends}
    if training is not None:
        entry["inbound_nodes"][0]["kwargs"]["training"] = training
    return entry


def dense(name: str, *inputs: str, activation: str = "softmax") -> Entry:
    return layer("Dense", name, *inputs, activation=activation)


def functional(*layers: Entry) -> str:
    ends = [[layers[-1]["name"], 0, 0]]
    config = {"layers": layers, "input_layers": [["images", 0, 0]], "name": "model"}
    return json.dumps(
        {"class_name": "Functional", "config": config | {"output_layers": ends}}
    )


def sequential(*layers: Entry) -> str:
    config = {"name": "sequential", "layers": layers}
    return json.dumps({"class_name": "Sequential", "config": config})


def arrays(head: str = "signs") -> dict[str, np.ndarray]:
    """Of all ones, twos, ...: small arrays under the names within `resnet50`."""
    _, dense_layer = network()
    found = {}
    for index, (name, shape) in enumerate(shapes_of("keras_model").items()):
        own, leaf = name.split("/")
        key = head if own == dense_layer["name"] else f"resnet50/{own}"
        value = np.full((1,) * (len(shape) - 1) + (3,), index, np.float32)
        found[f"{key}/{leaf}"] = value
    return found


def read(config: str, folder: Path, head: str = "signs") -> list[Source]:
    """The model as a Keras 3 and a Keras 2 file hold it."""
    written = [
        write_keras_zip(folder / "x.keras", arrays(head), config),
        write_keras_h5(folder / "x.h5", arrays(head), config),
    ]
    return [read_weights(path) for path in written]


MODELS = {
    "sequential": sequential(IMAGES, base(), layer("Dropout", "drop"), dense("signs")),
    "functional": functional(
        IMAGES,
        base("images"),
        layer("Dropout", "drop", "resnet50"),
        dense("signs", "drop"),
    ),
    "augmented": functional(
        IMAGES,
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
    for source in read(MODELS[name], tmp_path):
        layout = source.layout
        assert layout.head == "signs"
        assert layout.preprocessing.image_size == 64
        expected = arrays()
        assert source.arrays.keys() == expected.keys()
        for leaf, value in expected.items():
            np.testing.assert_array_equal(source.arrays[leaf], value)
        # Every unit is where it is in the plain model.
        plain = write_keras_h5(
            tmp_path / "plain",
            zeros(shapes_of("keras_model")),
            golden_json()["model_config"],
        )
        naming = read_weights(plain).layout.naming
        for unit in names.units():
            inner = tuple(x.removeprefix("resnet50/") for x in layout.naming(unit))
            assert inner == naming(unit)


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
DOTS = {"class_name": "__ellipsis__"}
PREPARED: dict[str, tuple[list[Entry], bool, list[float], list[float]]] = {
    "rescaling": (
        [layer("Rescaling", "x", "images", scale=1 / 127.5, offset=-1)],
        False,
        [127.5] * 3,
        [127.5] * 3,
    ),
    "normalization": (
        [layer("Normalization", "x", "images", mean=[1, 2, 3], variance=[4, 9, 16])],
        False,
        [1, 2, 3],
        [2, 3, 4],
    ),
    "two": (
        [
            layer("Rescaling", "y", "images", scale=1 / 255, offset=0),
            layer("Normalization", "x", "y", mean=[[0.5]] * 3, variance=[[0.25]] * 3),
        ],
        False,
        [127.5] * 3,
        [127.5] * 3,
    ),
    "preprocess_input": (
        [
            *reversed_3("y", "images"),
            call(layer("Add", "x", "y"), constant(*(-x for x in CAFFE_MEAN))),
        ],
        True,
        [*reversed(CAFFE_MEAN)],
        [1, 1, 1],
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
        True,
        [*reversed(CAFFE_MEAN)],
        [1, 1, 1],
    ),
    "arithmetic of Keras 2": (
        [
            of_keras_2("TFOpLambda", "y", "images", "math.truediv", y=127.5),
            of_keras_2("TFOpLambda", "x", "y", "math.subtract", y=1.0),
        ],
        False,
        [127.5] * 3,
        [127.5] * 3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PREPARED)
def test_what_prepares_images_is_read_from_the_model(name: str, tmp_path: Path) -> None:
    before, bgr, mean, std = PREPARED[name]
    config = functional(IMAGES, *before, base("x"), dense("signs", "resnet50"))
    for source in read(config, tmp_path):
        assert source.layout.bgr == bgr
        found = source.layout.preprocessing
        np.testing.assert_allclose(np.array(found.mean) * 255, mean, 1e-6)
        np.testing.assert_allclose(np.array(found.std) * 255, std, 1e-6)
        assert not any("input" in note for note in source.layout.notes)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (
            lambda: sequential(
                IMAGES, base(), dense("fc", activation="relu"), dense("signs")
            ),
            "fc is a hidden layer of its head",
        ),
        (
            lambda: functional(
                IMAGES, layer("Lambda", "prep", "images"), base("prep"),
                dense("signs", "resnet50"),
            ),
            "prep (Lambda) prepares its images",
        ),
        (
            lambda: functional(
                IMAGES, layer("CenterCrop", "crop", "images"), base("crop"),
                dense("signs", "resnet50"),
            ),
            "crop (CenterCrop) prepares its images",
        ),
        (
            lambda: sequential(IMAGES, base(), dense("signs", activation="sigmoid")),
            "signs's activation is sigmoid: expected softmax or linear",
        ),
        (
            lambda: json.dumps({"class_name": "Custom", "config": {"layers": []}}),
            "of class Custom: expected a functional or a sequential one",
        ),
        (
            lambda: MODELS["sequential"].replace('"Add"', '"Multiply"'),
            "its network has 0 residual blocks",
        ),
        (
            lambda: MODELS["sequential"].replace('"relu"', '"gelu"'),
            "is Activation: expected ReLU",
        ),
        (lambda: sequential(IMAGES, dense("signs")), "0 convolutions: expected 53"),
    ],
)  # fmt: skip
def test_other_models_are_refused_by_the_layers_name(
    config: Callable[[], str], told: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        read(config(), tmp_path)
    assert told in str(caught.value)


def test_a_normalization_adapted_to_images_is_read_from_its_variables(
    tmp_path: Path,
) -> None:
    adapted = layer("Normalization", "x", "images", mean=None, variance=None)
    config = functional(IMAGES, adapted, base("x"), dense("signs", "resnet50"))
    variables = {
        "x/mean": np.array([1, 2, 3], np.float32),
        "x/variance": np.array([4, 9, 16], np.float32),
        "x/count": np.array(0, np.int64),
    }
    path = write_keras_h5(tmp_path / "x", arrays() | variables, config)
    found = read_weights(path).layout.preprocessing
    np.testing.assert_allclose(np.array(found.mean) * 255, [1, 2, 3], 1e-6)
    np.testing.assert_allclose(np.array(found.std) * 255, [2, 3, 4], 1e-6)


def test_training_mode_of_the_whole_base_is_told(tmp_path: Path) -> None:
    config = functional(
        IMAGES, base("images", training=True), dense("signs", "resnet50")
    )
    for source in read(config, tmp_path):
        (note,) = [x for x in source.layout.notes if "training=True" in x]
        assert note.startswith("53 BatchNorm layers")
