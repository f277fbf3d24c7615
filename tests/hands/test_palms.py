"""Anchors, decoding and weighted suppression, one by one in float64."""

import math

import numpy as np
import pytest

from signjax.hands.palms import anchors, decode, overlap, suppress


def mediapipe_anchors() -> np.ndarray:
    """ssd_anchors_calculator.cc by the options of palm_detection_cpu.pbtxt."""
    strides, found, layer = [8, 16, 16, 16], [], 0
    while layer < len(strides):
        last = layer
        while last < len(strides) and strides[last] == strides[layer]:
            last += 1
        cells = math.ceil(192 / strides[layer])
        for y in range(cells):
            for x in range(cells):
                # An aspect ratio and an interpolated scale a layer of that stride.
                for _ in range(2 * (last - layer)):
                    found.append([(x + 0.5) / cells, (y + 0.5) / cells])
        layer = last
    return np.array(found)


def test_anchors_are_mediapipes() -> None:
    np.testing.assert_allclose(anchors(), mediapipe_anchors(), rtol=1e-6)


def test_decoded_places_are_from_the_anchor_and_sizes_are_not() -> None:
    rng = np.random.default_rng(0)
    raw = rng.normal(0, 30, (2, 2016, 18))
    logits = rng.normal(0, 50, (2, 2016, 1))
    palms, scores = decode(raw.astype(np.float32), logits.astype(np.float32))
    for index in (0, 1151, 1152, 2015):
        x, y = mediapipe_anchors()[index]
        wanted = raw[:, index] / 192
        wanted[:, [0, *range(4, 18, 2)]] += x
        wanted[:, [1, *range(5, 18, 2)]] += y
        np.testing.assert_allclose(palms[:, index], wanted, rtol=1e-4, atol=1e-5)
    clipped = np.clip(logits[..., 0], -100, 100)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-clipped)), atol=1e-6)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    sides = [
        min(one[i] + one[2 + i] / 2, other[i] + other[2 + i] / 2)
        - max(one[i] - one[2 + i] / 2, other[i] - other[2 + i] / 2)
        for i in (0, 1)
    ]
    inside = max(sides[0], 0) * max(sides[1], 0)
    return inside / (one[2] * one[3] + other[2] * other[3] - inside)


def suppressed(palms: np.ndarray, scores: np.ndarray, limit: float):
    """non_max_suppression_calculator.cc, WEIGHTED, min_suppression_threshold 0.3."""
    left = [i for i in np.argsort(-scores, kind="stable") if scores[i] >= limit]
    found = []
    while left:
        best = left[0]
        same = [i for i in left if i == best or iou(palms[best], palms[i]) > 0.3]
        weights = scores[same]
        merged = (weights[:, None] * palms[same]).sum(axis=0) / weights.sum()
        found.append((merged, scores[best]))
        left = [i for i in left if i not in same]
    return found


@pytest.mark.parametrize("limit", [0.2, 0.5, 0.99])
def test_suppression_is_mediapipes(limit: float) -> None:
    rng = np.random.default_rng(3)
    palms = rng.uniform(0, 1, (2, 60, 18))
    palms[..., 2:4] = rng.uniform(0.2, 0.5, (2, 60, 2))
    scores = rng.uniform(0, 1, (2, 60))
    found, kept = suppress(
        palms.astype(np.float32), scores.astype(np.float32), limit=limit, most=20
    )
    for own, own_scores, values, value_scores in zip(
        found, kept, palms, scores, strict=True
    ):
        wanted = suppressed(values, value_scores, limit)
        count = min(20, len(wanted))
        assert np.count_nonzero(own_scores) == count
        for index, (merged, score) in enumerate(wanted[:20]):
            np.testing.assert_allclose(own[index], merged, rtol=1e-4)
            assert own_scores[index] == pytest.approx(score)


def test_boxes_apart_do_not_overlap_and_equal_ones_do_wholly() -> None:
    boxes = np.array([[0, 0, 2, 2], [0, 0, 2, 2], [1, 0, 2, 2], [9, 9, 1, 1]], float)
    np.testing.assert_allclose(overlap(boxes[0], boxes), [1, 1, 1 / 3, 0])
