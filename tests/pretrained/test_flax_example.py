"""google/flax's examples/imagenet, whose network is written down here."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import serialization
from flax.traverse_util import flatten_dict, unflatten_dict

from signjax.models.resnet import ResNet
from signjax.pretrained import names
from signjax.pretrained.names import BLOCKS, LAYOUTS
from signjax.pretrained.port import port
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
        path: 0.1 * rng.standard_normal(leaf.shape, np.float32) + (path[-1] == "var")
        for path, leaf in flatten_dict(shapes).items()
    }


def test_it_is_ported_leaf_by_leaf(tmp_path: Any) -> None:
    held = variables(BLOCKS)
    held = {p: np.maximum(x, 0.1) if p[-1] == "var" else x for p, x in held.items()}
    state = unflatten_dict(held) | {"step": 7, "opt_state": {}}
    (tmp_path / "x").write_bytes(serialization.msgpack_serialize(state))
    ported = port(read_weights(tmp_path / "x"))
    assert ported.variant["same_padding"]
    places = names.table(LAYOUTS["flax_imagenet"])
    found = flatten_dict(ported.variables)
    assert len(found) == len(held) == 267
    for path, value in held.items():
        np.testing.assert_array_equal(found[places["/".join(path)]], value)


def test_a_network_that_pads_as_it_does_computes_the_same() -> None:
    blocks = (2, 1)
    held = variables(blocks)
    images = np.random.default_rng(1).random((2, 64, 64, 3), np.float32)
    expected = Example(blocks).apply(unflatten_dict(held), images)
    ours = ("conv_stem", "bn_stem", "stage1_block1", "stage1_block2", "stage2_block1")
    theirs = ("conv_init", "bn_init", *(f"BottleneckResNetBlock_{i}" for i in range(3)))
    layers = dict(zip(theirs, ours, strict=True)) | {"Dense_0": "head"}
    parts = {f"Conv_{i}": f"conv{i + 1}" for i in range(3)}
    parts |= {f"BatchNorm_{i}": f"bn{i + 1}" for i in range(3)}
    parts |= {"conv_proj": "conv_shortcut", "norm_proj": "bn_shortcut"}
    tree = {
        tuple(layers.get(part, parts.get(part, part)) for part in path): leaf
        for path, leaf in held.items()
    }
    for conv_impl in ("xla", "matmul"):
        model = ResNet(6, stage_sizes=blocks, same_padding=True, conv_impl=conv_impl)  # type: ignore[arg-type]
        found = model.apply(unflatten_dict(tree), images, train=False)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, 0, 1e-5 * scale)
        other = model.clone(same_padding=False)
        other = other.apply(unflatten_dict(tree), images, train=False)
        assert np.abs(other - expected).max() > 1e-3 * scale
