"""The optimizers and learning-rate schedules, by the name that a config gives."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.experimental.layout import Layout, with_layout_constraint

from signjax.errors import InputError


def make_optimizer(
    name: str,
    *,
    learning_rate: float,
    schedule: Literal["constant", "cosine"],
    warmup_epochs: float,
    layer_decay: float,
    head_epochs: float,
    weight_decay: float,
    momentum: float,
    epsilon: float,
    epochs: int,
    steps_per_epoch: int,
    depth_below_head: Callable[[str], int],
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """The optimizer of a config's group `optimizer`, whose keys these are.

    SGD with Nesterov momentum, Adam, or AdamW, and its learning rate by step.
    weight_decay acts on kernels alone, never on biases or BatchNorm: decoupled for
    adamw (Loshchilov & Hutter, arXiv:1711.05101), added to the gradient for sgd; adam
    takes none. layer_decay, head_epochs, depth_below_head: see `scale_by_depth`.
    Raises InputError where `name` has no branch here.
    """
    rate = make_schedule(
        schedule,
        learning_rate=learning_rate,
        warmup_steps=round(warmup_epochs * steps_per_epoch),
        total_steps=epochs * steps_per_epoch,
    )
    if name == "adam":
        optimizer = optax.adam(rate, eps=epsilon)
    elif name == "adamw":
        optimizer = optax.adamw(
            rate, eps=epsilon, weight_decay=weight_decay, mask=is_kernel
        )
    elif name == "sgd":
        optimizer = optax.chain(
            optax.add_decayed_weights(weight_decay, mask=is_kernel),
            optax.sgd(rate, momentum=momentum, nesterov=True),
        )
    else:
        raise InputError(
            f"config.optimizer.name is {name!r}, for which make_optimizer in "
            "signjax/optim.py has no branch: add one, or choose another optimizer"
        )
    if layer_decay < 1 or head_epochs:
        by_depth = scale_by_depth(
            depth_below_head,
            layer_decay=layer_decay,
            head_steps=round(head_epochs * steps_per_epoch),
        )
        optimizer = optax.chain(optimizer, by_depth)
    return optimizer, rate


def make_schedule(
    name: Literal["constant", "cosine"],
    *,
    learning_rate: float,
    warmup_steps: int,
    total_steps: int,
) -> optax.Schedule:
    """step -> learning rate: linear warm-up from 0, then constant or cosine to 0."""
    first = 0.0 if warmup_steps else learning_rate
    if name == "cosine":
        return optax.warmup_cosine_decay_schedule(
            first, learning_rate, warmup_steps, max(total_steps, warmup_steps + 1)
        )
    return optax.warmup_constant_schedule(first, learning_rate, warmup_steps)


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


def row_major(gradients: Any) -> Any:
    """The same, which a GPU lays out in memory as it does parameters.

    cuDNN writes the gradients of kernels in another order. XLA does not make an update
    in place that puts them right on its way, and would copy every new parameter and
    moment to where the old one was (jax 0.10).
    """

    def constrain(tree: Any) -> Any:
        return jax.tree.map(
            lambda leaf: with_layout_constraint(leaf, Layout(tuple(range(leaf.ndim)))),
            tree,
        )

    return jax.lax.platform_dependent(
        gradients, cuda=constrain, rocm=constrain, default=lambda tree: tree
    )


def is_kernel(params: Any) -> Any:
    """A tree of bool like `params`: True for the kernels of convolutions and Dense."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path[-1].key == "kernel", params
    )
