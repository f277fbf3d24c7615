"""The map finds the one place a made-up network looks at."""

import numpy as np

from signjax.evaluation.occlusion import occlusion_maps, overlay


def test_the_place_that_decides_is_the_hottest() -> None:
    """The label's logit is the brightness of a corner, and nothing else counts."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (2, 32, 32, 3)).astype(np.uint8)
    images[0, 4:8, 20:24] = 255
    images[1, 24:28, 8:12] = 255
    calls = []

    def logits_of(batch: np.ndarray) -> np.ndarray:
        calls.append(batch)
        first = batch[:, 4:8, 20:24].mean((1, 2, 3)) / 50
        second = batch[:, 24:28, 8:12].mean((1, 2, 3)) / 50
        return np.stack([first, second], axis=1)

    maps = occlusion_maps(logits_of, images, np.array([0, 1]))
    assert maps.shape == (2, 32, 32)
    for heat, place in ((maps[0], (5, 21)), (maps[1], (25, 9))):
        assert heat[place] == heat.max() > 0.5
        assert np.mean(heat > 0.25 * heat.max()) < 0.35
    # In one call: the image itself and 49 covered ones, each only where covered.
    (views,) = calls
    assert views.shape == (100, 32, 32, 3)
    views = views.reshape(2, 50, 32, 32, 3)
    assert (views[:, 0] == images).all()
    changed = (views[:, 1:] != images[:, None]).any(axis=-1)
    assert changed.sum(axis=(2, 3)).max() <= 64
    assert changed.any(axis=1).mean() > 0.95


def test_what_covering_helps_is_negative() -> None:
    image = np.full((1, 16, 16, 3), 20, np.uint8)
    image[0, :4, :4] = 220

    def logits_of(batch: np.ndarray) -> np.ndarray:
        speaks_against = batch[:, :4, :4].mean((1, 2, 3)) / 50
        return np.stack([-speaks_against, 0 * speaks_against], axis=1)

    heat = occlusion_maps(logits_of, image, np.array([0]))[0]
    assert heat[1, 1] == heat.min() < 0
    assert abs(heat[12, 12]) < 1e-9


def test_heat_is_red_and_the_rest_is_gray() -> None:
    image = np.full((2, 2, 3), 100, np.uint8)
    mixed = overlay(image, np.array([[2.0, 1.0], [0.0, -5.0]])).astype(int)
    red = mixed[..., 0] - mixed[..., 1]
    assert red[0, 0] > red[0, 1] > 30
    assert red[1].tolist() == [0, 0]
    assert (overlay(image, np.zeros((2, 2))) == overlay(image, -np.ones((2, 2)))).all()
