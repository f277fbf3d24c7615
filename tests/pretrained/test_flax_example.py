"""google/flax's examples/imagenet, whose network is written down here."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import serialization
from flax.traverse_util import unflatten_dict

from signjax.models.resnet import ResNet
from signjax.pretrained import names
from signjax.pretrained.names import BLOCKS, LAYOUTS
from signjax.pretrained.port import flatten, port
from signjax.pretrained.read import read_weights


class Block(nn.Module):
    filters: int
    conv: Any
    norm: Any
    strides: tuple[int, int]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.relu(self.norm()(self.conv(self.filters, (1, 1))(x)))
        y = nn.relu(self.norm()(self.conv(self.filters, (3, 3), self.strides)(y)))
        y = self.norm()(self.conv(4 * self.filters, (1, 1))(y))
        if x.shape != y.shape:
            x = self.conv(4 * self.filters, (1, 1), self.strides, name="conv_proj")(x)
            x = self.norm(name="norm_proj")(x)
        return nn.relu(x + y)


class Example(nn.Module):
    blocks: tuple[int, ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = partial(nn.Conv, use_bias=False)
        norm = partial(nn.BatchNorm, use_running_average=True, epsilon=1e-5)
        pad = [(3, 3), (3, 3)]
        x = conv(64, (7, 7), (2, 2), padding=pad, name="conv_init")(x)
        x = nn.relu(norm(name="bn_init")(x))
        x = nn.max_pool(x, (3, 3), strides=(2, 2), padding="SAME")
        number = 0
        for stage, size in enumerate(self.blocks):
            for block in range(size):
                strides = (2, 2) if stage and not block else (1, 1)
                name = f"BottleneckResNetBlock_{number}"
                x = Block(64 * 2**stage, conv, norm, strides, name=name)(x)
                number += 1
        return nn.Dense(6, name="Dense_0")(jnp.mean(x, (1, 2)))


def variables(blocks: tuple[int, ...]) -> dict[str, Any]:
    """Seeded values of every leaf, by its path."""
    shapes = jax.eval_shape(
        Example(blocks).init, jax.random.key(0), np.zeros((1, 64, 64, 3), np.float32)
    )
    rng = np.random.default_rng(0)
    return {
        path: np.abs(0.1 * rng.standard_normal(leaf.shape, np.float32) + 1)
        if path.endswith("var")
        else 0.1 * rng.standard_normal(leaf.shape, np.float32)
        for path, leaf in flatten(shapes).items()
    }


def test_it_is_ported_leaf_by_leaf(tmp_path: Any) -> None:
    held = variables(BLOCKS)
    state = unflatten_dict(held, sep="/") | {"step": 7, "opt_state": {}}
    (tmp_path / "x").write_bytes(serialization.msgpack_serialize(state))
    ported = port(read_weights(tmp_path / "x"))
    assert ported.variant["same_padding"]
    places = names.table(LAYOUTS["flax_imagenet"])
    found = flatten(ported.variables)
    assert len(found) == len(held) == 267
    for path, value in held.items():
        np.testing.assert_array_equal(found[places[path]], value)


def test_a_network_that_pads_as_it_does_computes_the_same() -> None:
    blocks = (2, 1)
    held = variables(blocks)
    images = np.random.default_rng(1).random((2, 64, 64, 3), np.float32)
    expected = Example(blocks).apply(unflatten_dict(held, sep="/"), images)
    # Without deeper stages, all but the names of the third block's stage are as ever.
    places = names.table(LAYOUTS["flax_imagenet"])
    renamed = {
        path.replace("BottleneckResNetBlock_2", "BottleneckResNetBlock_3"): leaf
        for path, leaf in held.items()
    }
    tree = unflatten_dict({places[path]: x for path, x in renamed.items()}, sep="/")
    for conv_impl in ("xla", "matmul"):
        model = ResNet(6, stage_sizes=blocks, same_padding=True, conv_impl=conv_impl)  # type: ignore[arg-type]
        found = model.apply(tree, images, train=False)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, 0, 1e-5 * scale)
        other = model.clone(same_padding=False).apply(tree, images, train=False)
        assert np.abs(other - expected).max() > 1e-3 * scale
