"""Leaves that do not fit, or cannot be right, are named in one short line."""

from typing import Any

import jax
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from signjax.errors import InputError
from signjax.pretrained import names
from signjax.pretrained.port import merge, port
from tests.helpers.weight_files import as_source, shapes_of, zeros


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


@pytest.mark.parametrize(
    ("case", "name", "value", "told"),
    [
        ("torchvision", "fc.weight", np.nan, "not a number in fc.weight"),
        ("torchvision", "bn1.running_var", -1, "a negative variance in bn1.running_v"),
        (
            "keras_applications",
            "conv1_conv/bias",
            np.inf,
            "infinite in conv1_conv/bias",
        ),
        ("keras_applications", "conv1_bn/moving_variance", -1e-9, "negative variance"),
        (
            "hugging_face",
            "resnet.embedder.embedder.normalization.running_mean",
            -np.inf,
            "infinite in resnet.embedder",
        ),
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


def test_shapes_are_listed_as_the_source_has_them() -> None:
    arrays = zeros(shapes_of("torchvision", counters=False))
    arrays["conv1.weight"] = np.zeros((64, 4, 7, 7), np.float32)
    with pytest.raises(InputError, match=r"\(64, 4, 7, 7\) instead of \(64, 3, 7, 7\)"):
        port(as_source("torchvision", arrays))


@pytest.mark.parametrize(
    ("blocks", "depth"), [((3, 4, 23, 3), 101), ((3, 8, 36, 3), 152)]
)
def test_a_deeper_network_is_named(blocks: tuple[int, ...], depth: int) -> None:
    naming = names.LAYOUTS["torchvision"].naming
    kernels = [f"{naming(unit)[0]}.weight" for unit in names.units(blocks)]
    arrays = zeros({name: (1,) for name in kernels})
    with pytest.raises(InputError, match=f"a ResNet-{depth}; expected a ResNet-50"):
        port(as_source("torchvision", arrays))


# Variables merged into those of a network to train.


def small(**changes: tuple[int, ...]) -> dict[str, Any]:
    shapes = {"params/body/kernel": (2, 3), "batch_stats/body/mean": (3,)}
    shapes |= {"params/head/kernel": (3, 6), "params/head/bias": (6,)}
    for name, shape in changes.items():
        shapes[f"params/head/{name}"] = shape
    flat = {tuple(k.split("/")): np.ones(s, np.float32) for k, s in shapes.items()}
    return unflatten_dict(flat)


def test_merge_replaces_everything_but_what_is_named_new() -> None:
    initial = jax.tree.map(np.zeros_like, small())
    merged = merge(small(kernel=(3, 9), bias=(9,)), initial, new=["head"])
    expected = small()
    expected["params"]["head"] = initial["params"]["head"]
    jax.tree.map(np.testing.assert_array_equal, merged, expected)


def test_merge_refuses_another_head_that_is_not_named() -> None:
    with pytest.raises(InputError) as caught:
        merge(small(kernel=(3, 9), bias=(9,)), small())
    assert "params/head/kernel (3, 9) instead of (3, 6)" in str(caught.value)
    assert "params/head/bias (9,) instead of (6,)" in str(caught.value)


def test_merge_refuses_an_exception_that_is_no_layer() -> None:
    with pytest.raises(InputError, match="no layers to leave new: haed"):
        merge(small(), small(), new=["haed"])
