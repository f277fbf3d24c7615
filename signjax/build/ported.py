"""Pretrained weights: the config they need, the state that has them."""

from typing import Any

import jax
import numpy as np

from signjax.build.network import Network
from signjax.build.recipe import make_optimizer
from signjax.build.state import bind_create
from signjax.config import Config, default_config, field
from signjax.errors import InputError
from signjax.pretrained.port import Ported, Variant, merge
from signjax.pretrained.published import Preprocessing
from signjax.processes import place
from signjax.training import step
from signjax.training.state import TrainState


def start_from(
    config: Config,
    network: Network,
    state: TrainState,
    ported: Ported,
    classes: tuple[str, ...],
) -> TrainState:
    """`state`, whose outputs are `classes`, with pretrained weights.

    The head is theirs too if it is for the same classes by name, and stays new if not.

    Raises InputError where the config's network or channel statistics are others than
    those the weights were trained in. The size and the framing of images are free.
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
    variables = place(variables, step.replicated(network.mesh))
    return state.replace(**variables)


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
    config.augment.flip = config.evaluation.mirror = preprocessing.mirror
    config.augment.rotation = config.evaluation.turn = preprocessing.turn
    return config


def ported_traits(config: Config) -> tuple[Variant, Preprocessing]:
    """Of a workdir's own config, what `ported_config` takes."""
    variant = Variant(**{key: config.model[key] for key in Variant.__annotations__})
    preprocessing = Preprocessing(
        mean=tuple(config.data.mean),
        std=tuple(config.data.std),
        image_size=config.data.image_size,
        crop=config.data.crop,
        interpolation=config.data.interpolation,
        mirror=config.evaluation.mirror,
        turn=config.evaluation.turn,
    )
    return variant, preprocessing


def ported_state(
    config: Config, network: Network, variables: dict[str, Any]
) -> TrainState:
    """The state before any training of a network with these variables."""
    optimizer, _ = make_optimizer(config, train_size=0)
    create = bind_create(config, network, optimizer)

    # Under one jit the initial values, which nothing needs, are not computed.
    def place(variables: dict[str, Any]) -> TrainState:
        return create(jax.random.key(0)).replace(**variables)

    return jax.jit(place, out_shardings=step.replicated(network.mesh))(variables)
