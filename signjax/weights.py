"""From what a person names as weights to a network's variables."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from signjax import build, processes, workdir
from signjax.data.download import cache_directory, fetch
from signjax.errors import InputError
from signjax.models.resnet import ResNet
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
    """The weights of a file, of a trained model's workdir, or of a published name.

    Raises InputError where the name is none of these or they are not a ResNet-50's,
    RunError where a published file cannot be downloaded.
    """
    path = Path(os.path.expanduser(given))
    if path.is_dir():
        return Weights(_of_workdir(path, devices, warn), given, "")
    with processes.together():
        if not path.exists():
            path = fetch(named(given).file, cache_directory() / "weights")
        source = read_weights(path)
        weights = Weights(port(source), given, source.sha256)
    processes.require_same(f"weights {given}", weights.sha256)
    return weights


def _of_workdir(
    path: Path, devices: list[jax.Device], warn: Callable[[str], None]
) -> Ported:
    if not (path / "run.json").exists():
        raise InputError(
            f"weights {path}: a folder without run.json; expected a file of "
            "weights or the workdir of a trained model"
        )
    trained = workdir.load_trained(path, devices=devices, warn=warn)
    network = trained.network.model
    if not isinstance(network, ResNet):
        raise InputError(
            f"weights {path}: the workdir of a {type(network).__name__}; expected a "
            "ResNet-50's"
        )
    variant, preprocessing = build.ported_traits(trained.run.config)
    variables = jax.tree.map(np.asarray, trained.state.variables)
    if trained.run.blank_head:
        del variables["params"]["head"]
    return Ported(
        variables=variables,
        variant=variant,
        preprocessing=preprocessing,
        classes=None if trained.run.blank_head else trained.run.classes,
        coverage=(),
        notes=(),
    )
