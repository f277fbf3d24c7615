"""The config's values become the right model, optimizer, batches and steps."""

from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import cnn, resnet
from signjax.data.dataset import Dataset, Splits
from signjax.data.load import hold_out_validation, make_batches
from signjax.errors import InputError
from signjax.experiment import Experiment, make_experiment
from signjax.models import make_model

CLASSES = tuple("012345")


def edit(config: ConfigDict, changes: dict[str, Any]) -> ConfigDict:
    config.update_from_flattened_dict(changes)
    return config


def experiment(config: Any, devices: int = 1, train_size: int = 1080) -> Experiment:
    return make_experiment(config, len(CLASSES), train_size, jax.devices()[:devices])


def order(config: Any, count: int, devices: int = 1) -> Any:
    """The batches' indices by epoch, of a run on `count` images."""
    data = Dataset(
        np.zeros((count, 1, 1, 3), np.uint8), np.zeros(count, np.int32), CLASSES
    )
    mesh = experiment(config, devices).mesh
    return make_batches(config, data, mesh).order


def test_synthetic_hands_are_there_in_their_fraction_of_the_epochs() -> None:
    config = cnn.get_config()
    config.data.synthetic_count = 20
    config.data.synthetic_epoch_fraction = 0.6
    config.train.epochs = 5
    batches = order(config, 100)
    counts = [int((batches(epoch) >= 80).sum()) for epoch in range(5)]
    assert counts == [20, 20, 20, 0, 0]
    assert {batches(epoch).shape for epoch in range(5)} == {(4, 32)}


@pytest.mark.parametrize(
    ("dtype", "expected"), [("auto", "float32"), ("bfloat16", "bfloat16")]
)
def test_auto_is_float32_on_the_cpu(dtype: str, expected: str) -> None:
    made = experiment(edit(cnn.get_config(), {"dtype": dtype}))
    assert made.dtype == expected
    assert made.model.dtype == np.dtype(expected)  # type: ignore[attr-defined]


def test_evaluation_batches_split_over_the_devices() -> None:
    config = edit(cnn.get_config(), {"run.eval_batch_size": 100})
    assert experiment(config, 8).eval_batch_size == 104
    assert experiment(config, 1).eval_batch_size == 100


def test_the_seed_cnn_is_trained_as_the_reference() -> None:
    config = cnn.get_config("seed")
    made, batches = experiment(config), order(config, 1080)(3)
    assert (made.epochs, made.steps_per_epoch, made.total_steps) == (100, 17, 1700)
    assert batches.shape == (17, 64)
    assert batches.ravel()[:1080].tolist() == list(range(1080))
    assert (batches[-1] >= 0).sum() == 56
    assert made.schedule(0) == made.schedule(1699) == pytest.approx(1e-3)


def test_the_seed_resnet_is_trained_as_the_reference() -> None:
    config = resnet.get_config("seed")
    made, batches = experiment(config), order(config, 1080)
    assert (made.epochs, made.steps_per_epoch) == (10, 33)
    assert batches(0).shape == (33, 32)
    assert sorted(batches(0).ravel()) != sorted(batches(1).ravel())
    model: Any = made.model
    assert (model.bn_momentum, model.bn_epsilon) == (0.99, 1e-3)
    assert not model.zero_init_last_scale


def test_abstract_state_describes_the_state() -> None:
    config = cnn.get_config()
    made = experiment(config, 2)
    state, abstract = made.initial_state(), made.abstract_state()
    assert jax.tree.structure(state) == jax.tree.structure(abstract)
    for leaf, described in zip(
        jax.tree.leaves(state), jax.tree.leaves(abstract), strict=True
    ):
        assert leaf.shape == described.shape
        assert leaf.dtype == described.dtype
        assert leaf.sharding.is_equivalent_to(described.sharding, leaf.ndim)


def initial_params(config: ConfigDict, **changes: Any) -> Any:
    model = experiment(config).model.clone(**changes)
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
        return experiment(config).initial_state().params, order(config, 100)(0)

    (weights, first), (others, second) = start(0), start(1)
    kernel = lambda params: np.asarray(params["conv1"]["kernel"])  # noqa: E731
    assert not np.array_equal(kernel(weights), kernel(others))
    assert not np.array_equal(first, second)


# Losses of the first three steps of each recipe with its first blocks, recorded once.
# They change with the initial weights, the order, the augmentation and the recipe, the
# optimizer's from the third step on, as a warm-up begins at a rate of 0.
GOLDEN = {
    ("cnn", ""): (4.64426, 3.56128, 4.10407),
    ("cnn", "seed"): (2.27035, 2.29518, 2.23028),
    ("resnet", ""): (1.99308, 1.82317, 1.92642),
    ("resnet", "seed"): (2.34069, 2.15223, 2.32632),
}


@pytest.mark.parametrize(("name", "variant"), GOLDEN)
def test_the_first_losses_are_those_recorded(
    name: str, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"cnn": cnn, "resnet": resnet}[name].get_config(variant)
    config.train.batch_size = 16
    config.data.synthetic_count = 0
    changes = {"stage_sizes": (2,)} if name == "resnet" else {}
    monkeypatch.setattr(
        "signjax.experiment.make_model",
        # XLA's own convolutions compile faster.
        lambda **keys: make_model(**keys).clone(conv_impl="xla", **changes),
    )
    made = experiment(config, train_size=48)
    images = np.random.default_rng(0).integers(0, 256, (48, 64, 64, 3)).astype(np.uint8)
    data = Dataset(images, np.arange(48, dtype=np.int32) % 6, CLASSES)
    state, losses = made.initial_state(), []
    for batch in make_batches(config, data, made.mesh).epoch(0):
        state, metrics = made.train_step(state, *batch, made.key)
        losses.append(metrics.compute()["loss"])
    assert losses == pytest.approx(GOLDEN[name, variant], rel=2e-3)


def test_batch_norm_is_recalibrated_after_the_last_step() -> None:
    """By its mean over all images, which one batch holds here, in float64."""
    changes = {"train.recalibrate_batch_norm": True, "model.stage_sizes": (1,)}
    made = experiment(edit(resnet.get_config("seed"), changes))
    images = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8)
    state = made.initial_state()
    found = made.finish(state, images)  # type: ignore[arg-type]
    _, seen = made.model.apply(  # type: ignore[misc]
        state.variables,
        images / np.float32(255),
        train=False,
        capture_intermediates=lambda module, _: module.name == "conv_stem",
        mutable=["intermediates"],
    )
    (stem,) = seen["intermediates"]["conv_stem"]["__call__"]
    mean = np.asarray(stem, np.float64).mean((0, 1, 2))
    np.testing.assert_allclose(found.batch_stats["bn_stem"]["mean"], mean, 1e-4, 1e-5)
    assert found.params is state.params


def test_a_validation_that_would_be_empty_is_refused() -> None:
    config = cnn.get_config()
    config.data.validation_fraction = 0.5
    images = np.zeros((2, 64, 64, 3), np.uint8)
    train = Dataset(images, np.array([0, 1], np.int32), ("a", "b"))
    told = r"validation_fraction is 0\.5, but of the 2 training images no class"
    with pytest.raises(InputError, match=told):
        hold_out_validation(config, Splits(train, train, "", ""))
