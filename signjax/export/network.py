"""The networks of `signjax.models` as ONNX nodes, BatchNorm folded away."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import linen as nn

from signjax.errors import InputError
from signjax.export.graph import Graph
from signjax.models import CNN, ResNet
from signjax.ops.convolution import same_padding

Pad = tuple[int, int]  # before and after


def add_network(
    graph: Graph, model: nn.Module, variables: Mapping[str, Any], images: str
) -> str:
    """The logits, float32 [N, C], of normalized images, float32 [N, 3, S, S].

    variables: the model's, as numpy arrays. Raises InputError for another network.
    """
    params, stats = variables["params"], variables.get("batch_stats", {})
    if isinstance(model, CNN):
        features = _add_cnn(graph, params, images)
    elif isinstance(model, ResNet):
        features = _add_resnet(graph, model, params, stats, images)
    else:
        raise InputError(
            f"model {type(model).__name__} cannot be exported: "
            "signjax/export/network.py writes CNN and ResNet; add its nodes there"
        )
    head = params["head"]
    kernel = head["kernel"]
    if isinstance(model, CNN):  # it flattens [H, W, C], the nodes [C, H, W]
        channels = params["conv2"]["kernel"].shape[-1]
        kernel = kernel.reshape(-1, channels, kernel.shape[-1]).swapaxes(0, 1)
        kernel = kernel.reshape(head["kernel"].shape)
    return graph.add("Gemm", features, graph.kernel(kernel), head["bias"])


def _add_cnn(graph: Graph, params: Mapping[str, Any], x: str) -> str:
    """float32 [N, 3, S, S] -> [N, features]."""
    for name, pool in (("conv1", 8), ("conv2", 4)):
        # At stride 1 the padding depends on the kernel alone.
        pad = same_padding(64, params[name]["kernel"].shape[0], 1)
        x = _add_conv(graph, x, params[name], pad=pad)
        x = graph.add("MaxPool", x, kernel_shape=[pool, pool], strides=[pool, pool])
        x = graph.add("Relu", x)
    return graph.add("Flatten", x)


def _add_resnet(
    graph: Graph,
    model: ResNet,
    params: Mapping[str, Any],
    stats: Mapping[str, Any],
    x: str,
) -> str:
    """float32 [N, 3, S, S] -> [N, features]."""
    stem = _folded(model, params, stats, "conv_stem", "bn_stem")
    x = graph.add("Relu", _add_conv(graph, x, stem, stride=2, pad=(3, 3)))
    pool = (0, 1) if model.same_padding else (model.pool_padding, model.pool_padding)
    x = graph.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=_pads(pool))
    for stage, blocks in enumerate(model.stage_sizes, 1):
        for block in range(1, blocks + 1):
            name = f"stage{stage}_block{block}"
            stride = 2 if block == 1 and stage > 1 else 1
            x = _add_block(graph, model, params[name], stats[name], x, stride)
    return graph.add("ReduceMean", x, [2, 3], keepdims=0)


def _add_block(
    graph: Graph,
    model: ResNet,
    params: Mapping[str, Any],
    stats: Mapping[str, Any],
    x: str,
    stride: int,
) -> str:
    first, second = (stride, 1) if model.stride_on == "1x1" else (1, stride)
    pad = (0, 1) if second == 2 and model.same_padding else (1, 1)
    layers = [_folded(model, params, stats, f"conv{i}", f"bn{i}") for i in (1, 2, 3)]
    y = graph.add("Relu", _add_conv(graph, x, layers[0], stride=first))
    y = graph.add("Relu", _add_conv(graph, y, layers[1], stride=second, pad=pad))
    y = _add_conv(graph, y, layers[2])
    if "conv_shortcut" in params:
        shortcut = _folded(model, params, stats, "conv_shortcut", "bn_shortcut")
        x = _add_conv(graph, x, shortcut, stride=stride)
    return graph.add("Relu", graph.add("Add", x, y))


def _folded(
    model: ResNet,
    params: Mapping[str, Any],
    stats: Mapping[str, Any],
    conv: str,
    norm: str,
) -> dict[str, np.ndarray]:
    """The convolution that does what it and the BatchNorm after it do; float64."""
    scale, shift = (np.float64(params[norm][key]) for key in ("scale", "bias"))
    mean, variance = (np.float64(stats[norm][key]) for key in ("mean", "var"))
    factor = scale / np.sqrt(variance + model.bn_epsilon)
    bias = params[conv].get("bias", 0.0)
    return {
        "kernel": params[conv]["kernel"] * factor,
        "bias": shift + (bias - mean) * factor,
    }


def _add_conv(
    graph: Graph,
    x: str,
    layer: Mapping[str, np.ndarray],
    *,
    stride: int = 1,
    pad: Pad = (0, 0),
) -> str:
    """layer: kernel [kh, kw, C, K], bias [K]."""
    return graph.add(
        "Conv",
        x,
        graph.kernel(layer["kernel"].transpose(3, 2, 0, 1)),
        layer["bias"].astype(np.float32),
        strides=[stride, stride],
        pads=_pads(pad),
    )


def _pads(pad: Pad) -> list[int]:
    """Of both axes, in ONNX's order: before each, then after each."""
    return [pad[0], pad[0], pad[1], pad[1]]
