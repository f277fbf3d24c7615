"""Hands are cut from their wall, and only the wall is replaced."""

import jax
import jax.numpy as jnp
import numpy as np

from signjax.augment.background import matte, render_backgrounds, replace_background

replace = jax.jit(replace_background, static_argnums=2)
WALL = np.array([0.78, 0.77, 0.75], np.float32)
SHADOW = 0.6 * WALL
SKIN = np.array([0.72, 0.52, 0.42], np.float32)
DARK_SKIN = np.array([0.33, 0.22, 0.17], np.float32)


def hand_before_wall(skin: np.ndarray = SKIN) -> np.ndarray:
    """[32, 32, 3]: skin in rows 16-31, columns 8-23; its shadow beside it."""
    image = np.broadcast_to(WALL, (32, 32, 3)).copy()
    image[16:, 24:28] = SHADOW
    image[16:, 8:24] = skin
    return image


def test_the_matte_is_the_hand_and_neither_wall_nor_shadow() -> None:
    for skin in (SKIN, DARK_SKIN):
        hand = np.asarray(matte(jnp.asarray(hand_before_wall(skin)[None])))[0, ..., 0]
        expected = np.zeros((32, 32))
        expected[16:, 8:24] = 1
        np.testing.assert_array_equal(hand, expected)


def test_a_new_background_leaves_the_hand_alone() -> None:
    images = jnp.asarray(np.repeat(hand_before_wall()[None], 8, axis=0))
    changed = np.asarray(replace(images, jax.random.key(0), 1.0))
    np.testing.assert_array_equal(changed[:, 16:, 8:24], images[:, 16:, 8:24])
    walls = changed[:, :16]
    assert np.abs(walls - np.asarray(images)[:, :16]).mean((1, 2, 3)).min() > 0.01
    assert np.abs(walls[1:] - walls[:1]).mean((1, 2, 3)).min() > 0.01  # each its own
    assert walls.min() >= 0 and walls.max() <= 1


def test_share_is_that_of_the_images_that_change() -> None:
    images = jnp.asarray(np.repeat(hand_before_wall()[None], 400, axis=0))
    changed = replace(images, jax.random.key(1), 0.3)
    count = (np.abs(np.asarray(changed - images)).max((1, 2, 3)) > 0).sum()
    assert 90 <= count <= 150  # 120 expected, standard deviation 9


def test_a_background_that_is_not_a_grey_wall_is_kept() -> None:
    image = hand_before_wall()
    image[:10] = (0.8, 0.5, 0.2)
    images = jnp.asarray(image[None])
    kept = replace(images, jax.random.key(0), 1.0)
    np.testing.assert_array_equal(kept, images)


def test_what_has_no_skin_is_kept() -> None:
    """A picture without colour, or a blue thing before a grey wall, is all there is."""
    grey = hand_before_wall().mean(-1, keepdims=True).repeat(3, axis=-1)
    images = jnp.asarray(np.stack([grey, hand_before_wall(np.array([0.2, 0.3, 0.7]))]))
    kept = replace(images, jax.random.key(0), 1.0)
    np.testing.assert_array_equal(kept, images)


def test_backgrounds_reach_from_dark_to_bright_and_from_plain_to_cluttered() -> None:
    drawn = np.asarray(render_backgrounds(jax.random.key(2), 200, 16, 16))
    means, spreads = drawn.mean((1, 2, 3)), drawn.std((1, 2)).mean(1)
    assert means.min() < 0.1 and means.max() > 0.9
    assert spreads.min() < 0.01 and spreads.max() > 0.1
