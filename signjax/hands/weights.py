"""MediaPipe's two networks by name, fetched into the cache, or as files of a folder.

They are Google's, under Apache-2.0; nobody's weights are part of this repository.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax

from signjax.data.download import RemoteFile, fetch
from signjax.errors import InputError, RunError
from signjax.hands.find import HandFinder, make_finder
from signjax.hands.network import Network, read_network
from signjax.runtime.files import cache_directory

NAME = "mediapipe-hands"
_ASSETS = "https://storage.googleapis.com/mediapipe-assets"


class Part(NamedTuple):
    """One of the networks: its file, and the shapes it takes and gives."""

    file: RemoteFile
    inputs: tuple[int, ...]
    outputs: tuple[tuple[int, ...], ...]


PALM = Part(
    RemoteFile(
        name="palm_detection_full.tflite",
        mirrors=(f"{_ASSETS}/palm_detection_full.tflite",),
        size=2_339_846,
        sha256="1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
    ),
    inputs=(1, 192, 192, 3),
    outputs=((1, 2016, 18), (1, 2016, 1)),
)
LANDMARK = Part(
    RemoteFile(
        name="hand_landmark_full.tflite",
        mirrors=(f"{_ASSETS}/hand_landmark_full.tflite",),
        size=5_478_917,
        sha256="11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
    ),
    inputs=(1, 224, 224, 3),
    outputs=((1, 63), (1, 1), (1, 1), (1, 63)),
)


def open_finder(given: str, device: jax.Device) -> HandFinder:
    """The finder of `mediapipe-hands`, or of the folder `given` that has both files.

    Raises as `open_networks`.
    """
    palm, landmark = open_networks(given, (PALM, LANDMARK))
    return make_finder(palm, landmark, device)


def open_networks(given: str, parts: Sequence[Part]) -> list[Network]:
    """The networks `parts` of `mediapipe-hands`, or of the folder `given`.

    Raises InputError where it is neither or a file is another network; RunError where
    the files cannot be downloaded.
    """
    folder = Path(os.path.expanduser(given))
    if given == NAME:
        paths = [_fetch(part.file) for part in parts]
    elif folder.is_dir():
        paths = [folder / part.file.name for part in parts]
    else:
        raise InputError(
            f"hand networks {given}: no such folder; expected {NAME}, or a folder with "
            f"{PALM.file.name} and {LANDMARK.file.name}"
        )
    return [
        read_network(path, part.inputs, part.outputs)
        for path, part in zip(paths, parts, strict=True)
    ]


def in_cache(part: Part) -> bool:
    """Whether a network is there without a download."""
    return (_directory() / part.file.name).is_file()


def _directory() -> Path:
    return cache_directory() / "weights"


def _fetch(file: RemoteFile) -> Path:
    try:
        return fetch(file, _directory())
    except RunError as error:
        raise RunError(
            f"{error}. Without a network: put {PALM.file.name} and "
            f"{LANDMARK.file.name} into a folder and name it, "
            "--config.model.hands=FOLDER, or --weights=FOLDER of a model of pixels"
        ) from error
