"""From what a person names as weights to a model's variables and its config."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from signjax import workdir
from signjax.config import Config, default_config, field
from signjax.data.download import fetch
from signjax.errors import InputError
from signjax.experiment import Experiment
from signjax.models import ResNet
from signjax.pretrained.port import Ported, Variant, merge, port
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
    with sync_errors():
        if not path.exists():
            path = fetch(named(given).file, cache_directory() / "weights")
        source = read_weights(path)
        weights = Weights(port(source), given, source.sha256)
    require_same(f"weights {given}", weights.sha256)
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
    model = trained.experiment.model
    if not isinstance(model, ResNet):
        raise InputError(
            f"weights {path}: the workdir of a {type(model).__name__}; expected a "
            "ResNet-50's"
        )
    variables = jax.tree.map(np.asarray, trained.state.variables)
    if trained.run.blank_head:
        del variables["params"]["head"]
    return Ported(
        variables=variables,
        variant=_variant_of(trained.run.config),
        preprocessing=_preprocessing_of(trained.run.config),
        classes=None if trained.run.blank_head else trained.run.classes,
        coverage=(),
        notes=(),
    )


def _variant_of(config: Config) -> Variant:
    return Variant(**{key: config.model[key] for key in Variant.__annotations__})


def _preprocessing_of(config: Config) -> Preprocessing:
    return Preprocessing(
        mean=tuple(config.data.mean),
        std=tuple(config.data.std),
        image_size=config.data.image_size,
        crop=config.data.crop,
        interpolation=config.data.interpolation,
        flip=config.tta.flip,
        rotation=config.tta.rotation,
    )


def ported_config(variant: Variant, preprocessing: Preprocessing) -> Config:
    """The config of a workdir that holds ported weights and has not trained."""
    config = default_config()
    config.name = "ported"
    config.model.name = "resnet50"
    config.model.update(variant)
    config.data.mean = preprocessing.mean
    config.data.std = preprocessing.std
    config.data.image_size = preprocessing.image_size
    config.data.crop = preprocessing.crop
    config.data.interpolation = preprocessing.interpolation
    config.augment.flip = config.tta.flip = preprocessing.flip
    config.augment.rotation = config.tta.rotation = preprocessing.rotation
    return config


def start_from(
    config: Config,
    experiment: Experiment,
    state: TrainState,
    ported: Ported,
    classes: tuple[str, ...],
) -> TrainState:
    """`state`, whose outputs are `classes`, with pretrained weights.

    The head is theirs too if it is for the same classes by name, and stays new if not.

    Raises InputError where the config's network or channel statistics are others than
    those the weights were trained in. The size and the cropping of images are free.
    """
    wanted = {
        **{f"model.{key}": value for key, value in ported.variant.items()},
        "data.mean": ported.preprocessing.mean,
        "data.std": ported.preprocessing.std,
    }
    del wanted["model.bn_momentum"]  # of training alone
    for key, value in wanted.items():
        given = field(config, key)
        if not np.array_equal(given, value):
            raise InputError(
                f"config.{key} is {given!r}, but the weights of config.model.weights "
                f"need {value!r}"
            )
    initial = jax.device_get(state.variables)
    new = () if ported.classes == classes else ("head",)
    variables = merge(ported, initial, new=new)
    variables = device_put_global(variables, replicated(experiment.mesh))
    return state.replace(**variables)


def ported_state(experiment: Experiment, variables: dict[str, Any]) -> TrainState:
    """The state before any training of a model with these variables."""

    # Under one jit the initial values, which nothing needs, are not computed.
    def create(variables: dict[str, Any]) -> TrainState:
        return experiment.create_state(experiment.init_key).replace(**variables)

    return jax.jit(create, out_shardings=replicated(experiment.mesh))(variables)
