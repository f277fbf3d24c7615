"""Numbers -> learning-rate schedule and optimizer."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
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


class _ScaleByDepthState(NamedTuple):
    steps: jax.Array


def scale_by_depth(
    depth_below_head: Callable[[str], int], *, layer_decay: float, head_steps: int
) -> optax.GradientTransformation:
    """Smaller updates for layers further below the head, and none of theirs at first.

    Follows the optimizer and scales its updates: those of a top-level layer by
    layer_decay ** depth (Howard & Ruder, arXiv:1801.06146), depth 0 being the head;
    in the first head_steps steps only the head's are not zero.
    """

    def init(params: Any) -> _ScaleByDepthState:
        del params
        return _ScaleByDepthState(jnp.zeros([], jnp.int32))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        others_learn = state.steps >= head_steps
        scaled = {}
        for name, tree in updates.items():
            depth = depth_below_head(name)
            scale = jnp.where(others_learn, layer_decay**depth, 0.0) if depth else 1.0
            scaled[name] = jax.tree.map(lambda u, s=scale: u * s, tree)
        return scaled, _ScaleByDepthState(state.steps + 1)

    return optax.GradientTransformation(init, update)


def is_kernel(params: Any) -> Any:
    """A tree of bool like `params`: True for the kernels of convolutions and Dense."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path[-1].key == "kernel", params
    )
