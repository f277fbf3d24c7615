"""Temperature and threshold against a plain search, and what they promise."""

import json
import math

import numpy as np
import pytest

from signjax.evaluation.calibration import (
    Calibration,
    choose_threshold,
    fit,
    fit_temperature,
)
from signjax.evaluation.metrics import softmax


def sample(temperature: float, count: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Logits that are `temperature` times too large for the labels drawn from them."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(0, 2, (count, 5))
    labels = [rng.choice(5, p=row) for row in softmax(honest)]
    return (honest * temperature).astype(np.float32), np.array(labels)


def smoothed_loss(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """Cross-entropy with one image added that shows every class alike."""
    count = len(labels)
    logs = logits.astype(np.float64) / temperature
    logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
    of_labels = logs[np.arange(count), labels]
    return float(-np.sum(count * of_labels + logs.mean(axis=1)) / (count + 1))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_is_that_of_a_grid_search(temperature: float) -> None:
    logits, labels = sample(temperature, 300)
    grid = temperature * np.geomspace(0.5, 2, 401)
    losses = [smoothed_loss(logits, labels, t) for t in grid]
    best = grid[int(np.argmin(losses))]
    assert fit_temperature(logits, labels) == pytest.approx(best, rel=0.005)
    assert best == pytest.approx(temperature, rel=0.2)


def test_without_an_error_confidence_stays_below_that_of_many_more_images() -> None:
    for count in (50, 500):
        logits = np.tile(np.array([[3.0, 0, 0, 0]], np.float32), (count, 1))
        labels = np.zeros(count, int)
        temperature = fit_temperature(logits, labels)
        sure = softmax(logits / temperature)[0, 0]
        # All but the added image's share of the three other classes.
        assert sure == pytest.approx(1 - 0.75 / (count + 1), abs=1e-6)


def test_labels_never_change_and_useless_logits_become_even() -> None:
    logits, labels = sample(4.0, 300)
    calibration = fit(logits, labels, step=1)
    before, after = logits.argmax(-1), calibration.probabilities(logits).argmax(-1)
    assert before.tolist() == after.tolist()
    random = np.random.default_rng(0).integers(0, 5, 300)
    assert fit(logits, random, step=1).probabilities(logits).max() < 0.5


def test_calibration_brings_down_loss_and_error_on_new_images() -> None:
    calibration = fit(*sample(4.0, 500), step=7)
    assert calibration.loss[1] < calibration.loss[0]
    assert calibration.ece[1] < 0.06 < 0.15 < calibration.ece[0]
    logits, labels = sample(4.0, 2000, seed=1)
    correct = logits.argmax(-1) == labels
    confidence = calibration.probabilities(logits).max(-1)
    assert abs(confidence.mean() - correct.mean()) < 0.03
    assert (calibration.step, calibration.count) == (7, 500)


def error_bound(wrong: int, count: int) -> float:
    """The share of errors whose score test just fails at 5%, found by halving."""
    low, high = wrong / count, 1.0
    for _ in range(60):
        share = (low + high) / 2
        distance = (share - wrong / count) / math.sqrt(share * (1 - share) / count)
        low, high = (low, share) if distance > 1.959964 else (share, high)
    return low


def test_the_threshold_is_the_smallest_that_keeps_the_risk() -> None:
    rng = np.random.default_rng(3)
    confidence = rng.choice(np.linspace(0.2, 1, 60), 400)  # with ties
    correct = rng.random(400) < 0.5 + 0.5 * confidence**0.3
    allowed = []
    for threshold in np.unique(confidence):
        given = confidence >= threshold
        if error_bound(int(np.sum(~correct[given])), int(given.sum())) <= 0.12:
            allowed.append(threshold)
    assert 3 < len(allowed) < 57
    assert choose_threshold(confidence, correct, 0.12) == min(allowed)


def test_few_images_promise_nothing_and_ties_are_answered_all_or_none() -> None:
    sure, right = np.full(80, 0.9), np.ones(80, bool)
    assert choose_threshold(sure[:72], right[:72], 0.05) is None
    assert choose_threshold(sure[:73], right[:73], 0.05) == 0.9
    right[0] = False
    assert choose_threshold(sure, right, 0.05) is None
    # 78 answers without an error would be allowed.
    confidence, correct = np.repeat([0.9, 0.5], [73, 20]), np.arange(93) < 78
    assert choose_threshold(confidence, correct, 0.05) == 0.9


def test_without_an_error_it_still_answers_only_what_it_is_sure_of() -> None:
    """A model with outlier exposure abstains at its own rate instead."""
    margin = np.geomspace(0.001, 10, 200)
    logits, labels = np.stack([margin, 0 * margin], -1), np.zeros(200, int)
    fitted = fit(logits, labels, step=1)
    confidence = 1 / (1 + np.exp(-margin / fitted.temperature))
    assert fitted.threshold == 0.8 and fitted.coverage == np.mean(confidence >= 0.8)
    assert 0.2 < fitted.coverage < 0.8
    exposed = fit(logits, labels, step=1, abstain_fraction=0.25)
    assert exposed.threshold == pytest.approx(confidence[50]) and confidence[50] < 0.8
    assert fit(logits[:50], labels[:50], step=1).threshold is None


def test_it_is_kept_as_json_to_the_bit() -> None:
    calibration = fit(*sample(2.0, 100), step=3)
    text = json.dumps(calibration.to_json())
    assert Calibration.from_json(json.loads(text)) == calibration
    stored = calibration.to_json()
    for damaged in (
        {},
        {"loss": [1, 2], "ece": [1, 2], "size": 3},
        stored | {"temperature": math.nan},
        stored | {"temperature": "1.0"},
        stored | {"temperature": 0},
        stored | {"threshold": math.nan},
        stored | {"threshold": "x"},
    ):
        with pytest.raises((KeyError, TypeError)):
            Calibration.from_json(damaged)
