"""Counted operations against counts by hand, and the table of peaks."""

import itertools
from typing import Any

import jax
import pytest

from signjax.benchmark import peaks
from signjax.benchmark.flops import forward_flops, train_flops
from signjax.benchmark.peaks import PEAKS, peak_flops
from signjax.models.cnn import CNN
from signjax.models.resnet import ResNet

SEED: dict[str, Any] = {"stride_on": "1x1", "pool_padding": 0, "conv_bias": True}

# (output pixels a side, kernel pixels a side, channels in, channels out)
Layer = tuple[int, int, int, int]
CNN_LAYERS: list[Layer] = [(64, 4, 3, 8), (8, 2, 8, 16)]


def resnet_layers(pooled: int, *, stride_first: bool) -> list[Layer]:
    """As the papers draw it: of 64 pixels, after a max-pool to `pooled` of them."""
    layers, channels, before = [(32, 7, 3, 64)], 64, pooled
    stages = zip((pooled, 8, 4, 2), (64, 128, 256, 512), (3, 4, 6, 3), strict=True)
    for side, width, blocks in stages:
        for block in range(blocks):
            reduced = side if block or stride_first else before
            layers += [(reduced, 1, channels, width), (side, 3, width, width)]
            layers += [(side, 1, width, 4 * width)]
            layers += [(side, 1, channels, 4 * width)] if block == 0 else []
            channels = 4 * width
        before = side
    return layers


MODERN_LAYERS = resnet_layers(16, stride_first=False)
# Strides on the first 1x1 of a stage, and 15 x 15 after a max-pool without padding.
SEED_LAYERS = resnet_layers(15, stride_first=True)


def by_hand(layers: list[Layer]) -> int:
    return sum(
        2 * side**2 * kernel**2 * channels * features
        for side, kernel, channels, features in layers
    )


@pytest.mark.parametrize(
    ("model", "layers", "head"),
    [
        (ResNet(6), MODERN_LAYERS, 2048 * 6),
        (ResNet(6, **SEED), SEED_LAYERS, 2048 * 6),
        (CNN(6), CNN_LAYERS, 64 * 6),
        (CNN(10, conv_impl="matmul"), CNN_LAYERS, 64 * 10),
    ],
    ids=["modern", "seed", "cnn", "cnn as products"],
)
def test_operations_are_those_counted_by_hand(
    model: Any, layers: list[Layer], head: int
) -> None:
    assert forward_flops(model, 64) == (by_hand(layers), 2 * head)


def test_each_gradient_takes_what_the_forward_pass_takes() -> None:
    convolutions, head = by_hand(CNN_LAYERS), 2 * 64 * 6
    assert train_flops(CNN(6), 64, head_alone=False) == 3 * (convolutions + head)
    assert train_flops(CNN(6), 64, head_alone=True) == convolutions + 3 * head


def test_the_resnet_takes_two_gflop_an_image() -> None:
    assert len(MODERN_LAYERS) == 53
    assert by_hand(MODERN_LAYERS) / 2e6 == pytest.approx(333.6, abs=0.05)
    flops = train_flops(ResNet(6), 64, head_alone=False)
    assert flops / 1e9 == pytest.approx(2.00, abs=0.005)


def test_a_peak_is_that_of_the_arithmetic_that_is_done() -> None:
    h200 = PEAKS["NVIDIA H200"]
    assert peak_flops(h200, "bfloat16", "default") == 989.4e12
    assert peak_flops(h200, "bfloat16", "highest") == 989.4e12
    assert peak_flops(h200, "float32", "default") == 494.7e12  # TF32
    assert peak_flops(h200, "float32", "highest") == 66.9e12
    assert peak_flops(h200, "float32", "bfloat16_3x") is None
    assert h200.bfloat16 and h200.bfloat16 / h200.bandwidth == pytest.approx(206, abs=1)
    assert peak_flops(PEAKS["Tesla T4"], "bfloat16", "default") is None


def test_a_product_that_takes_a_second(monkeypatch) -> None:
    monkeypatch.setattr(peaks, "_SIZES", (64,))
    monkeypatch.setattr(peaks.time, "perf_counter", itertools.count().__next__)
    assert peaks.measure_matmul.__wrapped__(jax.devices()[0]) == 524_288
