"""Hands in pictures: palms first, then the 21 landmarks of each hand, twice.

As MediaPipe Hands does (arXiv:2006.10214), here for batches of pictures. The second
look at a hand is from the square that the first look's landmarks give.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from signjax.hands.network import Network, jitted
from signjax.hands.palms import SIDE, decode, suppress
from signjax.hands.squares import (
    crop,
    square_of_landmarks,
    square_of_palm,
    to_picture,
)

CROP = 224  # pixels a side, of what the landmark network looks at
MOST_HANDS = 4  # in a picture
PRESENCE = 0.5  # from which it is a hand, as MediaPipe has it
_AT_ONCE = 32  # pictures, on an accelerator; a CPU is fastest with one at a time


class Look(NamedTuple):
    """One way to look for palms: with a border, a share of the side; scores' limit."""

    border: float
    limit: float


# Tried in turn until a hand is found. A border, in which the picture's edge goes on,
# makes room around a hand that fills it; docs/lab-notebook.md compares them.
LOOKS = (
    Look(0.25, 0.5),
    Look(0.0, 0.5),
    Look(1.0, 0.5),
    Look(0.25, 0.2),
    Look(1.0, 0.2),
)


class Hand(NamedTuple):
    """A hand in a picture; places are in its pixels.

    landmarks: float32 [21, 3], x, y and depth from the wrist's. world: float32 [21, 3],
    meters from the hand's center. presence: in [0, 1], that it is a hand. handedness:
    in [0, 1], that of the hand which is the right one in a mirror. square: float32 [4],
    see squares.py. score: of its palm, in [0, 1].
    """

    landmarks: np.ndarray
    world: np.ndarray
    presence: float
    handedness: float
    square: np.ndarray
    score: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """left, top, right, bottom of the landmarks."""
        low, high = self.landmarks[:, :2].min(axis=0), self.landmarks[:, :2].max(axis=0)
        return (*low.tolist(), *high.tolist())


@dataclass(frozen=True)
class HandFinder:
    """Both networks, jitted. palm, landmark: params, images -> outputs."""

    palm_params: Any
    landmark_params: Any
    palm: Callable[[Any, Array], tuple[Array, ...]]
    landmark: Callable[[Any, Array], tuple[Array, ...]]
    at_once: int

    def find(
        self, images: np.ndarray, looks: Sequence[Look] = LOOKS
    ) -> Iterator[list[Hand]]:
        """The hands of each picture, uint8 [N, S, S, 3], the surest palm first.

        None where no look finds one whose presence is PRESENCE or more.
        """
        parts = [
            images[start : start + self.at_once]
            for start in range(0, len(images), self.at_once)
        ]
        # One picture at a time leaves cores idle.
        with ThreadPoolExecutor(2 if self.at_once == 1 else 1) as pool:
            for found in pool.map(partial(self._find_in, looks=looks), parts):
                yield from found

    def _find_in(self, images: np.ndarray, looks: Sequence[Look]) -> list[list[Hand]]:
        found: list[list[Hand]] = [[] for _ in images]
        for look in looks:
            missing = [i for i, hands in enumerate(found) if not hands]
            if not missing:
                break
            for i, hands in zip(
                missing, self._look(images[missing], look), strict=True
            ):
                found[i] = hands
        return found

    def _look(self, images: np.ndarray, look: Look) -> list[list[Hand]]:
        found: list[list[Hand]] = [[] for _ in images]
        filled = _fill(images, self.at_once)
        views = _view(filled, np.float32(look.border))
        squares, scores = _palms(
            *self.palm(self.palm_params, views),
            np.float32(look.border),
            np.float32(look.limit),
            images.shape[1],
        )
        scores = np.asarray(scores)[: len(images)]
        owners, places = np.nonzero(scores)
        squares = np.asarray(squares)[owners, places]
        for start in range(0, len(owners), self.at_once):
            part = slice(start, start + self.at_once)
            hands = self._landmarks(images[owners[part]], squares[part])
            for i, place, hand in zip(owners[part], places[part], hands, strict=True):
                if hand.presence >= PRESENCE and not _known(hand, found[i]):
                    found[i].append(hand._replace(score=float(scores[i, place])))
        return found

    def _landmarks(self, images: np.ndarray, squares: np.ndarray) -> list[Hand]:
        pictures = _fill(images, self.at_once)
        *_, places = self._glance(pictures, _fill(squares, self.at_once))
        values = jax.device_get((places, *self._glance(pictures, places)[:-1]))
        return [
            Hand(points, own.reshape(21, 3), float(there[0]), float(side[0]), square, 0)
            for square, points, there, side, own in zip(*values, strict=True)
        ][: len(images)]

    def _glance(self, images: np.ndarray, squares: Array) -> tuple[Array, ...]:
        """landmarks, presence, handedness, world; and the squares they give."""
        raw, *rest = self.landmark(self.landmark_params, _crop(images, squares))
        landmarks, places = _to_landmarks(raw, squares)
        return landmarks, *rest, places


def make_finder(palm: Network, landmark: Network, device: jax.Device) -> HandFinder:
    """The finder of both networks, as `network.read_network` reads them."""
    palm_params, find_palms = jitted(palm, device)
    landmark_params, find_landmarks = jitted(landmark, device)
    at_once = 1 if device.platform == "cpu" else _AT_ONCE
    return HandFinder(palm_params, landmark_params, find_palms, find_landmarks, at_once)


def _fill(values: np.ndarray, count: int) -> Any:
    """Zeros after them up to `count`, so that one program serves all."""
    if len(values) == count:
        return values
    return np.pad(values, [(0, count - len(values))] + [(0, 0)] * (values.ndim - 1))


def _known(hand: Hand, others: Sequence[Hand]) -> bool:
    """Whether the landmarks of two palms have come to be of one hand."""
    size = hand.square[2]
    distances = [np.abs(hand.landmarks - x.landmarks).mean() for x in others]
    return any(distance < 0.1 * size for distance in distances)


@jax.jit
def _view(images: Array, border: Array) -> Array:
    """What the palm detector looks at: float32 [B, 192, 192, 3].

    The square of each whole picture with its border, bilinear. It is upright, so its
    rows are read first and then its columns, a tenth of the work of `crop`.
    """
    side = images.shape[1]
    # Pixels between those that are read would be lost: each is a mean of several.
    fine = max(1, round(side / SIDE))
    steps = (jnp.arange(fine * SIDE) + 0.5) / (fine * SIDE) - 0.5
    places = jnp.clip(side * ((1 + 2 * border) * steps + 0.5) - 0.5, 0, side - 1)
    low = jnp.floor(places).astype(jnp.int32)
    high = jnp.minimum(low + 1, side - 1)
    share = places - low

    def rows(x: Array) -> Array:
        # A sum of gathers is one loop; the mean over an axis would be another.
        total = jnp.zeros(())
        for k in range(fine):
            own = share[k::fine, None, None][None]
            total += x[:, low[k::fine]] * (1 - own) + x[:, high[k::fine]] * own
        return total / fine

    columns = rows(images.astype(jnp.float32)).swapaxes(1, 2)
    return rows(columns).swapaxes(1, 2) / 255


@partial(jax.jit, static_argnums=4)
def _palms(
    raw: Array, logits: Array, border: Array, limit: Array, side: int
) -> tuple[Array, Array]:
    """(squares of hands, float [B, MOST_HANDS, 4], scores [B, MOST_HANDS])."""
    palms, scores = suppress(*decode(raw, logits), limit=limit, most=MOST_HANDS)
    scale = side * (1 + 2 * border)
    shift = jnp.tile(-side * border, 18).at[2:4].set(0)[None, None]
    return square_of_palm(palms * scale + shift), scores


@jax.jit
def _crop(images: Array, squares: Array) -> Array:
    return crop(images, squares, CROP)


@jax.jit
def _to_landmarks(raw: Array, squares: Array) -> tuple[Array, Array]:
    """(landmarks in the picture, float [B, 21, 3]; the squares they give, [B, 4])."""
    points = raw.reshape(-1, 21, 3) / CROP
    places = to_picture(points[..., :2], squares)
    depth = points[..., 2:] * squares[:, 2, None, None]
    return jnp.concatenate([places, depth], axis=-1), square_of_landmarks(places)
