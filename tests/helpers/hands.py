"""A finder that reads a hand off a picture's color, in place of the networks."""

from collections.abc import Iterator

import numpy as np

from signjax.hands.find import Hand


class ColorFinder:
    """The hand of a picture shows as many fingers as its red is tens; black: no hand.

    seen: pictures looked at.
    """

    at_once = 1

    def __init__(self) -> None:
        self.seen = 0

    def find(self, images: np.ndarray) -> Iterator[list[Hand]]:
        for image in images:
            self.seen += 1
            inside = image.reshape(-1, 3).max(axis=0)
            yield (
                [hand_of(int(inside[0]) // 10, image)] * (1 + (inside[2] > 128))
                if (inside.any())
                else []
            )


def hand_of(fingers: int, image: np.ndarray) -> Hand:
    """A hand in the middle of the picture with so many fingers stretched."""
    points = np.zeros((21, 3))
    for finger in range(5):
        base = np.array([0.2 * (2 - finger), -1.0, 0])
        length = 0.8 if finger < fingers else 0.2
        steps = np.linspace(0, length, 4)[:, None] * [0, -1, 0]
        points[1 + 4 * finger : 5 + 4 * finger] = base + steps
    rng = np.random.default_rng(int(image.sum()))
    points[1:] += rng.normal(0, 0.02, (20, 3))
    side = len(image)
    landmarks = points * side / 4 + [side / 2, side * 0.75, 0]
    square = np.array([side / 2, side / 2, side, 0], np.float32)
    return Hand(
        landmarks.astype(np.float32),
        (points / 10).astype(np.float32),
        0.9,
        0.1,
        square,
        0.8,
    )
