"""Out-of-distribution images: what they are, and what is made of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from signjax.augment import count_outliers
from signjax.augment.outliers import render_outliers
from signjax.config import check, default_config
from signjax.errors import InputError
from signjax.evaluation.calibration import RISK, choose_threshold, fit
from signjax.experiment import make_experiment
from signjax.step import OUT_OF_DISTRIBUTION, cross_entropy

IMAGES = np.random.default_rng(0).random((64, 32, 48, 3), np.float32)
DRAW = jax.jit(render_outliers)
DRAWN = np.asarray(DRAW(IMAGES, jax.random.key(0)))


def test_they_are_images_and_depend_on_the_key_alone() -> None:
    assert DRAWN.shape == IMAGES.shape and DRAWN.dtype == np.float32
    assert 0 <= DRAWN.min() and DRAWN.max() <= 1
    again, other = (DRAW(IMAGES, jax.random.key(n)) for n in (0, 1))
    np.testing.assert_array_equal(DRAWN, again)
    assert not np.isclose(DRAWN, other).all(axis=(1, 2, 3)).any()


def test_a_quarter_are_the_images_in_blocks_that_have_changed_places() -> None:
    values = [np.sort(images.reshape(64, -1), axis=1) for images in (DRAWN, IMAGES)]
    jumbled = np.flatnonzero((values[0] == values[1]).all(axis=1))
    assert 6 <= len(jumbled) <= 28
    for index in jumbled:
        corner = DRAWN[index, :8, :12]
        places = [
            (row, column)
            for row in range(0, 32, 8)
            for column in range(0, 48, 12)
            if (IMAGES[index, row : row + 8, column : column + 12] == corner).all()
        ]
        assert len(places) == 1
        assert (DRAWN[index] != IMAGES[index]).any()


def test_the_target_of_no_class_is_even_over_all() -> None:
    logits = np.random.default_rng(1).normal(0, 3, (4, 5)).astype(np.float32)
    labels = np.array([2, OUT_OF_DISTRIBUTION, 0, OUT_OF_DISTRIBUTION])
    losses = cross_entropy(jnp.asarray(logits), jnp.asarray(labels), 0.1)
    exact = logits.astype(np.float64)
    logs = exact - np.log(np.exp(exact).sum(axis=1, keepdims=True))
    targets = np.full((4, 5), 0.02)
    targets[[0, 2], [2, 0]] += 0.9
    targets[[1, 3]] = 0.2
    np.testing.assert_allclose(losses, -(targets * logs).sum(axis=1), rtol=1e-5)


def test_the_threshold_rises_until_a_share_of_the_hands_is_given_up() -> None:
    rng = np.random.default_rng(2)
    labels = np.arange(200) % 4
    logits = 6 * np.eye(4)[labels] + rng.normal(0, 1, (200, 4))
    plain = fit(logits, labels, step=1)
    raised = fit(logits, labels, step=1, abstain_fraction=0.05)
    assert plain.threshold is not None and raised.threshold is not None
    assert plain.coverage > 0.99 and raised.threshold > plain.threshold
    confidence = raised.probabilities(logits).max(axis=1)
    assert np.sum(confidence < raised.threshold) == 10
    assert raised.coverage == 0.95 and raised.risk == plain.risk == RISK
    few = fit(logits[:40], labels[:40], step=1, abstain_fraction=0.05)
    assert few.threshold is not None and few.risk is None and few.coverage == 0.95
    one = fit(logits[:1], labels[:1], step=1, abstain_fraction=0.05)
    assert one.coverage == 1


def test_a_limit_that_the_risk_asks_for_is_not_lowered() -> None:
    rng = np.random.default_rng(3)
    labels = np.arange(400) % 4
    logits = 2 * np.eye(4)[labels] + rng.normal(0, 1, (400, 4))
    fitted = fit(logits, labels, step=1, risk=0.1, abstain_fraction=0.05)
    probabilities = fitted.probabilities(logits)
    correct = probabilities.argmax(-1) == labels
    asked_for = choose_threshold(probabilities.max(-1), correct, 0.1)
    assert fitted.threshold == asked_for and 0.2 < fitted.coverage < 0.9


def test_they_take_their_fraction_of_a_batch_and_at_least_one() -> None:
    assert [count_outliers(*x) for x in ((0.0, 8), (0.01, 8), (0.09, 32))] == [0, 1, 3]
    config = default_config()
    config.train.outlier_fraction, config.train.batch_size = 0.01, 8
    experiment = make_experiment(config, 3, 64, jax.local_devices()[:1])
    assert experiment.train_step.__wrapped__.keywords["outlier_count"] == 1


def test_a_fraction_that_leaves_no_image_is_refused() -> None:
    config = default_config()
    config.train.outlier_fraction, config.train.batch_size = 0.9, 4
    with pytest.raises(InputError, match="leaves no image in a batch of 4"):
        check(config)


def test_an_order_that_never_changes_is_refused() -> None:
    config = default_config()
    config.train.outlier_fraction, config.train.shuffle = 0.1, False
    with pytest.raises(InputError, match=r"config.train.shuffle=True"):
        check(config)
