"""What fine-tuning adds to a train step: depths and frozen layers."""

from functools import partial

import jax
import numpy as np
import optax

from signjax.models import depth_below_head
from signjax.models.resnet import ResNet
from signjax.optim import scale_by_depth
from signjax.runtime.distributed import make_mesh, replicated
from signjax.state import TrainState, create_state
from signjax.step import jit_training, train_step

SIZE, CLASSES = 32, 6
MESH = make_mesh(jax.devices()[:1])
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
    state = create_state(
        jax.random.key(0),
        model=TINY,
        optimizer=optimizer,
        input_shape=(SIZE, SIZE, 3),
        freeze_backbone=frozen,
    )
    rng = np.random.default_rng(0)
    # -0.0 is the bit pattern that adding a zero update would change.
    noisy = jax.tree.map(
        lambda leaf: np.where(rng.random(leaf.shape) < 0.1, np.float32(-0.0), leaf),
        state.params,
    )
    return jax.device_put(state.replace(params=noisy), replicated(MESH))


def test_a_frozen_backbone_keeps_its_bits_and_the_head_learns() -> None:
    optimizer = optax.adamw(0.1)
    frozen_step = partial(
        train_step,
        model=TINY,
        optimizer=optimizer,
        augment=lambda images, key: images,
        normalize=lambda images: images,
        label_smoothing=0.0,
        freeze_backbone=True,
    )
    step = jit_training(MESH, frozen_step)
    state = random_state(optimizer, frozen=True)
    before = jax.tree.map(np.array, state.variables)
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (4, SIZE * SIZE * 3), np.uint8)
    labels, indices = np.arange(4, dtype=np.int32), np.arange(4, dtype=np.int32)
    for _ in range(3):
        state, _ = step(state, images, labels, indices, jax.random.key(0))
    after = jax.tree.map(np.array, state.variables)
    assert np.abs(after["params"]["head"]["kernel"]).max() > 0.1
    assert not np.array_equal(
        before["params"].pop("head")["kernel"], after["params"].pop("head")["kernel"]
    )
    leaves = jax.tree_util.tree_leaves_with_path(before)
    assert len(leaves) > 10
    for (path, old), new in zip(leaves, jax.tree.leaves(after), strict=True):
        assert old.tobytes() == new.tobytes(), path
