"""config -> the network with its preprocessing, on the devices it runs on."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh

from signjax.build.data import framing
from signjax.config import Config
from signjax.data.image import Framing
from signjax.models.cnn import CNN
from signjax.models.resnet import ResNet
from signjax.training import step


@dataclass(frozen=True)
class Network:
    """A network with its preprocessing, on the devices it runs on.

    eval_step: (variables, images uint8 [B, S, S, 3]) -> float32 logits [B, C], S the
    image_size and B a multiple of the devices, as eval_batch_size is; jitted. framing:
    how a photograph becomes such an image. dtype: float32 or bfloat16, of the
    activations.
    """

    name: str
    model: nn.Module
    mesh: Mesh
    normalize: step.Normalize
    eval_step: Callable[..., jax.Array]
    image_size: int
    framing: Framing
    eval_batch_size: int
    dtype: str

    @property
    def on_cpu(self) -> bool:
        return self.mesh.devices.flat[0].platform == "cpu"


def make_network(
    config: Config, num_classes: int, devices: list[jax.Device]
) -> Network:
    """The network of `config.model` with num_classes outputs."""
    on_cpu = devices[0].platform == "cpu"
    dtype = config.dtype
    if dtype == "auto":
        dtype = "float32" if on_cpu else "bfloat16"
    # XLA's own convolutions are fast on accelerators and partly very slow on the CPU.
    formulation = "matmul" if on_cpu else "xla"
    model = _make_model(config.model, num_classes, jnp.dtype(dtype), formulation)
    mesh = step.make_mesh(devices)
    normalize = partial(
        _normalize,
        mean=np.asarray(config.data.mean, np.float32),
        std=np.asarray(config.data.std, np.float32),
    )
    return Network(
        name=config.name,
        model=model,
        mesh=mesh,
        normalize=normalize,
        eval_step=step.compile_eval_step(
            mesh, model=model, normalize=normalize, **config.evaluation.to_dict()
        ),
        image_size=config.data.image_size,
        framing=framing(config),
        # Evaluation pads its last batch anyway, so any size splits over the devices.
        eval_batch_size=-(-config.run.eval_batch_size // len(devices)) * len(devices),
        dtype=dtype,
    )


def _make_model(
    model: Config, num_classes: int, dtype: Any, formulation: Any
) -> nn.Module:
    common = {"num_classes": num_classes, "formulation": formulation, "dtype": dtype}
    glorot = nn.initializers.glorot_uniform()
    keras = model.init == "keras"
    if model.name == "cnn":
        he = nn.initializers.he_normal()
        return CNN(kernel_init=glorot if keras else he, **common)
    inits = {"kernel_init": glorot, "block_init": _keras_uniform, "head_init": glorot}
    return ResNet(
        stride_on=model.stride_on,
        pool_padding=model.pool_padding,
        conv_bias=model.conv_bias,
        zero_init_last_scale=model.zero_init_last_scale,
        bn_momentum=model.bn_momentum,
        bn_epsilon=model.bn_epsilon,
        **(inits if keras else {}),
        **common,
    )


def _keras_uniform(key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
    """Keras' RandomUniform: within +-0.05 whatever the shape."""
    return jax.random.uniform(key, shape, dtype, -0.05, 0.05)


def _normalize(images: jax.Array, *, mean: np.ndarray, std: np.ndarray) -> jax.Array:
    return (images - mean.reshape(1, 1, 1, 3)) / std.reshape(1, 1, 1, 3)
