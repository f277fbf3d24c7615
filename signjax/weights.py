"""From what a person names as weights to a network's variables."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from signjax import build, workdir
from signjax.data.download import cache_directory, fetch
from signjax.pretrained.port import Ported, port
from signjax.pretrained.published import named
from signjax.pretrained.read import read_weights


class Weights(NamedTuple):
    """origin: the path or name given. sha256: of the file; empty for a workdir."""

    ported: Ported
    origin: str
    sha256: str


def open_weights(
    given: str, *, devices: list[jax.Device], warn: Callable[[str], None]
) -> Weights:
    """The weights of a file, of a trained model's workdir, or of a published name."""
    path = Path(given)
    if (path / "run.json").exists():
        return Weights(_of_workdir(path, devices, warn), given, "")
    if not path.exists():
        path = fetch(named(given).file, cache_directory() / "weights")
    source = read_weights(path)
    return Weights(port(source), given, source.sha256)


def _of_workdir(
    path: Path, devices: list[jax.Device], warn: Callable[[str], None]
) -> Ported:
    trained = workdir.load_trained(path, devices=devices, warn=warn)
    variant, preprocessing = build.ported_traits(trained.run.config)
    return Ported(
        variables=jax.tree.map(np.asarray, trained.state.variables),
        variant=variant,
        preprocessing=preprocessing,
        classes=trained.run.classes,
        coverage=(),
        notes=(),
    )
