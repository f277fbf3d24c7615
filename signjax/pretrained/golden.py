"""What other programs computed with known weights, to show that a port is exact."""

import hashlib
import json
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

from signjax import pretrained
from signjax.pretrained.port import flatten


class KnownOutput(NamedTuple):
    """images: uint8 [1, 64, 64, 3]. logits: float32 [1, classes], computed by `program`
    from the weights as they were before they were ported."""

    program: str
    images: np.ndarray
    logits: np.ndarray


def known_output(variables: dict[str, Any]) -> KnownOutput | None:
    """The output that is known of these ported variables, told by their values."""
    text = resources.files(pretrained).joinpath("golden.json").read_text()
    stored = json.loads(text).get(fingerprint(variables))
    if stored is None:
        return None
    logits = np.asarray(stored["logits"], np.float32)
    return KnownOutput(stored["program"], golden_images(), logits[None])


def fingerprint(variables: dict[str, Any]) -> str:
    """sha256 of all values, in the order of their paths, hex."""
    digest = hashlib.sha256()
    for place, leaf in sorted(flatten(variables).items()):
        digest.update(place.encode())
        digest.update(np.ascontiguousarray(leaf, np.float32).data)
    return digest.hexdigest()


def golden_images() -> np.ndarray:
    """Noise, the same everywhere: uint8 [1, 64, 64, 3]."""
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (1, 64, 64, 3), np.uint8)
