"""Hands cut out of photographs, for a network that reads a hand held into a box."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from PIL import Image

from signjax.commands.cli import Options
from signjax.data.image import (
    CropResize,
    load_image,
    load_whole,
    square_resize,
    upright_size,
)
from signjax.hands.boxes import BoxFinder, make_box_finder
from signjax.hands.network import Network
from signjax.hands.weights import NAME, PALM, in_cache, open_networks

_ENOUGH = 2048  # pixels of a photograph's shorter side; a JPEG may be reduced to them


class Cut(NamedTuple):
    """What the network is shown: an image, uint8 [S, S, 3].

    box: where it is in its photograph, in pixels, left, top, right and bottom; None of
    what is the photograph's centered square.
    """

    image: np.ndarray
    box: list[int] | None


def palm_detector(options: Options) -> Network | None:
    """That of --weights or, for the recogniser in the box, the one in the cache.

    It is named on stderr. Raises as `open_networks`.
    """
    given = options.weights
    if not given and not options.workdir and in_cache(PALM):
        given = NAME
    if not given:
        return None
    (network,) = open_networks(given, [PALM])
    print(
        f"hands: found by MediaPipe's palm detector ({given}; Apache-2.0)",
        file=sys.stderr,
    )
    return network


def cutter(
    palm: Network | None, device: jax.Device, size: int, crop_resize: CropResize
) -> Callable[[Path], list[Cut]]:
    """Path of a photograph -> what the network is shown of it, raising InputError.

    Each hand that the palm detector finds, cut out; else the centered square alone.
    """
    if palm is None:
        return lambda path: [Cut(load_image(path, size, crop_resize), None)]
    finder = make_box_finder(palm, device)
    return partial(_cut_out, finder=finder, size=size, crop_resize=crop_resize)


def _cut_out(
    path: Path, *, finder: BoxFinder, size: int, crop_resize: CropResize
) -> list[Cut]:
    photograph = load_whole(path, _ENOUGH)
    scale = upright_size(path)[0] / photograph.shape[1]
    cuts = []
    for box in finder.find(photograph):
        image = Image.fromarray(box.cut(photograph))
        corners = (box.left, box.top, box.left + box.side, box.top + box.side)
        place = [round(scale * x) for x in corners]
        cuts.append(Cut(square_resize(image, size, crop_resize), place))
    whole = Image.fromarray(photograph)
    return cuts or [Cut(square_resize(whole, size, crop_resize), None)]
