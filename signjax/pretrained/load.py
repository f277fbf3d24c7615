"""From what a person names as weights to a model's variables and its config."""

import os
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import numpy as np

from signjax import workdir
from signjax.config import Config, check, default_config, field
from signjax.data.download import fetch
from signjax.errors import InputError, listed
from signjax.experiment import Experiment
from signjax.pretrained.hub import read_folder
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
from signjax.runtime.bucket import BucketPath, as_path
from signjax.runtime.checkpoint import Checkpoints
from signjax.runtime.console import Console
from signjax.runtime.distributed import (
    device_put_global,
    replicated,
    require_same,
    sync_errors,
)
from signjax.runtime.files import cache_directory
from signjax.state import TrainState

Warn = Callable[[str], None]

_OF_DATA = ("mean", "std", "image_size", "crop", "interpolation")
# What follows from the weights; bn_momentum is of training alone.
_DECIDED = [f"model.{key}" for key in Variant.__annotations__ if key != "bn_momentum"]
_DECIDED += ["data.mean", "data.std"]


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
    path = as_path(os.path.expanduser(given))
    if (path / "run.json").exists():
        return Weights(_of_workdir(path, devices, warn), given, "")
    if isinstance(path, BucketPath):
        raise InputError(
            f"weights {path}: no run.json there; in a bucket only the workdir of a "
            "trained model is read: copy a file to this machine"
        )
    with sync_errors():
        if path.is_dir() and not (path / "config.json").exists():
            raise InputError(
                f"weights {path}: a folder without run.json or config.json; expected a "
                "file, a trained model's workdir or a folder as from Hugging Face (a "
                "TensorFlow SavedModel: save it anew, model.save('X.keras'))"
            )
        if not path.exists():
            path = fetch(named(given).file, cache_directory() / "weights")
        source = read_folder(path) if path.is_dir() else read_weights(path)
        weights = Weights(port(source), given, source.sha256)
        try:
            check(ported_config(weights.ported))
        except InputError as error:
            raise InputError(f"weights {path} need what is wrong: {error}") from error
    require_same(f"weights {given}", weights.sha256)
    return weights


def _of_workdir(path: Path, devices: list[jax.Device], warn: Warn) -> Ported:
    trained = workdir.load_trained(path, devices=devices, warn=warn)
    variables = jax.tree.map(np.asarray, trained.state.variables)
    refuse_impossible_values(str(path), flatten(variables))
    config, blank = trained.run.config, trained.run.blank_head
    if blank:
        del variables["params"]["head"]
    return Ported(
        network=config.model.name,
        variables=variables,
        variant=cast(Variant, {k: config.model[k] for k in Variant.__annotations__}),
        preprocessing=configured_preprocessing(config),
        classes=None if blank else trained.run.classes,
        coverage=(),
        notes=(),
    )


def configured_preprocessing(config: Config) -> Preprocessing:
    """How images are prepared for the model of a config, and the views of each."""
    return Preprocessing(**{key: config.data[key] for key in _OF_DATA}, **config.tta)


def refuse_unportable(given: str) -> None:
    """Raises InputError for a workdir whose way of looking at images no port keeps."""
    path = as_path(os.path.expanduser(given))
    if not (path / "run.json").exists():
        return
    config = workdir.read(path).config
    if config.model.name == "hands" or config.data.letterbox:
        raise InputError(
            f"weights {given}: of a model that looks at letterboxed images or "
            "at hands, which a port does not keep: predict with that workdir"
        )


def ported_config(ported: Ported) -> Config:
    """The config of a workdir that holds ported weights and has not trained."""
    config = default_config()
    config.name = "ported"
    config.model.name = ported.network
    config.model.update(ported.variant)
    needed = ported.preprocessing._asdict()
    config.data.update({key: needed.pop(key) for key in _OF_DATA})
    config.augment.update(needed)
    config.tta.update(needed)
    return config


def settle_weights(
    config: Config,
    directory: Path,
    chosen: Collection[str],
    devices: list[jax.Device],
    console: Console,
) -> tuple[Config, Ported | None]:
    """`config` with the network and the channel statistics of its pretrained weights.

    The size and the cropping of images are free. Returns the weights too; None where
    there are none to start from, as the run in the workdir `directory` has begun.
    chosen: keys that the person set, which are not changed. Raises InputError with all
    of them that differ from what the weights need.
    """
    given = config.model.weights
    if not given:
        return config, None
    with Checkpoints(directory / "checkpoints", warn=console.warning) as checkpoints:
        begun = bool(checkpoints.steps())
    if begun and (old := workdir.read(directory).config).model.weights == given:
        kept = {k: field(old, k) for k in _DECIDED if k not in chosen}
        return _changed(config, kept), None
    ported = open_weights(given, devices=devices, warn=console.warning).ported
    follows = ported_config(ported)
    needed = {key: field(follows, key) for key in ("model.name", *_DECIDED)}
    differing = {
        key: value
        for key, value in needed.items()
        if not np.array_equal(field(config, key), value)
    }
    if wrong := [key for key in differing if key in ("model.name", *chosen)]:
        told = (f"config.{k} is {field(config, k)!r}, not {needed[k]!r}" for k in wrong)
        raise InputError(
            f"{listed(told)}, which config.model.weights={given} needs: leave out what "
            "follows from the weights"
        )
    for note in ported.notes:
        console.info(f"weights: {note}")
    if differing:
        told = listed(f"{key}={value!r}" for key, value in differing.items())
        console.info(f"from the weights: {told}")
    return _changed(config, differing), ported


def _changed(config: Config, values: dict[str, Any]) -> Config:
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict(values)
    return config


def start_from(
    weights: Ported | None,
    experiment: Experiment,
    classes: tuple[str, ...],
    console: Console,
) -> Callable[[TrainState], TrainState]:
    """What puts pretrained weights, if there are some, into a new state.

    classes: of its outputs. The head is the weights' too if it is for the same classes
    by name, and stays new if not. Raises InputError where the network is another than
    that of the weights.
    """
    if weights is None:
        return lambda state: state
    new = weights.classes != classes
    fit = partial(merge, weights.variables, new_head=new)
    fit(experiment.abstract_state().variables)  # refused before anything is compiled
    head = "new" if new else "theirs"
    console.info(f"starting from pretrained weights; the classifier is {head}")

    def start(state: TrainState) -> TrainState:
        merged = fit(jax.device_get(state.variables))
        return state.replace(**device_put_global(merged, replicated(experiment.mesh)))

    return start


def ported_state(experiment: Experiment, variables: dict[str, Any]) -> TrainState:
    """The state before any training of a model with these variables."""

    # Under one jit the initial values, which nothing needs, are not computed.
    def create(variables: dict[str, Any]) -> TrainState:
        return experiment.create_state(experiment.init_key).replace(**variables)

    return jax.jit(create, out_shardings=replicated(experiment.mesh))(variables)
