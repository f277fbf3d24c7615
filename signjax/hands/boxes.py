"""The upright box of each hand in a photograph, by the palm detector alone.

For a network that reads pictures which one hand fills. On the development scenes it
answers boxes as well as squares that are turned with the hand or laid around its
landmarks (docs/lab-notebook.md), and a box is cut out without resampling.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from PIL import Image

from signjax.hands.network import Network, jitted
from signjax.hands.palms import SIDE, decode, suppress
from signjax.hands.squares import square_of_palm

MOST_HANDS = 4  # in a photograph
LIMIT = 0.5  # of a palm's score, from which it is one
# Pixels of the longer side in what the detector looks at; around it its edge goes on,
# which makes room for a hand that fills the photograph.
INSIDE = 128
SHARE = 0.9  # of the square that MediaPipe lays around a hand
FILLS = 0.75  # of the photograph's shorter side, from which a box takes all of it


class Box(NamedTuple):
    """A square of a photograph, in its pixels. score: of its palm, in [LIMIT, 1]."""

    left: int
    top: int
    side: int
    score: float

    def cut(self, photograph: np.ndarray) -> np.ndarray:
        """What is in it: [H, W, 3] -> [side, side, 3]."""
        left, top, side, _ = self
        return photograph[top : top + side, left : left + side]


class BoxFinder(NamedTuple):
    """The palm detector. palm: params, views float32 [1, 192, 192, 3] -> outputs."""

    params: Any
    palm: Callable[[Any, Array], tuple[Array, ...]]

    def find(self, photograph: np.ndarray) -> list[Box]:
        """The box of each hand in uint8 [H, W, 3], the surest first."""
        height, width = photograph.shape[:2]
        raw, logits = self.palm(self.params, jnp.asarray(view(photograph)[None]))
        places, scores = jax.device_get(
            boxes(raw, logits, np.array([width, height], np.int32))
        )
        return [
            Box(left, top, side, score)
            for (left, top, side), score in zip(
                places.tolist(), scores.tolist(), strict=True
            )
            if score > 0
        ]


def make_box_finder(palm: Network, device: jax.Device) -> BoxFinder:
    """The finder of the palm detector, as `network.read_network` reads it."""
    return BoxFinder(*jitted(palm, device))


def inside(size: Any) -> tuple[Any, Any]:
    """Of a photograph's width and height, whole numbers [2]: those in the view.

    And how far from its left and its upper edge they begin.
    """
    longest = size.max()
    sides = (2 * INSIDE * size + longest) // (2 * longest)
    sides = sides.clip(1)
    return sides, (SIDE - sides) // 2


def view(photograph: np.ndarray) -> np.ndarray:
    """What the detector looks at: uint8 [H, W, 3] -> float32 [192, 192, 3]."""
    sides, before = inside(np.array(photograph.shape[1::-1]))
    small = Image.fromarray(photograph).resize(
        tuple(sides.tolist()), Image.Resampling.BILINEAR
    )
    after = SIDE - sides - before
    pads = [(before[axis], after[axis]) for axis in (1, 0)]
    return np.pad(np.asarray(small), [*pads, (0, 0)], mode="edge") / np.float32(255)


@jax.jit
def boxes(raw: Array, logits: Array, size: Array) -> tuple[Array, Array]:
    """(left, top and side, int32 [MOST_HANDS, 3]; scores [MOST_HANDS], 0 for none).

    raw, logits: the detector's outputs for one view, [1, 2016, ...]. size: width and
    height of the photograph, int32 [2]. Boxes are within it.
    """
    palms, scores = suppress(*decode(raw, logits), limit=LIMIT, most=MOST_HANDS)
    sides, before = inside(size)
    scale = size / sides
    # Width and height, the third and fourth, are sizes, not places.
    shift = jnp.tile(before, 9).at[2:4].set(0)
    squares = square_of_palm((palms[0] * SIDE - shift[None]) * jnp.tile(scale, 9)[None])
    shorter = size.min()
    side = SHARE * squares[:, 2:3]
    side = jnp.where(side < FILLS * shorter, jnp.round(side), shorter)
    corner = jnp.round(squares[:, :2] - side / 2)
    corner = jnp.clip(corner, 0, size[None] - side)
    return jnp.concatenate([corner, side], axis=1).astype(jnp.int32), scores[0]
