"""Hands found in pictures: with networks made for the test, and with MediaPipe's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from signjax.data.image import CropResize, load_images
from signjax.data.listing import list_images
from signjax.hands.find import CROP, LOOKS, HandFinder, Look
from signjax.hands.weights import open_finder

GOLDEN = "tests/golden/mediapipe_hands.npz"
LETTERBOX = CropResize(letterbox=True)
SHAPE = np.stack(
    [np.linspace(60, 160, 21), np.linspace(200, 40, 21), np.arange(21.0)], 1
)


def finder(scores: dict[int, float], presence: float, at_once: int) -> HandFinder:
    """Of networks that see a palm at these anchors whatever the picture, and a hand."""

    def palm(params: None, views: jax.Array) -> tuple[jax.Array, ...]:
        raw = jnp.zeros((len(views), 2016, 18))
        raw = raw.at[..., 2:4].set(40).at[..., 5].set(20).at[..., 9].set(-20)
        logits = jnp.full((len(views), 2016, 1), -99.0)
        for anchor, score in scores.items():
            logits = logits.at[:, anchor].set(np.log(score / (1 - score)))
        return raw, logits

    def landmark(params: None, crops: jax.Array) -> tuple[jax.Array, ...]:
        count = len(crops)
        points = jnp.broadcast_to(jnp.asarray(SHAPE, jnp.float32).ravel(), (count, 63))
        return (
            points,
            jnp.full((count, 1), presence),
            jnp.full((count, 1), 0.25),
            points,
        )

    return HandFinder(None, None, palm, landmark, at_once)


# An anchor of the coarse grid: row 5 and column 3 of 12.
ANCHOR = 1152 + 6 * (5 * 12 + 3)


@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("count", [1, 3])
def test_each_picture_has_its_hand(at_once: int, count: int) -> None:
    images = np.zeros((count, 96, 96, 3), np.uint8)
    found = list(finder({ANCHOR: 0.9}, 0.8, at_once).find(images, [Look(0.0, 0.5)]))
    assert [len(hands) for hands in found] == [1] * count
    for (hand,) in found:
        assert (hand.presence, hand.handedness) == pytest.approx((0.8, 0.25))
        assert hand.score == pytest.approx(0.9)
        center_x, center_y, side, angle = hand.square
        x, y = side * (SHAPE[:, :2].T / CROP - 0.5)
        wanted = np.stack(
            [
                center_x + x * np.cos(angle) - y * np.sin(angle),
                center_y + x * np.sin(angle) + y * np.cos(angle),
                side * SHAPE[:, 2] / CROP,
            ],
            axis=-1,
        )
        np.testing.assert_allclose(hand.landmarks, wanted, atol=1e-3)
        low, high = wanted[:, :2].min(axis=0), wanted[:, :2].max(axis=0)
        assert hand.box == pytest.approx((*low, *high), abs=1e-3)


def test_a_border_is_taken_off_again() -> None:
    """Half of the side on each edge: all is twice as large, about the same middle."""
    images = np.zeros((1, 96, 96, 3), np.uint8)
    plain, bordered = (
        next(finder({ANCHOR: 0.9}, 0.8, 1).find(images, [Look(border, 0.5)]))[0]
        for border in (0.0, 0.5)
    )
    x, y, side, angle = plain.square
    wanted = [2 * (x - 48) + 48, 2 * (y - 48) + 48, 2 * side, angle]
    np.testing.assert_allclose(bordered.square, wanted, rtol=1e-4)


@pytest.mark.parametrize(("presence", "score"), [(0.4, 0.9), (0.8, 0.4)])
def test_what_is_no_hand_is_not_given(presence: float, score: float) -> None:
    images = np.zeros((2, 96, 96, 3), np.uint8)
    looks = [Look(0.0, 0.5), Look(1.0, 0.5)]
    assert list(finder({ANCHOR: score}, presence, 1).find(images, looks)) == [[], []]


def test_a_lower_limit_is_tried_where_nothing_was_found() -> None:
    images = np.zeros((1, 96, 96, 3), np.uint8)
    ((hand,),) = finder({ANCHOR: 0.4}, 0.8, 1).find(images, LOOKS)
    assert hand.score == pytest.approx(0.4)


def test_two_palms_of_one_hand_are_one() -> None:
    """Both first looks lead to the same landmarks only where the squares agree."""
    images = np.zeros((1, 96, 96, 3), np.uint8)
    far = 1152 + 6 * (10 * 12 + 10)
    ((*hands,),) = finder({ANCHOR: 0.9, far: 0.8}, 0.8, 1).find(images, LOOKS[:1])
    assert [round(hand.score, 3) for hand in hands] == [0.9, 0.8]
    near = ANCHOR + 6 * 2
    ((*hands,),) = finder({ANCHOR: 0.9, near: 0.8}, 0.8, 1).find(images, LOOKS[:1])
    assert len(hands) == 1


@pytest.fixture(scope="module")
def scenes(shared) -> np.ndarray:
    folder = shared / "datasets" / "scenes"
    if not folder.is_dir():
        pytest.skip("the scenes are not in shared/")
    return load_images(list_images(folder), 256, LETTERBOX)


@pytest.fixture(scope="module")
def mediapipes(shared) -> HandFinder:
    folder = shared / "weights" / "mediapipe_hands"
    if not folder.is_dir():
        pytest.skip("the weights mediapipe_hands are not in shared/")
    return open_finder(str(folder), jax.devices()[0])


def test_the_hands_are_mediapipes(root, scenes, mediapipes) -> None:
    """Its Python package's, as benchmarks/baselines/mediapipe_hands.py wrote them.

    It looks once at a hand in a still picture; the second look moves landmarks by less
    than a hundredth of the square's side.
    """
    with np.load(root / GOLDEN) as golden:
        owners, landmarks = golden["picture"], golden["landmarks"]
    chosen = np.arange(0, len(scenes), 4)
    found = list(mediapipes.find(scenes[chosen], [Look(0.0, 0.5)]))
    assert [i for i, hands in zip(chosen, found, strict=True) if hands] == [
        i for i in chosen if i in owners
    ]
    errors = [
        min(
            np.linalg.norm(hand.landmarks[:, :2] - other, axis=1).mean()
            for other in landmarks[owners == i]
        )
        / hand.square[2]
        for i, hands in zip(chosen, found, strict=True)
        for hand in hands
    ]
    assert np.median(errors) < 0.01 and max(errors) < 0.02


def test_landmarks_turn_with_the_picture(scenes, mediapipes) -> None:
    turned = np.rot90(scenes[:4], axes=(1, 2)).copy()
    pairs = zip(mediapipes.find(scenes[:4]), mediapipes.find(turned), strict=True)
    for (hand, *_), (other, *_) in pairs:
        x, y = hand.landmarks[:, 0], hand.landmarks[:, 1]
        wanted = np.stack([y, 256 - x], axis=-1)
        error = np.linalg.norm(other.landmarks[:, :2] - wanted, axis=1).mean()
        assert error < 0.03 * hand.square[2]
