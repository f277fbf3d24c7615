"""Synthetic hands: the same key the same bytes, and every digit is what it says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from signjax.synthetic import hand, render

EXEMPLARY = jnp.full(30, 0.5)
trace = jax.jit(render._trace, static_argnums=1)


@jax.jit
def exemplary(digit: jax.Array) -> hand.Pose:
    return hand.choose_pose(EXEMPLARY, digit)


def posed(draws: np.ndarray, digits: np.ndarray, pose_jitter: float):
    """Poses and the joints of thumb and fingers for a batch of draws."""

    @jax.jit
    @jax.vmap
    def pose(draw, digit):
        pose = hand.choose_pose(draw, digit, pose_jitter)
        fingers = hand.finger_joints(pose)
        return fingers, hand.thumb_joints(pose, fingers)

    return jax.tree.map(np.asarray, pose(jnp.asarray(draws), jnp.asarray(digits)))


@jax.jit
def surface_of(pose: hand.Pose, shift: jax.Array) -> render._Surface:
    turned = hand.turn_hand(hand.build_hand(pose), pose)
    zoom, distance = jnp.asarray(26.0), jnp.asarray(60.0)
    return render._trace(render._project(turned, zoom, shift, distance), 96)


def test_same_key_same_bytes():
    digits = np.arange(40) % 10
    first = np.asarray(render.render_hands(jax.random.key(3), digits))
    again = np.asarray(render.render_hands(jax.random.key(3), digits))
    other = np.asarray(render.render_hands(jax.random.key(4), digits))
    assert first.shape == (40, 64, 64, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean(axis=(1, 2, 3)).min() > 0.5


def test_an_image_does_not_depend_on_how_many_are_rendered():
    digits = np.full(render._CHUNK + 5, 5)
    many = np.asarray(render.render_hands(jax.random.key(0), digits))
    few = np.asarray(render.render_hands(jax.random.key(0), digits[:3]))
    assert len(many) == len(digits)
    np.testing.assert_array_equal(many[:3], few)
    # Equal digits are still different images, across chunks too.
    assert len(np.unique(many.reshape(len(many), -1), axis=0)) == len(many)


def raised_fingers(mask: np.ndarray) -> np.ndarray:
    """Angles (degrees) at which an arc above the palm meets a finger.

    The palm is the deepest spot of the mask; the arc is twice that depth away.
    """
    inside, outside = np.argwhere(mask), np.argwhere(~mask)
    depth = np.array([np.hypot(*(outside - spot).T).min() for spot in inside[::3]])
    row, column = inside[::3][depth.argmax()]
    angles = np.radians(np.arange(0, 180, 0.5))
    rows = np.round(row - 2.05 * depth.max() * np.sin(angles)).astype(int)
    columns = np.round(column + 2.05 * depth.max() * np.cos(angles)).astype(int)
    met = np.pad(mask[rows, columns].astype(int), 1)
    starts, ends = np.flatnonzero(np.diff(met) == 1), np.flatnonzero(np.diff(met) == -1)
    return (starts + ends) / 4


def test_digits_raise_the_fingers_of_their_sign():
    def mask(digit: int) -> np.ndarray:
        pose = exemplary(jnp.asarray(digit))
        front = pose._replace(yaw=jnp.asarray(0.0))
        return np.asarray(surface_of(front, jnp.zeros(2)).coverage) > 0.5

    open_hand = raised_fingers(mask(5))  # thumb, index, middle, ring, little finger
    assert len(open_hand) == 5
    signs = {
        0: [],
        1: [1],
        2: [1, 2],
        3: [0, 1, 2],
        4: [1, 2, 3, 4],
        6: [1, 2, 3],
        7: [1, 2, 4],
        8: [1, 3, 4],
        9: [2, 3, 4],
    }
    for digit, fingers in signs.items():
        angles = raised_fingers(mask(digit))
        nearest = np.abs(angles[:, None] - open_hand).argmin(axis=1)
        assert nearest.tolist() == fingers, f"digit {digit}: {angles}"


@pytest.mark.parametrize("pose_jitter", [0.0, 1.0])
def test_thumb_meets_the_finger_of_its_digit(pose_jitter):
    digits = np.repeat([6, 7, 8, 9], 50)
    draws = np.random.default_rng(0).random((200, 30), np.float32)
    fingers, thumb = posed(draws, digits, pose_jitter)
    gaps = np.linalg.norm(fingers[:, :, 3] - thumb[:, None, 3], axis=-1)
    np.testing.assert_array_equal(gaps.argmin(axis=1), 9 - digits)
    # The balls at the tips, of about 0.8 cm each, touch.
    assert gaps.min(axis=1).max() < 2.4
    lengths = np.linalg.norm(np.diff(thumb, axis=1), axis=-1)
    np.testing.assert_allclose(lengths, np.tile(hand.THUMB_BONES, (200, 1)), rtol=1e-3)


def test_pose_jitter_brings_fingers_together_and_thumbs_to_the_palm():
    draws = np.random.default_rng(0).random((300, 30), np.float32)

    def close_and_aside(pose_jitter: float) -> tuple[float, float]:
        """Shares of open hands: two fingertips 2.3 cm apart, thumb near."""
        fingers, thumb = posed(draws, np.full(300, 5), pose_jitter)
        gaps = np.linalg.norm(np.diff(fingers[:, :, 3], axis=1), axis=-1)
        assert (np.diff(fingers[:, :, 3, 0], axis=1) < 0).all()  # none crosses another
        aside = thumb[:, 3, 0] - fingers[:, 0, 0, 0]
        return np.mean(gaps.min(axis=1) < 2.3), np.mean(aside < 4.5)

    close, aside = close_and_aside(0.0)
    assert close < 0.03
    assert aside == 0
    close, aside = close_and_aside(1.0)
    assert 0.1 < close < 0.6
    assert 0.2 < aside < 0.6


@pytest.mark.parametrize("pose_jitter", [0.0, 1.0])
def test_thumb_is_beside_or_before_the_palm_as_its_digit_says(pose_jitter):
    draws = np.random.default_rng(0).random((300, 30), np.float32)
    index = 2.7 + 1.03  # edge of the palm, cm to the thumb's side
    for digit in (3, 5):
        _, thumb = posed(draws, np.full(300, digit), pose_jitter)
        assert thumb[:, 3, 0].min() > index
    _, thumb = posed(draws, np.full(300, 4), pose_jitter)
    assert thumb[:, 3, 0].max() < 2.7
    assert thumb[:, 3, 2].min() > 0


def test_left_hand_is_the_right_hand_mirrored():
    for digit in (0, 3, 6):
        pose = exemplary(jnp.asarray(digit))
        right = surface_of(pose._replace(roll=jnp.asarray(20.0)), jnp.array([0.3, 0.1]))
        mirrored = pose._replace(roll=jnp.asarray(-20.0), mirror=-pose.mirror)
        left = surface_of(mirrored, jnp.array([-0.3, 0.1]))
        # Rounding moves an outline by far less than a thousandth of a pixel.
        np.testing.assert_allclose(left.coverage, right.coverage[:, ::-1], atol=1e-3)
        difference = left.normal_x + right.normal_x[:, ::-1]
        assert np.mean(np.abs(difference) > 1e-2) < 1e-3


@pytest.mark.parametrize("pose_jitter", [0.0, 1.0])
def test_hand_stays_in_the_frame(pose_jitter):
    draws = np.random.default_rng(1).random((100, 34), np.float32)

    @jax.jit
    @jax.vmap
    def corners(draw, digit):
        pose = hand.choose_pose(draw[:30], digit, pose_jitter)
        turned = hand.turn_hand(hand.build_hand(pose), pose)
        shift = 2 * draw[30:32] - 1
        placed = render._project(turned, 19 + 10 * draw[32], shift, 40 + 50 * draw[33])
        reach = placed.radii[2:, 1, None]
        return placed.end[2:, :2] - reach, placed.end[2:, :2] + reach

    low, high = corners(jnp.asarray(draws), jnp.arange(100) % 10)
    assert low.min() > -1.0
    assert high.max() < 1.0


def test_surface_is_the_union_of_balls_along_the_bone():
    start, end = np.array([-0.4, -0.2, 0.0]), np.array([0.1, 0.3, 0.6])
    radius, size = 0.25, 48
    capsule = hand.Capsules(
        jnp.asarray(start[None], jnp.float32),
        jnp.asarray(end[None], jnp.float32),
        jnp.full((1, 2), radius),
        jnp.full(1, 0.01),
    )
    surface = jax.tree.map(np.asarray, trace(capsule, size))
    at = (np.arange(size) + 0.5) * 2 / size - 1
    balls = start + np.linspace(0, 1, 400)[:, None] * (end - start)
    away = (at[None, None] - balls[:, 0, None, None]) ** 2
    away = away + (-at[None, :, None] - balls[:, 1, None, None]) ** 2
    rise = np.sqrt(np.maximum(radius**2 - away, 0)) + balls[:, 2, None, None]
    truth = np.where(away < radius**2, rise, -np.inf).max(axis=0)
    inside = surface.coverage == 1
    # Right at a ball's outline the slope is clipped, to keep shading finite.
    np.testing.assert_allclose(surface.height[inside], truth[inside], atol=0.03)
    area = 2 * radius * np.hypot(0.5, 0.5) + np.pi * radius**2
    assert surface.coverage.sum() * (2 / size) ** 2 == pytest.approx(area, rel=0.01)
