"""Leaves that do not fit, or cannot be right, are named in one short line."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from signjax.errors import InputError
from signjax.pretrained.port import merge, port
from signjax.pretrained.read import read_weights
from tests.helpers.weight_files import as_source, shapes_of, write_keras_h5, zeros


def test_leaves_that_do_not_fit_are_listed() -> None:
    arrays = zeros(shapes_of("keras_applications"))
    del arrays["conv1_bn/gamma"], arrays["conv3_block1_0_conv/kernel"]
    arrays["conv9_conv/kernel"] = np.zeros((1, 1, 2, 2), np.float32)
    arrays["predictions/kernel"] = np.zeros((512, 1000), np.float32)
    with pytest.raises(InputError) as caught:
        port(as_source("keras_applications", arrays))
    assert str(caught.value) == (
        "weights weights: not a whole ResNet-50: 2 missing: conv1_bn/gamma (64,), "
        "conv3_block1_0_conv/kernel (1, 1, 256, 512); 1 unexpected: conv9_conv/kernel "
        "(1, 1, 2, 2); 1 of another shape: predictions/kernel (512, 1000) instead of "
        "(2048, 1000)"
    )


HF_MEAN = "resnet.embedder.embedder.normalization.running_mean"


@pytest.mark.parametrize(
    ("case", "name", "value", "told"),
    [
        ("torchvision", "fc.weight", np.nan, "not a number in fc.weight"),
        ("torchvision", "bn1.running_var", -1, "a negative variance in bn1.running_v"),
        ("keras_applications", "conv1_conv/bias", np.inf, "infinite in conv1_conv/b"),
        ("keras_applications", "conv1_bn/moving_variance", -1e-9, "negative variance"),
        ("hugging_face", HF_MEAN, -np.inf, "infinite in resnet.embedder"),
    ],
)
def test_values_that_no_network_has_are_refused_by_name(
    case: str, name: str, value: float, told: str
) -> None:
    arrays = zeros(shapes_of(case, counters=False))
    arrays[name] = arrays[name].copy()
    arrays[name].flat[-1] = value
    with pytest.raises(InputError) as caught:
        port(as_source(case, arrays))
    assert told in str(caught.value)
    assert len(str(caught.value)) <= 300


def test_a_counter_is_unexpected_whatever_its_type(tmp_path: Path) -> None:
    arrays = zeros(shapes_of("keras_applications"))
    arrays["normalization/count"] = np.array(0, np.int64)
    path = write_keras_h5(tmp_path / "x", arrays)
    with pytest.raises(InputError, match=r"1 unexpected: normalization/kernel \(\)"):
        port(read_weights(path))


def test_shapes_are_listed_as_the_source_has_them() -> None:
    arrays = zeros(shapes_of("torchvision", counters=False))
    arrays["conv1.weight"] = np.zeros((64, 4, 7, 7), np.float32)
    with pytest.raises(InputError, match=r"\(64, 4, 7, 7\) instead of \(64, 3, 7, 7\)"):
        port(as_source("torchvision", arrays))


@pytest.mark.parametrize("outputs", [0, 1])
def test_a_head_that_no_softmax_is_over_is_refused(outputs: int) -> None:
    shapes = shapes_of("torchvision", counters=False)
    shapes |= {"fc.weight": (outputs, 2048), "fc.bias": (outputs,)}
    with pytest.raises(InputError, match=f"of {outputs} output: .* leave fc.bias"):
        port(as_source("torchvision", zeros(shapes)))


@pytest.mark.parametrize(
    ("blocks", "convolutions", "depth"),
    [
        ((2, 2, 2, 2), 2, 18),
        ((3, 4, 6, 3), 2, 34),
        ((3, 4, 23, 3), 3, 101),
        ((3, 8, 36, 3), 3, 152),
    ],
)
def test_a_network_of_another_depth_is_named(
    blocks: tuple[int, ...], convolutions: int, depth: int
) -> None:
    shortcuts = (1, 2, 3, 4) if convolutions == 3 else (2, 3, 4)
    kernels = ["conv1", *(f"layer{stage}.0.downsample.0" for stage in shortcuts)]
    kernels += [
        f"layer{stage}.{block}.conv{i + 1}"
        for stage, count in enumerate(blocks, start=1)
        for block in range(count)
        for i in range(convolutions)
    ]
    arrays = zeros({f"{name}.weight": (1, 1, 1, 1) for name in kernels})
    with pytest.raises(InputError, match=f"a ResNet-{depth}; expected a ResNet-50"):
        port(as_source("torchvision", arrays))


# Variables merged into those of a network to train.


def small(classes: int) -> dict[str, Any]:
    shapes = {"params/body/kernel": (2, 3), "batch_stats/body/mean": (3,)}
    shapes |= {"params/head/kernel": (3, classes), "params/head/bias": (classes,)}
    flat = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    return unflatten_dict(flat, sep="/")


def test_merge_replaces_everything_but_a_new_head() -> None:
    initial = jax.tree.map(np.zeros_like, small(6))
    merged = merge(small(9), initial, new_head=True)
    expected = small(6)
    expected["params"]["head"] = initial["params"]["head"]
    jax.tree.map(np.testing.assert_array_equal, merged, expected)


def test_merge_refuses_another_head_that_is_not_new() -> None:
    with pytest.raises(InputError) as caught:
        merge(small(9), small(6))
    assert "params/head/kernel (3, 9) instead of (3, 6)" in str(caught.value)
    assert "params/head/bias (9,) instead of (6,)" in str(caught.value)
