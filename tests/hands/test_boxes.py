"""The upright box of a hand: where its palm says, and within the photograph."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from signjax.data.image import CropResize, load_images
from signjax.data.listing import list_images
from signjax.hands.boxes import Box, BoxFinder, make_box_finder, view
from signjax.hands.weights import PALM, open_networks

GOLDEN = "tests/golden/mediapipe_hands.npz"


def anchor(column: int, row: int) -> int:
    """Of the coarse grid, 12 cells of 16 pixels a side."""
    return 1152 + 6 * (row * 12 + column)


def finder(*anchors: int, palm: float, turned: bool = False) -> BoxFinder:
    """Sees a palm, so many pixels of the view wide and high, at these anchors."""

    def outputs(params: None, views: jax.Array) -> tuple[jax.Array, jax.Array]:
        raw = jnp.zeros((1, 2016, 18)).at[..., 2:4].set(palm)
        # The middle knuckle is 20 pixels above the wrist, or to the right of it.
        raw = raw.at[..., 8].set(20.0) if turned else raw.at[..., 9].set(-20.0)
        logits = jnp.full((1, 2016, 1), -99.0)
        for number in anchors:
            logits = logits.at[:, number].set(3.0)
        return raw, logits

    return BoxFinder(None, outputs)


def photograph(width: int, height: int) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("turned", "center"),
    [
        # Half of the palm, 3 of 6 pixels of the view, up from the anchor's (104, 88).
        (False, (104, 85)),
        (True, (107, 88)),
    ],
)
def test_a_box_is_around_the_hand_of_its_palm(
    turned: bool, center: tuple[float, float]
) -> None:
    """640 x 480 are 128 x 96 of the view's pixels, from (32, 48) on."""
    ((left, top, side, score),) = finder(anchor(6, 5), palm=6, turned=turned).find(
        photograph(640, 480)
    )
    assert side == round(2.6 * 0.9 * 6 * 5)
    assert left + side / 2 == pytest.approx((center[0] - 32) * 5, abs=0.6)
    assert top + side / 2 == pytest.approx((center[1] - 48) * 5, abs=0.6)
    assert score == pytest.approx(1 / (1 + np.exp(-3)))


@pytest.mark.parametrize(
    ("cell", "corner"), [((2, 3), (0, 0)), ((9, 8), (640 - 140, 480 - 140))]
)
def test_a_box_at_the_edge_is_moved_into_the_photograph(
    cell: tuple[int, int], corner: tuple[int, int]
) -> None:
    ((left, top, side, _),) = finder(anchor(*cell), palm=12).find(photograph(640, 480))
    assert (left, top) == corner and side == 140


def test_a_hand_that_fills_the_photograph_has_all_of_its_shorter_side() -> None:
    ((left, top, side, _),) = finder(anchor(6, 6), palm=40).find(photograph(640, 480))
    assert (top, side) == (0, 480) and 0 < left < 160


def test_each_hand_has_a_box_and_no_palm_has_none() -> None:
    two = finder(anchor(3, 6), anchor(8, 6), palm=6).find(photograph(400, 400))
    assert len(two) == 2 and two[0].left != two[1].left
    assert finder(palm=6).find(photograph(400, 400)) == []


@pytest.mark.parametrize("size", [(640, 480), (30, 90), (500, 2)])
def test_around_the_photograph_its_edge_goes_on(size: tuple[int, int]) -> None:
    width, height = size
    ramp = np.broadcast_to(np.linspace(0, 255, width), (height, width))
    shown = view(np.stack([ramp] * 3, axis=-1).astype(np.uint8))
    assert shown.shape == (192, 192, 3) and shown.dtype == np.float32
    inner = max(1, round(128 * width / max(size)))
    left = (192 - inner) // 2
    np.testing.assert_array_equal(shown, np.broadcast_to(shown[:1], shown.shape))
    assert (shown[0, :left] == shown[0, left]).all() and shown[0, 0, 0] < 0.1
    assert (shown[0, left + inner :] == shown[0, -1]).all() and shown[0, -1, 0] > 0.9


def test_the_hands_of_mediapipe_are_in_the_boxes(root, shared) -> None:
    """Its Python package's landmarks, on photographs of 256 pixels."""
    scenes = shared / "datasets" / "scenes"
    weights = shared / "weights" / "mediapipe_hands"
    if not (scenes.is_dir() and weights.is_dir()):
        pytest.skip("the scenes or the weights mediapipe_hands are not in shared/")
    (palm,) = open_networks(str(weights), [PALM])
    found = make_box_finder(palm, jax.devices()[0])
    images = load_images(list_images(scenes), 256, CropResize(letterbox=True))
    with np.load(root / GOLDEN) as golden:
        chosen = list(zip(golden["picture"], golden["landmarks"], strict=True))[::3]
    inside = []
    for owner, landmarks in chosen:
        boxes = found.find(images[owner])
        inside.append(max((share(box, landmarks) for box in boxes), default=0.0))
    # Most have all of the fingers; a box is smaller than MediaPipe's own square.
    assert np.mean(np.array(inside) == 1) > 0.8 and np.min(inside) > 0.8


def share(box: Box, landmarks: np.ndarray) -> float:
    """Of the landmarks, [21, 2 or more], that are in the box."""
    low = np.array([box.left, box.top])
    points = landmarks[:, :2]
    return ((points >= low) & (points <= low + box.side)).all(axis=1).mean()
