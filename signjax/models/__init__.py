"""The networks, by the name that a config gives."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from signjax.models.cnn import CNN
from signjax.models.hands import HandClassifier
from signjax.models.resnet import ResNet

__all__ = ["CNN", "HandClassifier", "ResNet", "depth_below_head", "make_model"]


def make_model(
    name: str,
    *,
    init: str,
    weights: str = "",
    hands: str = "",
    dtype: str,
    **options: Any,
) -> nn.Module:
    """The network of a config's group `model`, whose keys these are.

    weights, hands: where the run starts from and what finds hands, which change no
    network. dtype: of the activations; logits are float32. options: num_classes,
    conv_impl and what else the network's class takes.
    """
    del weights, hands
    options["dtype"] = jnp.dtype(dtype)
    keras = init == "keras"
    glorot, he = nn.initializers.glorot_uniform(), nn.initializers.he_normal()
    if name == "cnn":
        common = {key: options[key] for key in ("num_classes", "conv_impl", "dtype")}
        return CNN(kernel_init=glorot if keras else he, **common)
    if name == "hands":
        own = {key: options[key] for key in ("num_classes", "dtype")}
        return HandClassifier(kernel_init=glorot if keras else he, **own)
    if name != "resnet50":
        raise ValueError(f"no model is called {name!r}")
    inits = {"kernel_init": glorot, "block_init": _keras_uniform, "head_init": glorot}
    return ResNet(**(inits if keras else {}), **options)


def depth_below_head(layer: str) -> int:
    """How far a top-level layer is from the head: 0 head, 1 stage4, ... 5 stem."""
    if layer == "head":
        return 0
    return 5 - int(layer[5]) if layer.startswith("stage") else 5


def _keras_uniform(key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
    """Keras' RandomUniform: within +-0.05 whatever the shape."""
    return jax.random.uniform(key, shape, dtype, -0.05, 0.05)
