"""The config's values become the right parts, or one clear line."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import cnn, resnet, resnet_pretrained
from signjax import build
from signjax.config import check, default_config
from signjax.data.dataset import Dataset
from signjax.errors import InputError

CLASSES = tuple("012345")


def edit(config: ConfigDict, changes: dict[str, Any]) -> ConfigDict:
    config.update_from_flattened_dict(changes)
    return config


def warn(text: str) -> None:
    pytest.fail(text)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("seed", -1, "at least 0"),
        ("dtype", "float16", "'bfloat16'"),
        ("model.name", "resnet51", "'resnet50'"),
        ("model.init", "glorot", "'keras'"),
        ("model.stride_on", "5x5", "'3x3'"),
        ("model.pool_padding", 2, "0 or 1"),
        ("model.bn_momentum", 1.0, "between 0 and 1"),
        ("model.bn_epsilon", 0.0, "more than 0"),
        ("data.source", "imagenet", "'synthetic'"),
        ("data.image_size", 0, "multiple of 32"),
        ("data.image_size", 50, "multiple of 32"),
        ("data.validation_fraction", 1.0, "below 1"),
        ("data.validation_fraction", -0.1, "at least 0"),
        ("data.test_fraction", 0.0, "between 0 and 1"),
        ("data.synthetic_train", 0, "at least 1"),
        ("data.synthetic_test", 0, "at least 1"),
        ("data.synthetic_pose_jitter", 1.5, "between 0 and 1"),
        ("data.synthetic_classes", 8, "6 or 10"),
        ("data.crop", 0.0, "above 0 and at most 1"),
        ("data.crop", 1.5, "above 0 and at most 1"),
        ("data.interpolation", "nearest", "'hamming'"),
        ("data.mean", (0.5, 0.5), "three numbers"),
        ("data.std", (0.5, 0.5, 0.0), "three numbers above 0"),
        ("augment.rotation", -1.0, "at least 0"),
        ("augment.rotation", 190.0, "below 181"),
        ("augment.scale", -0.1, "at least 0"),
        ("augment.translation", 1.0, "below 1"),
        ("augment.brightness", 1.0, "below 1"),
        ("augment.contrast", -0.1, "at least 0"),
        ("augment.saturation", 2.0, "below 1"),
        ("train.epochs", 0, "at least 1"),
        ("train.batch_size", 0, "at least 1"),
        ("train.label_smoothing", 1.0, "below 1"),
        ("optimizer.name", "lion", "'adamw'"),
        ("optimizer.learning_rate", 0.0, "more than 0"),
        ("optimizer.learning_rate", float("nan"), "more than 0"),
        ("optimizer.schedule", "linear", "'cosine'"),
        ("optimizer.warmup_epochs", -1.0, "at least 0"),
        ("optimizer.weight_decay", -1e-4, "at least 0"),
        ("optimizer.momentum", 1.0, "below 1"),
        ("optimizer.epsilon", 0.0, "more than 0"),
        ("run.eval_batch_size", 0, "at least 1"),
        ("run.checkpoint_every_epochs", 0, "at least 1"),
    ],
)
def test_a_wrong_value_is_one_line_with_key_value_and_what_was_expected(
    key: str, value: Any, expected: str
) -> None:
    with pytest.raises(InputError) as error:
        check(edit(cnn.get_config(), {key: value}))
    message = str(error.value)
    assert f"config.{key} is {value!r}" in message
    assert expected in message
    assert "\n" not in message


def test_a_missing_key_is_named() -> None:
    for key in keys(default_config()) - {"name", "data.dir"}:
        config: Any = cnn.get_config()
        parent, _, name = key.rpartition(".")
        with config.unlocked():
            del (config[parent] if parent else config)[name]
        with pytest.raises(InputError, match=rf"config\.{key} is missing"):
            check(config)


def keys(config: ConfigDict, prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            found |= keys(value, f"{prefix}{name}.")
        else:
            found.add(prefix + name)
    return found


def test_adam_takes_no_weight_decay() -> None:
    config = edit(
        cnn.get_config(),
        {"optimizer.name": "adam", "optimizer.weight_decay": 0.1},
    )
    with pytest.raises(InputError, match=r"weight_decay is 0\.1.*adamw"):
        check(config)


def test_a_mirrored_evaluation_takes_a_training_that_flips() -> None:
    with pytest.raises(InputError, match=r"tta\.flip is True.*augment\.flip"):
        check(edit(resnet.get_config(), {"augment.flip": False}))
    check(edit(resnet.get_config(), {"tta.flip": False}))


def test_an_evaluation_turns_no_farther_than_training() -> None:
    with pytest.raises(InputError, match=r"tta\.rotation is 15\.0.*rotation 10\.0"):
        check(edit(resnet.get_config(), {"augment.rotation": 10.0}))
    check(edit(resnet.get_config(), {"augment.rotation": 15.0}))


def test_drawn_hands_are_learned_from_until_their_share_of_the_epochs() -> None:
    changes = {"data.synthetic_count": 20, "data.synthetic_epoch_fraction": 0.6}
    config = edit(cnn.get_config(), {**changes, "train.epochs": 5})
    recipe = build.make_recipe(config, network(config), 100)
    drawn = [int((recipe.batches(epoch) >= 80).sum()) for epoch in range(5)]
    assert drawn == [20, 20, 20, 0, 0]
    assert {recipe.batches(epoch).shape for epoch in range(5)} == {(4, 32)}


def test_a_head_does_not_learn_alone_for_more_than_all_epochs() -> None:
    with pytest.raises(InputError, match=r"head_epochs is 99\.0, more than.*, 16"):
        check(edit(resnet_pretrained.get_config(), {"optimizer.head_epochs": 99.0}))


def test_a_frozen_backbone_keeps_its_statistics() -> None:
    frozen = resnet_pretrained.get_config("frozen")
    check(frozen)
    with pytest.raises(InputError, match=r"freeze_backbone and .*recalibrate_batch"):
        check(edit(frozen, {"train.recalibrate_batch_norm": True}))


def test_the_cnn_takes_no_key_of_the_resnet() -> None:
    with pytest.raises(InputError, match=r"bn_momentum is 0\.5, which only resnet50"):
        check(edit(cnn.get_config(), {"model.bn_momentum": 0.5}))


def network(config: ConfigDict, devices: int = 1) -> build.Network:
    return build.make_network(config, len(CLASSES), jax.devices()[:devices])


def test_a_batch_that_does_not_divide_over_the_devices_is_refused() -> None:
    config = edit(cnn.get_config(), {"train.batch_size": 30})
    with pytest.raises(InputError, match=r"batch_size is 30.*8 devices.*multiple of 8"):
        build.make_recipe(config, network(config, 8), 1080)


def test_a_batch_larger_than_the_data_is_refused_where_it_would_be_dropped() -> None:
    config = edit(resnet.get_config(), {"train.batch_size": 64})
    with pytest.raises(InputError, match=r"batch_size is 64.*60 training images"):
        build.make_recipe(config, network(config), 60)


def test_batch_norm_is_never_given_padding() -> None:
    config = edit(
        resnet.get_config(), {"train.drop_remainder": False, "train.batch_size": 32}
    )
    with pytest.raises(InputError, match=r"drop_remainder is False.*BatchNorm"):
        build.make_recipe(config, network(config), 1080)
    build.make_recipe(config, network(config), 1088)


@pytest.mark.parametrize(
    ("dtype", "expected"), [("auto", "float32"), ("bfloat16", "bfloat16")]
)
def test_auto_is_float32_on_the_cpu(dtype: str, expected: str) -> None:
    config = edit(cnn.get_config(), {"dtype": dtype})
    assert network(config).dtype == expected
    assert network(config).model.dtype == np.dtype(expected)  # type: ignore[attr-defined]


def test_evaluation_batches_split_over_the_devices() -> None:
    config = edit(cnn.get_config(), {"run.eval_batch_size": 100})
    assert network(config, 8).eval_batch_size == 104
    assert network(config, 1).eval_batch_size == 100


def test_the_seed_cnn_is_trained_as_the_reference() -> None:
    config = cnn.get_config("seed")
    recipe: Any = build.make_recipe(config, network(config), 1080)
    assert (recipe.epochs, recipe.steps_per_epoch, recipe.batch_size) == (100, 17, 64)
    batches = recipe.batches(3)
    assert batches.shape == (17, 64)
    assert batches.ravel()[:1080].tolist() == list(range(1080))
    assert (batches[-1] >= 0).sum() == 56
    assert (
        float(recipe.schedule(0)) == float(recipe.schedule(1699)) == pytest.approx(1e-3)
    )


def test_the_seed_resnet_is_trained_as_the_reference() -> None:
    config = resnet.get_config("seed")
    recipe = build.make_recipe(config, network(config), 1080)
    assert (recipe.epochs, recipe.steps_per_epoch, recipe.batch_size) == (10, 33, 32)
    first, second = recipe.batches(0), recipe.batches(1)
    assert sorted(first.ravel()) != sorted(second.ravel())
    model: Any = network(config).model
    assert model.bn_momentum == 0.99
    assert model.bn_epsilon == 1e-3
    assert not model.zero_init_last_scale


def test_the_schedule_counts_warm_up_in_epochs() -> None:
    config = edit(
        resnet.get_config(),
        {
            "optimizer.warmup_epochs": 2.0,
            "optimizer.learning_rate": 0.2,
            "optimizer.schedule": "cosine",
            "train.epochs": 12,
            "train.batch_size": 32,
        },
    )
    schedule: Any = build.make_optimizer(config, 320)[1]
    rates = [float(schedule(step)) for step in (0, 10, 20, 70, 120)]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.1, 0], abs=1e-7)


def test_abstract_state_describes_the_state() -> None:
    config = cnn.get_config()
    small = network(config, 2)
    recipe = build.make_recipe(config, small, 1080)
    state = build.make_state(config, small, recipe)
    abstract = build.abstract_state(config, small, recipe.optimizer)
    assert jax.tree.structure(state) == jax.tree.structure(abstract)
    for leaf, described in zip(
        jax.tree.leaves(state), jax.tree.leaves(abstract), strict=True
    ):
        assert leaf.shape == described.shape
        assert leaf.dtype == described.dtype
        assert leaf.sharding.is_equivalent_to(described.sharding, leaf.ndim)


def initial_params(config: ConfigDict, **changes: Any) -> Any:
    small = network(config)
    model = small.model.clone(**changes)
    init = jax.jit(lambda key: model.init(key, np.zeros((1, 64, 64, 3)), train=False))
    return jax.tree.map(np.asarray, init(jax.random.key(0))["params"])


def glorot_limit(kernel: np.ndarray) -> float:
    area = int(np.prod(kernel.shape[:-2]))
    return np.sqrt(6 / (area * (kernel.shape[-2] + kernel.shape[-1])))


def test_the_seed_resnet_starts_as_keras_starts_it() -> None:
    params = initial_params(resnet.get_config("seed"), stage_sizes=(2,))
    limits = {"stage1_block2": lambda _: 0.05}  # the one block without projection
    kernels = biases = scales = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        block, kind = path[0].key, path[-1].key
        if kind == "kernel":
            limit = limits.get(block, glorot_limit)(leaf)
            assert 0.97 * limit < np.abs(leaf).max() <= limit
            assert leaf.std() == pytest.approx(limit / np.sqrt(3), rel=0.05)
            kernels += 1
        elif kind == "scale":
            assert (leaf == 1).all()
            scales += 1
        else:
            assert not leaf.any()
            biases += 1
    assert (kernels, scales, biases) == (9, 8, 17)


def test_seeds_differ_in_weights_and_order() -> None:
    def start(seed: int) -> tuple[Any, Any]:
        config = edit(cnn.get_config(), {"seed": seed, "train.shuffle": True})
        small = network(config)
        recipe = build.make_recipe(config, small, 100)
        return build.make_state(config, small, recipe).params, recipe.batches(0)

    (weights, order), (others, another) = start(0), start(1)
    kernel = lambda params: np.asarray(params["conv1"]["kernel"])  # noqa: E731
    assert not np.array_equal(kernel(weights), kernel(others))
    assert not np.array_equal(order, another)


def test_holding_out_validation_images() -> None:
    labels = np.repeat(np.arange(6, dtype=np.int32), 20)
    images = np.arange(120, dtype=np.uint8).reshape(120, 1, 1, 1)
    train = Dataset(images, labels, CLASSES)
    config: Any = cnn.get_config()
    assert build.hold_out_validation(config, train) == (train, None)
    config.data.validation_fraction = 0.1
    rest, validation = build.hold_out_validation(config, train)
    assert validation is not None
    assert np.bincount(validation.labels).tolist() == [2] * 6
    assert sorted([*rest.images.ravel(), *validation.images.ravel()]) == list(
        range(120)
    )


# Losses of the first three steps of each config with its first blocks, recorded once.
# They change with the initial weights, the order, the augmentation and the recipe, the
# optimizer's from the third step on, as a warm-up begins at a rate of 0.
GOLDEN = {
    ("cnn", ""): (4.64426, 3.56128, 4.10407),
    ("cnn", "seed"): (2.27035, 2.29518, 2.23028),
    ("resnet", ""): (1.99308, 1.82317, 1.92642),
    ("resnet", "seed"): (2.34069, 2.15223, 2.32632),
}


@pytest.mark.parametrize(("name", "variant"), GOLDEN)
def test_the_first_losses_are_those_recorded(name: str, variant: str) -> None:
    config = {"cnn": cnn, "resnet": resnet}[name].get_config(variant)
    config.train.batch_size = 16
    small = network(config)
    changes: dict[str, Any] = {"conv_impl": "xla"}  # which compiles faster
    if name == "resnet":
        changes["stage_sizes"] = (2,)
    small = dataclasses.replace(small, model=small.model.clone(**changes))
    recipe = build.make_recipe(config, small, 48)
    state = build.make_state(config, small, recipe)
    images = np.random.default_rng(0).integers(0, 256, (48, 64, 64, 3)).astype(np.uint8)
    labels = np.arange(48, dtype=np.int32) % 6
    losses = []
    for indices in recipe.batches(0):
        state, metrics = recipe.train_step(state, images, labels, indices, recipe.key)
        losses.append(metrics.compute()["loss"])
    assert losses == pytest.approx(GOLDEN[name, variant], rel=2e-3)


def test_a_validation_that_would_be_empty_is_refused() -> None:
    config = cnn.get_config()
    config.data.validation_fraction = 0.5
    images = np.zeros((2, 64, 64, 3), np.uint8)
    train = Dataset(images, np.array([0, 1], np.int32), ("a", "b"))
    told = r"validation_fraction is 0\.5, but of the 2 training images no class"
    with pytest.raises(InputError, match=told):
        build.hold_out_validation(config, train)


@pytest.mark.parametrize("beside", [False, True])
def test_variety_reaches_the_hands_that_are_drawn(beside: bool) -> None:
    def drawn(variety: float) -> np.ndarray:
        config = default_config()
        config.data.source = "synthetic"
        config.data.synthetic_train = config.data.synthetic_test = 12
        config.data.synthetic_count = 12
        config.data.synthetic_pose_jitter = variety
        splits = build.load_splits(config, pytest.fail)
        extra = build.draw_extra(config, splits.train.classes)
        return (extra if beside else splits.train).images

    assert (drawn(1.0) != drawn(0.0)).any()
