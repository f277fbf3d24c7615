"""Numbers -> learning-rate schedule and optimizer."""

from typing import Any, Literal

import jax
import optax


def make_schedule(
    name: Literal["constant", "cosine"],
    *,
    learning_rate: float,
    warmup_steps: int,
    total_steps: int,
) -> optax.Schedule:
    """step -> learning rate: linear warm-up from 0, then constant or cosine to 0."""
    if name == "constant":
        after = optax.constant_schedule(learning_rate)
    else:
        after = optax.cosine_decay_schedule(
            learning_rate, max(total_steps - warmup_steps, 1)
        )
    if not warmup_steps:
        return after
    warmup = optax.linear_schedule(0.0, learning_rate, warmup_steps)
    return optax.join_schedules([warmup, after], [warmup_steps])


def make_optimizer(
    name: Literal["sgd", "adam", "adamw"],
    schedule: optax.Schedule,
    *,
    momentum: float,
    epsilon: float,
    weight_decay: float,
) -> optax.GradientTransformation:
    """SGD with Nesterov momentum, Adam, or AdamW.

    weight_decay acts on kernels alone, never on biases or BatchNorm: decoupled for
    adamw (Loshchilov & Hutter, arXiv:1711.05101), added to the gradient for sgd.
    adam takes none. epsilon: Adam's; momentum: SGD's.
    """
    if name == "adam":
        return optax.adam(schedule, eps=epsilon)
    if name == "adamw":
        return optax.adamw(
            schedule, eps=epsilon, weight_decay=weight_decay, mask=is_kernel
        )
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask=is_kernel),
        optax.sgd(schedule, momentum=momentum, nesterov=True),
    )


def is_kernel(params: Any) -> Any:
    """A tree of bool like `params`: True for the kernels of convolutions and Dense."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path[-1].key == "kernel", params
    )
