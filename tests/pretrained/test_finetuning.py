"""What fine-tuning adds to a train step: depths, frozen layers, new statistics."""

import dataclasses
from typing import Any

import jax
import numpy as np
import optax
import pytest

from configs import resnet_pretrained
from signjax import build, step
from signjax.errors import InputError
from signjax.models.resnet import ResNet, depth_below_head
from signjax.ops.batchnorm import recalibrate
from signjax.optim import scale_by_depth
from signjax.pretrained.port import Ported
from signjax.state import TrainState, create_state

SIZE, CLASSES = 32, 6
TINY = ResNet(CLASSES, stage_sizes=(1,), zero_init_last_scale=False)


def test_updates_shrink_with_depth_and_the_head_goes_first() -> None:
    scaling = scale_by_depth(depth_below_head, layer_decay=0.5, head_steps=1)
    ones = {name: {"kernel": np.ones(2, np.float32)} for name in DEPTHS}
    state = scaling.init(ones)
    first, state = scaling.update(ones, state)
    second, _ = scaling.update(ones, state)
    for name, depth in DEPTHS.items():
        assert set(np.asarray(first[name]["kernel"])) == {float(name == "head")}
        assert set(np.asarray(second[name]["kernel"])) == {0.5**depth}


DEPTHS = {"head": 0, "stage4_block3": 1, "stage1_block1": 4, "conv_stem": 5}


def random_state(optimizer: optax.GradientTransformation, frozen: bool) -> TrainState:
    state = create_state(TINY, optimizer, jax.random.key(0), SIZE, frozen)
    rng = np.random.default_rng(0)
    # -0.0 is the bit pattern that adding a zero update would change.
    noisy = jax.tree.map(
        lambda leaf: np.where(rng.random(leaf.shape) < 0.1, np.float32(-0.0), leaf),
        state.params,
    )
    return jax.device_put(
        state.replace(params=noisy), step.replicated(step.make_mesh(jax.devices()[:1]))
    )


def test_a_frozen_backbone_keeps_its_bits_and_the_head_learns() -> None:
    optimizer = optax.adamw(0.1)
    train_step = step.compile_train_step(
        step.make_mesh(jax.devices()[:1]),
        model=TINY,
        optimizer=optimizer,
        augment=lambda images, key: images,
        normalize=lambda images: images,
        label_smoothing=0.0,
        freeze_backbone=True,
    )
    state = random_state(optimizer, frozen=True)
    before = jax.tree.map(np.array, state.variables)
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (4, SIZE, SIZE, 3), np.uint8)
    labels, indices = np.arange(4, dtype=np.int32), np.arange(4, dtype=np.int32)
    for _ in range(3):
        state, _ = train_step(state, images, labels, indices, jax.random.key(0))
    after = jax.tree.map(np.array, state.variables)
    assert np.abs(after["params"]["head"]["kernel"]).max() > 0.1
    assert not np.array_equal(
        before["params"].pop("head")["kernel"], after["params"].pop("head")["kernel"]
    )
    leaves = jax.tree_util.tree_leaves_with_path(before)
    assert len(leaves) > 10
    for (path, old), new in zip(leaves, jax.tree.leaves(after), strict=True):
        assert old.tobytes() == new.tobytes(), path


def test_recalibration_takes_the_mean_of_the_batches_statistics() -> None:
    state = random_state(optax.sgd(0.1), frozen=False)
    statistics = step.compile_batch_statistics(
        step.make_mesh(jax.devices()[:1]),
        model=TINY,
        normalize=lambda images: images,
        bn_momentum=TINY.bn_momentum,
    )
    rng = np.random.default_rng(2)
    batches = [rng.integers(0, 256, (4, SIZE, SIZE, 3), np.uint8) for _ in range(3)]
    once = recalibrate(state, statistics, batches)
    again = recalibrate(once, statistics, batches)
    # The stem's statistics follow from the images and one convolution alone.
    kernel = np.asarray(state.params["conv_stem"]["kernel"], np.float64)
    means, variances = [], []
    for images in batches:
        padded = np.pad(images / 255.0, ((0, 0), (3, 3), (3, 3), (0, 0)))
        seen = np.lib.stride_tricks.sliding_window_view(padded, (7, 7), (1, 2))
        y = np.einsum("bhwcij,ijck->bhwk", seen[:, ::2, ::2], kernel)
        means.append(y.mean((0, 1, 2)))
        variances.append(y.var((0, 1, 2)))
    found = once.batch_stats["bn_stem"]
    np.testing.assert_allclose(found["mean"], np.mean(means, 0), 1e-4, 1e-5)
    np.testing.assert_allclose(found["var"], np.mean(variances, 0), 1e-4, 1e-5)
    for a, b in zip(
        jax.tree.leaves(once.batch_stats),
        jax.tree.leaves(again.batch_stats),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_recalibration_is_the_same_however_many_images_an_evaluation_takes() -> None:
    config = resnet_pretrained.get_config()
    config.train.recalibrate_batch_norm = True
    rng = np.random.default_rng(4)
    images = rng.integers(0, 256, (9, SIZE, SIZE, 3), np.uint8)
    found = []
    for eval_batch_size in (3, 120):
        config.run.eval_batch_size = eval_batch_size
        network = build.make_network(config, CLASSES, jax.devices()[:1])
        network = dataclasses.replace(network, model=TINY)
        recipe = build.make_recipe(config, network, 64)
        state = recipe.finish(random_state(optax.sgd(0.1), frozen=False), images)
        found.append(jax.device_get(state.batch_stats))
    for one, other in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_array_equal(one, other)


def ported(config: Any, **variant: Any) -> Ported:
    found, preprocessing = build.ported_traits(config)
    model = ResNet(10, **(found | variant))
    variables = model.init(
        jax.random.key(3), np.zeros((1, SIZE, SIZE, 3), np.float32), train=False
    )
    return Ported(
        variables=jax.tree.map(np.asarray, variables),
        variant=found | variant,  # type: ignore[arg-type]
        preprocessing=preprocessing,
        classes=tuple("0123456789"),
        coverage=(),
        notes=(),
    )


@pytest.mark.slow
def test_training_starts_from_the_weights_with_a_new_head() -> None:
    config = resnet_pretrained.get_config()
    network = build.make_network(config, CLASSES, jax.devices()[:1])
    recipe = build.make_recipe(config, network, 64)
    state = build.make_state(config, network, recipe)
    weights = ported(config)
    digits = tuple("012345")
    started = build.start_from(config, network, state, weights, digits)
    np.testing.assert_array_equal(
        started.params["stage2_block1"]["conv2"]["kernel"],
        weights.variables["params"]["stage2_block1"]["conv2"]["kernel"],
    )
    assert started.params["head"]["kernel"].shape == (2048, CLASSES)
    with pytest.raises(InputError, match=r"model.stride_on is '1x1'.*need '3x3'"):
        other = ported(config, stride_on="3x3")
        build.start_from(config, network, state, other, digits)
