"""ResNet-50's parameters and shapes, and its blocks against float64 NumPy."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from signjax.models.resnet import ResNet
from tests.helpers import reference

SEED = ResNet(
    6,
    stride_on="1x1",
    pool_padding=0,
    conv_bias=True,
    bn_momentum=0.99,
    bn_epsilon=1e-3,
    zero_init_last_scale=False,
)
MODERN = ResNet(6)


def shapes(model: ResNet, size: int = 64) -> tuple[Any, dict[str, tuple[int, ...]]]:
    """Variables as shapes, and the output shape of each module by its path."""
    outputs: dict[str, tuple[int, ...]] = {}

    def note(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        output = call(*args, **kwargs)
        outputs["/".join(context.module.path)] = output.shape
        return output

    def init() -> Any:
        with nn.intercept_methods(note):
            images = jnp.zeros((2, size, size, 3))
            return model.init(jax.random.key(0), images, train=False)

    return jax.eval_shape(init), outputs


def size_of(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_a_narrow_and_short_one_is_so_in_every_layer() -> None:
    small = ResNet(10, width=16, stage_sizes=(1, 2, 1, 1))
    variables, outputs = shapes(small)
    assert outputs["conv_stem"] == (2, 32, 32, 16)
    for stage in range(4):
        side, channels = 16 // 2**stage, 64 * 2**stage
        last = f"stage{stage + 1}_block{2 if stage == 1 else 1}"
        assert outputs[last] == (2, side, side, channels)
    assert {name for name in outputs if name.count("/") == 0 and "block" in name} == {
        *("stage1_block1", "stage2_block1", "stage2_block2"),
        *("stage3_block1", "stage4_block1"),
    }
    kernels = [7 * 7 * 3 * 16, 512 * 10]
    for stage, blocks in enumerate((1, 2, 1, 1)):
        width, given = 16 * 2**stage, 16 if stage == 0 else 32 * 2**stage
        for block in range(blocks):
            inputs = given if block == 0 else 4 * width
            kernels += [inputs * width, 9 * width**2, 4 * width**2]
            kernels += [inputs * 4 * width] * (block == 0)
    found = jax.tree.leaves_with_path(variables["params"])
    assert sum(kernels) == sum(
        leaf.size for path, leaf in found if path[-1].key == "kernel"
    )


def test_the_seed_variant_is_the_reference_to_the_parameter() -> None:
    variables, outputs = shapes(SEED)
    assert size_of(variables["params"]) == 23_546_886
    assert size_of(variables) == 23_600_006
    assert outputs["conv_stem"] == (2, 32, 32, 64)
    assert outputs["stage1_block1/conv1"] == (2, 15, 15, 64)
    assert outputs["stage2_block1/conv1"] == (2, 8, 8, 128)
    assert outputs["stage1_block3"] == (2, 15, 15, 256)
    assert outputs["stage2_block4"] == (2, 8, 8, 512)
    assert outputs["stage3_block6"] == (2, 4, 4, 1024)
    assert outputs["stage4_block3"] == (2, 2, 2, 2048)
    assert outputs[""] == (2, 6)


def test_the_modern_variant_has_torchvisions_parameters() -> None:
    # torchvision states 25,557,032 for 1000 classes; its head has 2048 x 1000 + 1000.
    variables, outputs = shapes(MODERN)
    assert size_of(variables["params"]) == 25_557_032 - 2_049_000 + 2048 * 6 + 6
    assert outputs["stage1_block1/conv1"] == (2, 16, 16, 64)
    assert outputs["stage2_block1/conv1"] == (2, 16, 16, 128)
    assert outputs["stage2_block1/conv2"] == (2, 8, 8, 128)
    assert outputs["stage4_block3"] == (2, 2, 2, 2048)


@pytest.mark.parametrize("model", [SEED, MODERN], ids=["seed", "modern"])
@pytest.mark.parametrize("size", [32, 96])
def test_other_sizes_and_numbers_of_classes(model: ResNet, size: int) -> None:
    _, outputs = shapes(model.clone(num_classes=10, stage_sizes=(1, 1, 1, 1)), size)
    assert outputs[""] == (2, 10)


@pytest.mark.parametrize("model", [SEED, MODERN], ids=["seed", "modern"])
def test_the_logits_are_those_of_float64(model: ResNet) -> None:
    """In training, so that BatchNorm takes part; one random value for all leaves."""
    model = model.clone(stage_sizes=(2, 1))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: (rng.standard_normal(leaf.shape) / 10).astype(np.float32),
        shapes(model)[0],
    )
    images = rng.random((6, 64, 64, 3), np.float32)
    logits, _ = jax.jit(partial(model.apply, train=True, mutable=["batch_stats"]))(
        variables, images
    )
    forward = reference.ResNet(
        model.stage_sizes,
        stride_on=model.stride_on,
        pool_padding=model.pool_padding,
        epsilon=model.bn_epsilon,
    )
    params = jax.tree.map(lambda leaf: leaf.astype(np.float64), variables["params"])
    expected = forward(params, images.astype(np.float64))
    np.testing.assert_allclose(logits, expected, 1e-3, 1e-3 * np.abs(expected).max())


def test_blocks_without_projection_start_as_the_identity() -> None:
    shallow = MODERN.clone(stage_sizes=(1,))
    deep = MODERN.clone(stage_sizes=(2,))
    images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    variables = jax.jit(partial(deep.init, train=False))(jax.random.key(0), images)
    fewer = {
        kind: {name: layer for name, layer in tree.items() if name != "stage1_block2"}
        for kind, tree in variables.items()
    }
    assert len(fewer["params"]) == len(variables["params"]) - 1
    apply = [jax.jit(partial(model.apply, train=False)) for model in (deep, shallow)]
    np.testing.assert_allclose(
        apply[0](variables, images), apply[1](fewer, images), rtol=1e-5
    )
