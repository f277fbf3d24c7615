"""The networks in float64 NumPy, as their papers and Keras state them.

Independent of signjax's arithmetic: only its parameter names and layouts are used
(NHWC images, HWIO kernels), as what is compared is the result for given parameters.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Tree = Mapping[str, Any]
Padding = tuple[tuple[int, int], tuple[int, int]]


def same(size: int, window: int, stride: int) -> Padding:
    """TensorFlow's 'same': ceil(size / stride) outputs, the odd zero at the end."""
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    side = (total // 2, total - total // 2)
    return side, side


def windows(
    x: np.ndarray, shape: tuple[int, int], stride: int, padding: Padding, fill: float
) -> np.ndarray:
    """[B, H', W', C, kh, kw]: what each output position looks at."""
    x = np.pad(x, ((0, 0), *padding, (0, 0)), constant_values=fill)
    return sliding_window_view(x, shape, (1, 2))[:, ::stride, ::stride]


def conv(x: np.ndarray, layer: Tree, stride: int, padding: Padding) -> np.ndarray:
    kernel = layer["kernel"]
    seen = windows(x, kernel.shape[:2], stride, padding, 0.0)
    y = np.tensordot(seen, kernel, ((4, 5, 3), (0, 1, 2)))
    return y + layer.get("bias", 0.0)


def max_pool(x: np.ndarray, size: int, stride: int, padding: Padding) -> np.ndarray:
    return windows(x, (size, size), stride, padding, -np.inf).max((-2, -1))


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0.0)


def cnn(params: Tree, x: np.ndarray) -> np.ndarray:
    """Logits float64 [B, C] of x: float64 [B, H, W, 3]."""
    for name, kernel, pool in (("conv1", 4, 8), ("conv2", 2, 4)):
        side = x.shape[1]
        x = relu(conv(x, params[name], 1, same(side, kernel, 1)))
        x = max_pool(x, pool, pool, same(side, pool, pool))
    return x.reshape(len(x), -1) @ params["head"]["kernel"] + params["head"]["bias"]


class ResNet:
    """ResNet of bottlenecks that normalises with the batch's own statistics.

    batch_statistics: after a call, layer -> (mean, biased variance) of that batch.
    """

    def __init__(
        self,
        stage_sizes: tuple[int, ...],
        *,
        stride_on: str,
        pool_padding: int,
        epsilon: float,
    ) -> None:
        self.stage_sizes = stage_sizes
        self.stride_on = stride_on
        side = (pool_padding, pool_padding)
        self.pool_padding = (side, side)
        self.epsilon = epsilon
        self.batch_statistics: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def __call__(self, params: Tree, x: np.ndarray) -> np.ndarray:
        x = conv(x, params["conv_stem"], 2, ((3, 3), (3, 3)))
        x = relu(self._norm(x, params["bn_stem"], "bn_stem"))
        x = max_pool(x, 3, 2, self.pool_padding)
        for stage, size in enumerate(self.stage_sizes, 1):
            for block in range(1, size + 1):
                name = f"stage{stage}_block{block}"
                stride = 2 if stage > 1 and block == 1 else 1
                x = self._block(x, params[name], name, stride)
        head = params["head"]
        return x.mean((1, 2)) @ head["kernel"] + head["bias"]

    def _block(self, x: np.ndarray, p: Tree, name: str, stride: int) -> np.ndarray:
        first, second = (stride, 1) if self.stride_on == "1x1" else (1, stride)
        none, one = ((0, 0), (0, 0)), ((1, 1), (1, 1))
        y = conv(x, p["conv1"], first, none)
        y = relu(self._norm(y, p["bn1"], f"{name}/bn1"))
        y = conv(y, p["conv2"], second, one)
        y = relu(self._norm(y, p["bn2"], f"{name}/bn2"))
        y = self._norm(conv(y, p["conv3"], 1, none), p["bn3"], f"{name}/bn3")
        if "conv_shortcut" in p:
            x = conv(x, p["conv_shortcut"], stride, none)
            x = self._norm(x, p["bn_shortcut"], f"{name}/bn_shortcut")
        return relu(x + y)

    def _norm(self, x: np.ndarray, p: Tree, name: str) -> np.ndarray:
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
        self.batch_statistics[name] = (mean, variance)
        return (x - mean) / np.sqrt(variance + self.epsilon) * p["scale"] + p["bias"]


def cross_entropy(
    logits: np.ndarray, labels: np.ndarray, smoothing: float = 0.0
) -> np.ndarray:
    """float64 [B], in nats, with `smoothing` of the target spread over all classes."""
    shifted = logits - logits.max(-1, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    classes = logits.shape[-1]
    targets = np.full(logits.shape, smoothing / classes)
    targets[np.arange(len(labels)), labels] += 1 - smoothing
    return -(targets * log_softmax).sum(-1)
