"""A pose is the same wherever, however large, however turned a hand is."""

import jax.numpy as jnp
import numpy as np
import pytest

from signjax.hands.find import Hand
from signjax.hands.pose import (
    FEATURES,
    RECORD,
    features,
    from_poses,
    poses,
    straightness,
    thumb_reach,
    to_hand,
    to_record,
)


def some_hand(seed: int = 0, **changed) -> Hand:
    rng = np.random.default_rng(seed)
    points = rng.normal(0, 1, (2, 21, 3)).astype(np.float32)
    points[:, 0] = 0
    points[:, [5, 9, 13, 17], 1] -= 4  # the knuckles above the wrist
    hand = Hand(points[0] * 20 + 50, points[1] * 0.03, 0.9, 0.2, np.arange(4.0), 0.8)
    return hand._replace(**changed)


def poses_of(*hands: Hand) -> np.ndarray:
    return np.asarray(poses(jnp.stack([to_record(hand) for hand in hands])))


def test_a_record_holds_a_hand() -> None:
    hand, found = some_hand(), to_hand(to_record(some_hand()))
    for one, other in zip(hand, found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_a_pose_is_numpys() -> None:
    """Wrist at zero, the knuckles' middle straight up, their mean distance 1."""
    hand = some_hand()
    (found,) = poses_of(hand)
    for own, points in zip(found, (hand.landmarks, hand.world), strict=True):
        moved = points.astype(np.float64) - points[0]
        knuckles = moved[[5, 9, 13, 17]]
        direction = knuckles.mean(axis=0)[:2]
        angle = np.arctan2(direction[0], -direction[1])
        turn = np.array(
            [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
        )
        moved[:, :2] = moved[:, :2] @ turn.T
        wanted = moved / np.linalg.norm(knuckles, axis=1).mean()
        np.testing.assert_allclose(own, wanted, atol=1e-4)
        assert abs(own[[5, 9, 13, 17], 0].mean()) < 1e-4


@pytest.mark.parametrize("angle", [0.5, -2.0, 3.1])
def test_place_size_and_turn_change_no_pose(angle: float) -> None:
    hand = some_hand()
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    moved = hand._replace(
        landmarks=3 * hand.landmarks @ turn.T + [100, -7, 0], world=hand.world @ turn.T
    )
    one, other = poses_of(hand, moved)
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_the_other_hand_has_the_mirrored_pose() -> None:
    hand = some_hand()
    mirror = np.array([-1, 1, 1])
    other = hand._replace(
        landmarks=hand.landmarks * mirror, world=hand.world * mirror, handedness=0.8
    )
    one, two = poses_of(hand, other)
    np.testing.assert_allclose(one, two, atol=1e-4)


def test_records_of_poses_give_the_poses_back() -> None:
    found = poses_of(some_hand(1), some_hand(2))
    again = poses(from_poses(jnp.asarray(found), jnp.ones(2)))
    np.testing.assert_allclose(again, found, atol=1e-5)


def test_features_are_the_pose_and_what_lies_between_fingertips() -> None:
    record = jnp.asarray(to_record(some_hand()))
    found = np.asarray(features(record[None]))[0]
    (pose,) = poses_of(some_hand())
    assert found.shape == (FEATURES,) and found[-1] == 1
    np.testing.assert_allclose(found[:126], pose.ravel(), atol=1e-5)
    tips = pose[1, [4, 8, 12, 16, 20]].astype(np.float64)
    wanted = [np.linalg.norm(tip) for tip in tips]
    for i in range(5):
        wanted += [np.linalg.norm(tips[i] - tips[j]) for j in range(i + 1, 5)]
    np.testing.assert_allclose(found[126:141], wanted, atol=1e-4)


def test_no_hand_is_finite_and_said_to_be_none() -> None:
    found = np.asarray(features(jnp.zeros((1, RECORD))))
    assert np.isfinite(found).all() and found[0, -1] == 0


def test_a_straight_finger_is_straight_and_a_far_thumb_reaches() -> None:
    points = np.zeros((21, 3))
    points[5:9, 1] = [-1.0, -1.5, -1.8, -2.0]
    points[9:13] = [[1, -1, 0], [1, -2, 0], [2, -2, 0], [2, -1, 0]]
    found = np.asarray(straightness(jnp.asarray(points)))
    np.testing.assert_allclose(found[[1, 2]], [1, 1 / 3], atol=1e-6)
    points[4], points[13] = [3, 0, 0], [0, 4, 0]
    assert float(thumb_reach(jnp.asarray(points))) == pytest.approx(5)
