"""model.onnx: a photograph in, probabilities out."""

import json

import numpy as np
import onnx
from onnx import TensorProto
from onnx.helper import make_tensor_value_info

from signjax.data.image import CropResize
from signjax.export.graph import Graph
from signjax.export.network import add_network
from signjax.export.photograph import add_crop_resize, add_views
from signjax.export.trained import Answering

PHOTOGRAPH, SEEN = "photograph", "seen"
PROBABILITIES, LABEL = "probabilities", "label"
UNSURE = -1  # as label


def onnx_model(answering: Answering, *, half: bool = False) -> onnx.ModelProto:
    """The whole way from a photograph to an answer.

    Input `photograph`: uint8 [N, H, W, 3], RGB, of any size. Outputs: `probabilities`,
    float32 [N, C], calibrated where the model is; `label`, int64 [N], the likeliest
    class, or -1 where the model is unsure; `seen`, uint8 [N, S, S, 3], the photographs
    as the network saw them. half: whether kernels are kept in float16.
    """
    graph, prepared = Graph(half=half), answering.preprocessing
    size = prepared.image_size
    crop_resize = CropResize(prepared.crop, prepared.interpolation)
    levels = add_crop_resize(graph, PHOTOGRAPH, size, crop_resize)
    pixels = graph.add("Transpose", levels, perm=[0, 2, 3, 1])
    graph.add("Cast", pixels, name=SEEN, to=TensorProto.UINT8)
    _add_answer(graph, answering)
    return graph.model(
        [make_tensor_value_info(PHOTOGRAPH, TensorProto.UINT8, ["N", "H", "W", 3])],
        [
            make_tensor_value_info(
                PROBABILITIES, TensorProto.FLOAT, ["N", len(answering.classes)]
            ),
            make_tensor_value_info(LABEL, TensorProto.INT64, ["N"]),
            make_tensor_value_info(SEEN, TensorProto.UINT8, ["N", size, size, 3]),
        ],
        metadata={"classes": json.dumps(answering.classes)},
    )


def _add_answer(graph: Graph, answering: Answering) -> None:
    """From `seen` to `probabilities` and `label`."""
    add, prepared = graph.add, answering.preprocessing
    seen = add("Cast", SEEN, to=TensorProto.FLOAT)
    images = add("Mul", add("Transpose", seen, perm=[0, 3, 1, 2]), 1 / 255)
    views, count = add_views(
        graph,
        images,
        prepared.image_size,
        flip=prepared.flip,
        rotation=prepared.rotation,
    )
    mean, std = (
        np.asarray(x, np.float32).reshape(3, 1, 1)
        for x in (prepared.mean, prepared.std)
    )
    normalized = add("Div", add("Sub", views, mean), std)
    logits = add_network(graph, answering.model, answering.variables, normalized)
    if count > 1:
        parted = add("Reshape", logits, [count, -1, len(answering.classes)])
        logits = add("ReduceMean", parted, [0], keepdims=0)
    scaled = add("Div", logits, answering.temperature)
    add("Softmax", scaled, name=PROBABILITIES, axis=1)
    likeliest = add("ArgMax", PROBABILITIES, axis=1, keepdims=0)
    confidence = add("ReduceMax", PROBABILITIES, [1], keepdims=0)
    unsure = add("Less", confidence, answering.threshold)
    add("Where", unsure, np.int64(UNSURE).reshape(1), likeliest, name=LABEL)
