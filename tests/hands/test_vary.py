"""Hands changed at random, and poses that are no digit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from signjax.hands.pose import from_poses, poses
from signjax.hands.vary import (
    NO_DIGITS,
    fingers_of,
    mix_fingers,
    stand_between,
    tilt,
    vary,
)

KEY = jax.random.key(0)
BASES = {
    0: (0.4, -0.3),
    1: (0.3, -1.0),
    2: (0.1, -1.05),
    3: (-0.1, -1.0),
    4: (-0.3, -0.9),
}


def hand(*stretched: int) -> np.ndarray:
    """The pose of a hand with these fingers stretched, 0 the thumb: float [21, 3]."""
    points = np.zeros((21, 3), np.float32)
    for finger, (x, y) in BASES.items():
        own = points[1 + 4 * finger : 5 + 4 * finger]
        if finger == 0:
            reach = (1.0, -0.9) if finger in stretched else (-0.1, -0.8)
            own[:, :2] = np.linspace((x, y), reach, 4)
            continue
        own[:, :2] = [(x, y), (x, y - 0.4), (x, y - 0.6), (x, y - 0.8)]
        if finger not in stretched:
            own[2:] = [(x, y - 0.4, 0.3), (x, y - 0.1, 0.2)]
    return points


# 1 to 5, and 6 and 9 with a folded thumb, as MediaPipe's landmarks may show them.
SHOWN = [(1,), (1, 2), (0, 1, 2), (1, 2, 3, 4), (0, 1, 2, 3, 4), (1, 2, 3), (2, 3, 4)]
POINTS = np.stack([np.stack([hand(*fingers)] * 2) for fingers in SHOWN * 4])


def pattern(fingers: tuple[int, ...]) -> list[bool]:
    return [finger in fingers for finger in range(5)]


def test_fingers_are_told_apart() -> None:
    stretched, curled = fingers_of(jnp.asarray(POINTS[:, 1]))
    wanted = np.array([pattern(fingers) for fingers in SHOWN * 4])
    np.testing.assert_array_equal(stretched, wanted)
    np.testing.assert_array_equal(curled, ~wanted)


def test_mixed_fingers_show_no_digit() -> None:
    mixed = mix_fingers(jnp.asarray(POINTS), KEY, 200)
    found = {tuple(row) for row in np.asarray(fingers_of(mixed[:, 1])[0]).tolist()}
    digits = {tuple(pattern(fingers)) for fingers in SHOWN}
    assert not found & digits
    assert (False,) * 5 in found  # a fist
    assert len(found) > len(NO_DIGITS) * 0.8
    # A finger stands where its own stood.
    np.testing.assert_allclose(
        mixed[:, :, 5], np.broadcast_to(POINTS[0, 0, 5], (200, 2, 3))
    )


def test_between_two_poses_is_the_middle_of_two_that_differ() -> None:
    between = np.asarray(stand_between(jnp.asarray(POINTS), KEY, 50))
    one, other = np.triu_indices(len(SHOWN), 1)
    ends = POINTS.reshape(len(POINTS), -1)[: len(SHOWN)].astype(np.float64)
    spans = ends[one] - ends[other]
    for pose in between.reshape(50, -1):
        shares = ((pose - ends[other]) * spans).sum(axis=1) / (spans**2).sum(axis=1)
        errors = np.abs(ends[other] + shares[:, None] * spans - pose).max(axis=1)
        assert errors.min() < 1e-5
        assert 0.4 <= shares[errors.argmin()] <= 0.6


@pytest.mark.parametrize("count", [0, 10])
def test_outliers_come_first_and_the_others_stay(count: int) -> None:
    records = from_poses(jnp.asarray(POINTS), jnp.ones(len(POINTS)))
    found = poses(vary(records, KEY, rotation=0.0, noise=0.0, outlier_count=count))
    np.testing.assert_allclose(found[count:], poses(records)[count:], atol=1e-5)
    if count:
        assert (
            np.abs(found[:count] - poses(records)[:count]).max(axis=(1, 2, 3)).min() > 0
        )


def test_noise_and_tilt_are_of_the_size_asked_for() -> None:
    records = from_poses(jnp.asarray(np.repeat(POINTS, 20, axis=0)), jnp.ones(560))
    before = np.asarray(poses(records))
    noisy = np.asarray(
        poses(vary(records, KEY, rotation=0.0, noise=0.02, outlier_count=0))
    )
    assert 0.015 < (noisy - before)[:, :, 8].std() < 0.035
    turned = np.asarray(
        poses(vary(records, KEY, rotation=20.0, noise=0.0, outlier_count=0))
    )
    assert np.abs(turned - before).max() < 2 * np.sin(np.deg2rad(25))
    assert np.abs(turned - before).max() > 0.1


def test_a_tilt_is_a_rotation_in_space() -> None:
    found = np.asarray(tilt(jnp.asarray(POINTS), jnp.full(28, 0.3), jnp.full(28, -0.2)))
    np.testing.assert_allclose(
        np.linalg.norm(found, axis=-1), np.linalg.norm(POINTS, axis=-1), atol=1e-5
    )
    about_x = np.array(
        [[1, 0, 0], [0, np.cos(0.3), -np.sin(0.3)], [0, np.sin(0.3), np.cos(0.3)]]
    )
    c, s = np.cos(-0.2), np.sin(-0.2)
    about_y = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    np.testing.assert_allclose(found, POINTS @ about_x.T @ about_y.T, atol=1e-5)


def test_no_hand_stays_none() -> None:
    records = jnp.zeros((4, 133))
    found = vary(records, KEY, rotation=20.0, noise=0.1, outlier_count=0)
    assert np.isfinite(found).all() and (np.asarray(found)[:, 126] == 0).all()
