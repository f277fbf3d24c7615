"""Ported weights take the place of initial ones, or one line says what does not fit."""

from typing import Any

import jax
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from signjax.errors import InputError
from signjax.pretrained.port import Ported, Variant, merge
from signjax.pretrained.published import Preprocessing


def small(**changes: tuple[int, ...]) -> dict[str, Any]:
    shapes = {"params/body/kernel": (2, 3), "batch_stats/body/mean": (3,)}
    shapes |= {"params/head/kernel": (3, 6), "params/head/bias": (6,)}
    for name, shape in changes.items():
        shapes[f"params/head/{name}"] = shape
    flat = {tuple(k.split("/")): np.ones(s, np.float32) for k, s in shapes.items()}
    return unflatten_dict(flat)


def ported(variables: dict[str, Any]) -> Ported:
    """`variables` as a source's; of the rest merge reads nothing."""
    return Ported(
        variables,
        variant=Variant(
            stride_on="3x3",
            pool_padding=1,
            conv_bias=False,
            bn_momentum=0.9,
            bn_epsilon=1e-5,
        ),
        preprocessing=Preprocessing((0, 0, 0), (1, 1, 1), 64, 1.0, "bilinear"),
        classes=None,
        coverage=(),
        notes=(),
    )


def test_merge_replaces_everything_but_what_is_named_new() -> None:
    initial = jax.tree.map(np.zeros_like, small())
    merged = merge(ported(small(kernel=(3, 9), bias=(9,))), initial, new=["head"])
    expected = small()
    expected["params"]["head"] = initial["params"]["head"]
    jax.tree.map(np.testing.assert_array_equal, merged, expected)


def test_merge_refuses_another_head_that_is_not_named() -> None:
    with pytest.raises(InputError) as caught:
        merge(ported(small(kernel=(3, 9), bias=(9,))), small())
    assert "params/head/kernel (3, 9) instead of (3, 6)" in str(caught.value)
    assert "params/head/bias (9,) instead of (6,)" in str(caught.value)


def test_merge_refuses_an_exception_that_is_no_layer() -> None:
    with pytest.raises(InputError, match="no layers to leave new: haed"):
        merge(ported(small()), small(), new=["haed"])
