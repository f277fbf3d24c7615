"""What a ported network computes, stage by stage and in a step of training."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from signjax.models.resnet import ResNet
from signjax.pretrained.port import Ported, flatten

STAGE_ENDS = {
    "bn_stem": "stem",
    "stage1_block3": "stage1",
    "stage2_block4": "stage2",
    "stage3_block6": "stage3",
    "stage4_block3": "stage4",
}


def network(ported: Ported, dtype: Any = jnp.float32) -> ResNet:
    classes = ported.variables["params"]["head"]["bias"].size
    return ResNet(classes, **ported.variant, conv_impl="matmul", dtype=dtype)


def prepare(ported: Ported, images: np.ndarray) -> np.ndarray:
    mean, std = ported.preprocessing.mean, ported.preprocessing.std
    return ((images / 255 - np.array(mean)) / np.array(std)).astype(np.float32)


@cache
def _compiled(model: ResNet) -> Any:
    keep = {"mutable": ["intermediates"]}
    keep["capture_intermediates"] = lambda module, _: module.name in STAGE_ENDS
    return jax.jit(partial(model.apply, train=False, **keep))


def activations(ported: Ported, images: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of the stem and of each stage, and the logits."""
    apply = _compiled(network(ported))
    logits, state = apply(ported.variables, prepare(ported, images))
    found = {
        STAGE_ENDS[name]: np.asarray(value["__call__"][0])
        for name, value in state["intermediates"].items()
    }
    return found | {"logits": np.asarray(logits)}


def training_step(
    ported: Ported, images: np.ndarray, labels: np.ndarray, dtype: Any = jnp.float32
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(the loss, each parameter's gradient and each new statistic by its place)."""
    model = network(ported, dtype)
    variables = jax.tree.map(lambda x: np.asarray(x, dtype), ported.variables)
    inputs = prepare(ported, images).astype(dtype)

    def loss_fn(params: Any) -> tuple[jax.Array, Any]:
        logits, updates = model.apply(
            {**variables, "params": params}, inputs, train=True, mutable=["batch_stats"]
        )
        logits = jnp.asarray(logits, dtype)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return jnp.mean(losses), updates["batch_stats"]

    gradient = jax.jit(jax.value_and_grad(loss_fn, has_aux=True))
    (loss, statistics), gradients = gradient(variables["params"])
    found = flatten({"params": gradients, "batch_stats": statistics})
    return np.asarray(loss), {place: np.asarray(leaf) for place, leaf in found.items()}


def in_torch_order(leaf: np.ndarray) -> np.ndarray:
    return leaf.transpose((3, 2, 0, 1) if leaf.ndim == 4 else None)
