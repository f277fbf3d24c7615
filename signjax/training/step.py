"""The pure train and eval steps, and the one place that jits and donates them.

The data set lies on the device whole, as uint8; a batch is an array of indices into
it, of which -1 is padding. All arrays are global: over several devices a mesh splits
the indices, so the images, activations and gradients follow, and BatchNorm statistics
are those of the whole batch.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from signjax.data.augment import rotate
from signjax.data.outliers import draw_outliers
from signjax.processes import place
from signjax.training.metrics import Metrics
from signjax.training.state import TrainState, trainable

# The label of a picture that shows no class.
NO_CLASS = -1

# float [B, H, W, 3] in [0, 1] and a key -> the same, changed at random.
Augment = Callable[[jax.Array, jax.Array], jax.Array]
# float [B, H, W, 3] in [0, 1] -> the network's input.
Normalize = Callable[[jax.Array], jax.Array]


def make_mesh(devices: list[jax.Device]) -> Mesh:
    """All devices along one axis, `data`."""
    return Mesh(np.array(devices), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """A copy on each device."""
    return NamedSharding(mesh, PartitionSpec())


def batched(mesh: Mesh) -> NamedSharding:
    """The first axis split over the devices."""
    return NamedSharding(mesh, PartitionSpec("data"))


def share(mesh: Mesh, batch: np.ndarray) -> np.ndarray | jax.Array:
    """A batch that every process holds whole, as a jitted step takes it.

    batch: [B, ...], B a multiple of the mesh's size. Of several processes each moves
    what its own devices need; one alone leaves it to jit, which is the faster way.
    """
    return place(batch, batched(mesh)) if mesh.is_multi_process else batch


def train_step(
    state: TrainState,
    images: jax.Array,
    labels: jax.Array,
    indices: jax.Array,
    key: jax.Array,
    *,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    augment: Augment,
    normalize: Normalize,
    label_smoothing: float,
    freeze_backbone: bool = False,
    outliers: int = 0,
) -> tuple[TrainState, Metrics]:
    """One update on the batch at `indices`; the new state and the batch's metrics.

    images: uint8 [N, H, W, 3]. labels: int32 [N]. indices: int32 [B], -1 is padding
    (it enters no loss; a network with BatchNorm must not be given any, as its
    statistics would count it). key: the run's key; the step number is folded in, so a
    resumed run draws what it would have drawn. freeze_backbone: only `head` learns;
    all else, BatchNorm statistics included, keeps its bits. outliers: so many images of
    the batch, the first, give way to pictures of no class, which no metric counts.
    """
    mask = indices >= 0
    counted = mask & (jnp.arange(len(indices)) >= outliers)
    batch = images[indices].astype(jnp.float32) / 255.0
    key = jax.random.fold_in(key, state.step)
    batch = augment(batch, key)
    if outliers:
        drawn = draw_outliers(batch[:outliers], jax.random.fold_in(key, 3))
        batch = jnp.concatenate([drawn, batch[outliers:]])
    inputs = normalize(batch)
    targets = jnp.where(counted, labels[indices], NO_CLASS)

    def loss_fn(params: Any) -> tuple[jax.Array, tuple[Any, jax.Array, jax.Array]]:
        logits, updates = model.apply(
            {"params": {**state.params, **params}, "batch_stats": state.batch_stats},
            inputs,
            train=not freeze_backbone,
            mutable=["batch_stats"],
        )
        losses = cross_entropy(logits, targets, label_smoothing)
        loss = jnp.sum(losses, where=mask) / jnp.sum(mask)
        return loss, (updates.get("batch_stats", {}), losses, logits)

    params = trainable(state.params, freeze_backbone=freeze_backbone)
    gradients, aux = jax.grad(loss_fn, has_aux=True)(params)
    batch_stats, losses, logits = aux
    updates, opt_state = optimizer.update(gradients, state.opt_state, params)
    learned: Any = optax.apply_updates(params, updates)
    metrics = Metrics.of_batch(losses, logits, targets, counted, state.step)
    state = state.replace(
        step=state.step + 1,
        params={**state.params, **learned},
        batch_stats=batch_stats,
        opt_state=opt_state,
        metrics=state.metrics.merge(metrics),
    )
    return state, metrics


def cross_entropy(
    logits: jax.Array, labels: jax.Array, label_smoothing: float
) -> jax.Array:
    """Categorical cross-entropy in nats. float [B, C], int [B] -> float [B].

    label_smoothing in [0, 1) is the share of the target spread evenly over all
    classes (Szegedy et al., arXiv:1512.00567); where the label is NO_CLASS, all of it.
    """
    classes = logits.shape[-1]
    targets = jax.nn.one_hot(labels, classes)
    targets = optax.smooth_labels(targets, label_smoothing)
    targets = jnp.where((labels == NO_CLASS)[:, None], 1 / classes, targets)
    return optax.softmax_cross_entropy(logits, targets)


def eval_step(
    variables: Any,
    images: jax.Array,
    *,
    model: nn.Module,
    normalize: Normalize,
    mirror: bool = False,
    turn: float = 0.0,
) -> jax.Array:
    """Logits, float32 [B, C], of images uint8 [B, H, W, 3] by running statistics.

    The mean of the logits of each image's views: the image; with turn, in degrees, it
    turned by as much to either side; with mirror, the mirror images of these too.
    """
    image = images.astype(jnp.float32) / 255.0
    views = [image]
    if turn:
        views += [rotate(image, turn), rotate(image, -turn)]
    if mirror:
        views += [view[:, :, ::-1] for view in views]
    # Side by side, so that all are on the device that holds the image.
    inputs = jnp.stack(views, axis=1).reshape(-1, *image.shape[1:])
    logits: Any = model.apply(variables, normalize(inputs), train=False)
    return logits.reshape(len(images), len(views), -1).mean(axis=1)


def batch_statistics(
    variables: Any,
    images: jax.Array,
    *,
    model: nn.Module,
    normalize: Normalize,
    bn_momentum: float,
) -> Any:
    """The batch_stats of one batch, images uint8 [B, H, W, 3], without history."""
    empty = jax.tree.map(jnp.zeros_like, variables["batch_stats"])
    inputs = normalize(images.astype(jnp.float32) / 255.0)
    _, updates = model.apply(
        {"params": variables["params"], "batch_stats": empty},
        inputs,
        train=True,
        mutable=["batch_stats"],
    )
    # BatchNorm has mixed its history, which is zero, with the batch.
    return jax.tree.map(lambda s: s / (1 - bn_momentum), updates["batch_stats"])


def compile_train_step(mesh: Mesh, **kwargs: Any) -> Callable[..., Any]:
    """`train_step` with its keyword arguments bound, jitted; donates the state."""
    whole, split = replicated(mesh), batched(mesh)
    return jax.jit(
        partial(train_step, **kwargs),
        in_shardings=(whole, whole, whole, split, whole),
        out_shardings=whole,
        donate_argnums=0,
    )


def compile_epoch(mesh: Mesh, train_step: Callable[..., Any]) -> Callable[..., Any]:
    """A compiled train step over all batches, int32 [steps, B], in one program.

    Donates the state; the metrics have the steps along their first axis.
    """
    whole = replicated(mesh)
    split = NamedSharding(mesh, PartitionSpec(None, "data"))

    def epoch(state: TrainState, images: Any, labels: Any, batches: Any, key: Any):
        return jax.lax.scan(
            lambda state, indices: train_step(state, images, labels, indices, key),
            state,
            batches,
        )

    return jax.jit(
        epoch,
        in_shardings=(whole, whole, whole, split, whole),
        out_shardings=whole,
        donate_argnums=0,
    )


def compile_eval_step(mesh: Mesh, **kwargs: Any) -> Callable[..., jax.Array]:
    """`eval_step` with its keyword arguments bound, jitted; donates nothing."""
    return _compile_inference(mesh, partial(eval_step, **kwargs))


def compile_batch_statistics(mesh: Mesh, **kwargs: Any) -> Callable[..., Any]:
    """`batch_statistics` with its keyword arguments bound, jitted."""
    return _compile_inference(mesh, partial(batch_statistics, **kwargs))


def _compile_inference(
    mesh: Mesh, function: Callable[[Any, jax.Array], Any]
) -> Callable[[Any, np.ndarray], Any]:
    whole, split = replicated(mesh), batched(mesh)
    jitted = jax.jit(function, in_shardings=(whole, split), out_shardings=whole)
    return lambda variables, images: jitted(variables, share(mesh, images))
