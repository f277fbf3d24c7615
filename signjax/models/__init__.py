"""The networks, by the name that a config gives."""

from dataclasses import fields
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from signjax.errors import InputError
from signjax.models.cnn import CNN
from signjax.models.hands import HandClassifier
from signjax.models.resnet import ResNet

NETWORKS: dict[str, type[nn.Module]] = {
    "cnn": CNN,
    "resnet50": ResNet,
    "hands": HandClassifier,
}


def make_model(name: str, *, init: str, dtype: str, **options: Any) -> nn.Module:
    """The network of a config's group `model`, whose keys these are.

    dtype: of the activations; logits are float32. options: num_classes, conv_impl and
    the group's other keys; a network takes those that are fields of its own. Raises
    InputError where `name` has no row here.
    """
    if name not in NETWORKS:
        raise InputError(
            f"config.model.name is {name!r}, for which NETWORKS in "
            "signjax/models/__init__.py has no row: add one, or choose another model"
        )
    options["dtype"] = jnp.dtype(dtype)
    if init == "keras":
        glorot = nn.initializers.glorot_uniform()
        options |= {"kernel_init": glorot, "head_init": glorot}
        options["block_init"] = _keras_uniform
    elif name != "resnet50":  # whose own is He's too, by the outputs
        options["kernel_init"] = nn.initializers.he_normal()
    own = {field.name for field in fields(NETWORKS[name])}
    return NETWORKS[name](**{key: options[key] for key in own & options.keys()})


def depth_below_head(layer: str) -> int:
    """How far a top-level layer is from the head: 0 head, 1 stage4, ... 5 stem."""
    if layer == "head":
        return 0
    return 5 - int(layer[5]) if layer.startswith("stage") else 5


def _keras_uniform(key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
    """Keras' RandomUniform: within +-0.05 whatever the shape."""
    return jax.random.uniform(key, shape, dtype, -0.05, 0.05)
