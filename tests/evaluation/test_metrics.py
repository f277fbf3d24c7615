"""Every image is scored once, and scores are what textbooks say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from signjax.evaluation.metrics import (
    calibration_error,
    coverage_curve,
    predict_logits,
    reliability,
    score,
    selective_accuracy,
    softmax,
    wilson_interval,
)


def test_each_image_goes_through_once_in_order_and_in_full_batches() -> None:
    sizes = []

    def first_pixel(_: None, batch: np.ndarray) -> jax.Array:
        sizes.append(len(batch))
        return jnp.asarray(batch[:, 0, 0, :1], jnp.float32)

    marked = np.zeros((120, 2, 2, 3), np.uint8)
    marked[:, 0, 0, 0] = np.arange(120)
    logits = predict_logits(first_pixel, None, marked, 32)
    assert logits[:, 0].tolist() == list(range(120))
    assert sizes == [32, 32, 32, 32]


def test_softmax_holds_for_huge_logits() -> None:
    probabilities = softmax(np.array([[1e4, 1e4, -1e4], [0.0, np.log(3), -np.inf]]))
    np.testing.assert_allclose(probabilities, [[0.5, 0.5, 0], [0.25, 0.75, 0]])


# R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3.
@pytest.mark.parametrize(
    ("correct", "count", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval(correct: int, count: int, low: float, high: float) -> None:
    assert wilson_interval(correct, count) == pytest.approx([low, high], abs=5e-5)
    mirrored = wilson_interval(count - correct, count)
    assert mirrored == pytest.approx([1 - high, 1 - low], abs=5e-5)


def test_scores_of_a_hand_example() -> None:
    # True 0: predicted 0, 0, 2. True 1: predicted 0. True 2: none. True 3: predicted 3.
    predicted, labels = [0, 0, 2, 0, 3], np.array([0, 0, 0, 1, 3])
    logits = np.log(np.full((5, 4), 0.1))
    logits[np.arange(5), predicted] = np.log(0.7)
    scores = score(logits, labels, ["a", "b", "c", "d"])
    assert scores["confusion"] == [[2, 0, 1, 0], [1, 0, 0, 0], [0] * 4, [0, 0, 0, 1]]
    assert scores["accuracy"] == pytest.approx(3 / 5)
    assert scores["interval95"] == wilson_interval(3, 5)
    assert scores["loss"] == pytest.approx(-(3 * np.log(0.7) + 2 * np.log(0.1)) / 5)
    assert scores["count"] == 5
    assert scores["classes"] == ["a", "b", "c", "d"]
    assert scores["per_class"] == {
        "a": {"count": 3, "precision": 2 / 3, "recall": 2 / 3},
        "b": {"count": 1, "precision": None, "recall": 0.0},
        "c": {"count": 0, "precision": 0.0, "recall": None},
        "d": {"count": 1, "precision": 1.0, "recall": 1.0},
    }


def test_a_certain_error_costs_a_finite_loss_and_nan_stays_nan() -> None:
    certain = np.array([[0.0, 1e5]], np.float32)
    assert 100 < score(certain, np.array([0]), ["a", "b"])["loss"] < np.inf
    broken = np.full((1, 2), np.nan, np.float32)
    assert np.isnan(score(broken, np.array([0]), ["a", "b"])["loss"])


def test_the_calibration_error_of_a_hand_example() -> None:
    """20 images in 10 bins of two, in shuffled order."""
    confidence = np.linspace(0.52, 0.9, 20)
    correct = np.array([0, 1] * 5 + [1, 1] * 4 + [0, 0])
    expected = 0.0
    for start in range(0, 20, 2):
        pair = slice(start, start + 2)
        expected += abs(correct[pair].mean() - confidence[pair].mean()) * 2 / 20
    shuffled = np.random.default_rng(0).permutation(20)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)[shuffled]
    labels = (1 - correct)[shuffled]
    assert calibration_error(probabilities, labels) == pytest.approx(expected)
    rows = reliability(probabilities, labels)
    assert [row["count"] for row in rows] == [2] * 10
    assert rows[0]["confidence"] == pytest.approx(confidence[:2].mean())
    assert [row["accuracy"] for row in rows] == [0.5] * 5 + [1.0] * 4 + [0.0]


def test_bins_differ_by_one_image_at_most_and_few_images_get_fewer() -> None:
    probabilities = softmax(np.random.default_rng(0).normal(size=(23, 3)))
    rows = reliability(probabilities, np.zeros(23, int))
    assert sorted(row["count"] for row in rows) == [2] * 7 + [3] * 3
    assert len(reliability(probabilities[:4], np.zeros(4, int))) == 4
    certain = np.array([[1.0, 0.0, 0.0]])
    assert [calibration_error(certain, np.array([i])) for i in (0, 1)] == [0, 1]


def test_only_answers_of_the_threshold_count() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.45, 0.55]])
    labels = np.array([0, 1, 0, 1])
    assert selective_accuracy(probabilities, labels, 0.6) == {
        "threshold": 0.6,
        "count": 3,
        "coverage": 0.75,
        "accuracy": 1 / 3,
        "interval95": wilson_interval(1, 3),
    }
    none = selective_accuracy(probabilities, labels, 0.95)
    assert (none["count"], none["accuracy"], none["interval95"]) == (0, None, None)


def test_coverage_grows_from_the_most_confident_image_to_all() -> None:
    confidence = np.array([0.9, 0.6, 0.8, 0.55])
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    curve = coverage_curve(probabilities, np.array([0, 1, 1, 0]))
    assert curve == [(0.25, 1.0), (0.5, 0.5), (0.75, 1 / 3), (1.0, 0.5)]
    many = np.tile(probabilities, (100, 1))
    assert len(coverage_curve(many, np.zeros(400, int))) == 100
