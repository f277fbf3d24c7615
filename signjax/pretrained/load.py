"""From what a person names as weights to a model's variables and its config."""

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import numpy as np

from signjax import workdir
from signjax.config import Config, default_config, field
from signjax.data.download import fetch
from signjax.errors import InputError, listed
from signjax.experiment import Experiment
from signjax.pretrained.names import Variant
from signjax.pretrained.port import (
    Ported,
    flatten,
    merge,
    port,
    refuse_impossible_values,
)
from signjax.pretrained.published import Preprocessing, named
from signjax.pretrained.read import read_weights
from signjax.runtime.distributed import (
    device_put_global,
    replicated,
    require_same,
    sync_errors,
)
from signjax.runtime.files import cache_directory
from signjax.state import TrainState

Warn = Callable[[str], None]


class Weights(NamedTuple):
    """origin: the path or name given. sha256: of the file; empty for a workdir."""

    ported: Ported
    origin: str
    sha256: str


def open_weights(given: str, *, devices: list[jax.Device], warn: Warn) -> Weights:
    """The weights of a file, of a trained model's workdir, or of a published name.

    Raises InputError where the name is none of these, they are not of a network that
    this program has, or hold values that no network can have; RunError where a
    published file cannot be downloaded.
    """
    path = Path(os.path.expanduser(given))
    if (path / "run.json").exists():
        return Weights(_of_workdir(path, devices, warn), given, "")
    with sync_errors():
        if path.is_dir() and not (path / "config.json").exists():
            raise InputError(
                f"weights {path}: a folder without run.json or config.json; expected a "
                "file of weights, the workdir of a trained model or a folder of "
                "Hugging Face's"
            )
        if not path.exists():
            path = fetch(named(given).file, cache_directory() / "weights")
        source = read_weights(path)
        weights = Weights(port(source), given, source.sha256)
    require_same(f"weights {given}", weights.sha256)
    return weights


def _of_workdir(path: Path, devices: list[jax.Device], warn: Warn) -> Ported:
    trained = workdir.load_trained(path, devices=devices, warn=warn)
    variables = jax.tree.map(np.asarray, trained.state.variables)
    leaves = flatten(variables)
    refuse_impossible_values(str(path), {"/".join(p): x for p, x in leaves.items()})
    config, blank = trained.run.config, trained.run.blank_head
    if blank:
        del variables["params"]["head"]
    return Ported(
        network=config.model.name,
        variables=variables,
        variant=cast(Variant, {k: config.model[k] for k in Variant.__annotations__}),
        preprocessing=_preprocessing_of(config),
        classes=None if blank else trained.run.classes,
        coverage=(),
        notes=(),
    )


def _preprocessing_of(config: Config) -> Preprocessing:
    keys = ("mean", "std", "image_size", "crop", "interpolation")
    return Preprocessing(**{key: config.data[key] for key in keys}, **config.tta)


def ported_config(ported: Ported) -> Config:
    """The config of a workdir that holds ported weights and has not trained."""
    config = default_config()
    config.name = "ported"
    config.model.name = ported.network
    config.model.update(ported.variant)
    preprocessing = ported.preprocessing._asdict()
    for key in ("flip", "rotation"):
        config.augment[key] = config.tta[key] = preprocessing.pop(key)
    config.data.update(preprocessing)
    return config


def follow_weights(
    config: Config, ported: Ported, chosen: Collection[str]
) -> tuple[Config, str]:
    """`config` with the network and the channel statistics of the weights.

    The size and the cropping of images are free. Returns what was changed, too, as
    `key=value, ...`.
    chosen: keys that the person set and that are not changed. Raises InputError, with
    all of them that differ from what the weights need.
    """
    needed = {
        "model.name": ported.network,
        **{f"model.{key}": value for key, value in ported.variant.items()},
        "data.mean": ported.preprocessing.mean,
        "data.std": ported.preprocessing.std,
    }
    del needed["model.bn_momentum"]  # of training alone
    differing = {
        key: value
        for key, value in needed.items()
        if not np.array_equal(field(config, key), value)
    }
    wrong = differing.keys() & {"model.name", *chosen}
    if wrong:
        told = listed(f"config.{k} is {field(config, k)!r}: expected {needed[k]!r}" for k in needed if k in wrong)
        raise InputError(f"{told}, as the weights of config.model.weights need")
    config = config.copy_and_resolve_references()
    for key, value in differing.items():
        group, name = key.split(".")
        config[group][name] = value
    return config, ", ".join(f"{key}={value!r}" for key, value in differing.items())


def start_from(
    experiment: Experiment,
    state: TrainState,
    ported: Ported,
    classes: tuple[str, ...],
) -> TrainState:
    """`state`, whose outputs are `classes`, with pretrained weights.

    The head is theirs too if it is for the same classes by name, and stays new if not.
    Raises InputError where the network is another than that of the weights.
    """
    initial = jax.device_get(state.variables)
    new = () if ported.classes == classes else ("head",)
    variables = merge(ported.variables, initial, new=new)
    variables = device_put_global(variables, replicated(experiment.mesh))
    return state.replace(**variables)


def ported_state(experiment: Experiment, variables: dict[str, Any]) -> TrainState:
    """The state before any training of a model with these variables."""

    # Under one jit the initial values, which nothing needs, are not computed.
    def create(variables: dict[str, Any]) -> TrainState:
        return experiment.create_state(experiment.init_key).replace(**variables)

    return jax.jit(create, out_shardings=replicated(experiment.mesh))(variables)
