"""From pictures to records of hands, each found once and kept in the cache."""

import hashlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import jax
import numpy as np
from PIL import Image, ImageDraw

from signjax.data.stream import Images, in_parts
from signjax.errors import RunError
from signjax.hands.find import LOOKS, Hand, HandFinder
from signjax.hands.pose import RECORD, to_hand, to_record
from signjax.hands.weights import LANDMARK, NAME, PALM, open_finder
from signjax.runtime.files import cache_directory, write_bytes

_BONES = [(0, 1), (0, 5), (0, 17), (5, 9), (9, 13), (13, 17)]
_BONES += [(i, i + 1) for first in (1, 5, 9, 13, 17) for i in range(first, first + 3)]
_COLORS = ("#e6194b", "#f58231", "#ffe119", "#3cb44b", "#4363d8")


@dataclass
class HandInputs:
    """given: the hand networks, as `open_finder` takes them. device: they run on it."""

    given: str
    device: jax.Device
    _known: dict[str, np.ndarray] = field(default_factory=dict)
    _finder: HandFinder | None = None

    def __call__(self, images: Images) -> np.ndarray:
        """The first hand of each picture as a record, float32 [N, 133]; zeros: none.

        images: uint8 [N, S, S, 3]. Raises as `open_finder`, where one is not known yet.
        """
        first = [
            hands[0] if len(hands) else np.zeros(RECORD, np.float32)
            for part in in_parts(images)
            for hands in self.records(part)
        ]
        return np.stack(first)

    def records(self, images: np.ndarray) -> list[np.ndarray]:
        """All hands of each picture: float32 [hands, 133]."""
        keys = [
            hashlib.sha256(np.ascontiguousarray(x).data).hexdigest() for x in images
        ]
        folder = self._folder()
        missing = []
        for index, key in enumerate(keys):
            if key not in self._known:
                stored = _read(folder / f"{key}.f32")
                if stored is None:
                    missing.append(index)
                else:
                    self._known[key] = stored
        for index, hands in zip(missing, self._find(images, missing), strict=True):
            found = np.array([to_record(hand) for hand in hands], np.float32)
            self._known[keys[index]] = found = found.reshape(-1, RECORD)
            write_bytes(folder / f"{keys[index]}.f32", found.tobytes())
        return [self._known[key] for key in keys]

    def hands(self, images: np.ndarray) -> list[list[Hand]]:
        """All hands of each picture; nothing is read from the cache or kept there."""
        return list(self._find(images, range(len(images))))

    def drawn(self, images: np.ndarray) -> list[np.ndarray]:
        """The pictures with box and landmarks of each hand drawn, uint8 [S, S, 3]."""
        pairs = zip(images, self.records(images), strict=True)
        return [draw(image, [to_hand(x) for x in hands]) for image, hands in pairs]

    def _find(
        self, images: np.ndarray, chosen: "list[int] | range"
    ) -> Iterator[list[Hand]]:
        if not len(chosen):
            return
        self._finder = self._finder or open_finder(self.given, self.device)
        quiet = len(chosen) < 2 * self._finder.at_once or not sys.stderr.isatty()
        from rich.console import Console
        from rich.progress import track

        found = self._finder.find(images[np.asarray(chosen)])
        console = Console(stderr=True)
        yield from track(
            found, "finding hands", total=len(chosen), console=console, disable=quiet
        )

    def _folder(self) -> Path:
        """Another for other networks or looks, as they find other hands."""
        digests = [part.file.sha256 for part in (PALM, LANDMARK)]
        if self.given != NAME:
            folder = Path(os.path.expanduser(self.given))
            names = [part.file.name for part in (PALM, LANDMARK)]
            digests = [
                hashlib.sha256((folder / name).read_bytes()).hexdigest()
                for name in names
                if (folder / name).is_file()
            ]
        key = hashlib.sha256(f"{digests}{LOOKS}".encode()).hexdigest()[:16]
        place = cache_directory() / "hands" / key
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot write to {place}: {error.strerror}") from error
        return place


def _read(path: Path) -> np.ndarray | None:
    """The records of a file; None where there is none, or it is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if len(content) % (4 * RECORD):
        return None
    return np.frombuffer(content, np.float32).reshape(-1, RECORD)


def draw(image: np.ndarray, hands: "list[Hand]") -> np.ndarray:
    """The picture, uint8 [H, W, 3], with each hand's box, bones and joints drawn."""
    shown = Image.fromarray(image)
    pen = ImageDraw.Draw(shown)
    width = max(1, min(shown.size) // 128)
    for hand in hands:
        places = [(float(x), float(y)) for x, y in hand.landmarks[:, :2]]
        pen.rectangle(hand.box, outline="white", width=width)
        for one, other in _BONES:
            color = _COLORS[max(0, other - 1) // 4] if one else "white"
            pen.line([places[one], places[other]], fill=color, width=width)
        for x, y in places:
            pen.ellipse([x - width, y - width, x + width, y + width], fill="white")
    return np.array(shown)
