"""The pure train and eval steps; `runtime.jit` jits them and donates the state.

All arrays are global: over several devices a mesh splits a batch's indices, so images,
activations and gradients follow, and BatchNorm's statistics are those of the batch.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from signjax.augment.geometry import rotate
from signjax.ops.pixels import unpack_pixels
from signjax.optim import row_major
from signjax.state import Metrics, TrainState, trainable

# The label of an image that shows none of the classes.
OUT_OF_DISTRIBUTION = -1


def train_step(
    state: TrainState,
    images: jax.Array,
    labels: jax.Array,
    indices: jax.Array,
    key: jax.Array,
    *,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    augment: Callable[[jax.Array, jax.Array], jax.Array],
    normalize: Callable[[jax.Array], jax.Array],
    unpack: Callable[[jax.Array], jax.Array] = unpack_pixels,
    label_smoothing: float,
    freeze_backbone: bool = False,
    outlier_count: int = 0,
) -> tuple[TrainState, Metrics]:
    """One update on the batch at `indices`; the new state and the batch's metrics.

    images: uint8 [N, S * S * 3], a row an image; float32 records of a model of hands.
    labels: int32 [N].
    indices: int32 [B], the batch's rows. -1 is padding, which enters no loss; a
        model with BatchNorm must not be given any, as its statistics would count it.
    key: the run's; the step number is folded in, so a resumed run draws what it would
        have drawn.
    unpack: rows -> images, float32 [B, S, S, 3] in [0, 1], or hands.
    augment: these and a key -> the same, changed at random.
    normalize: these -> the model's input.
    freeze_backbone: only `head` learns; all else, BatchNorm's statistics too, keeps its
        bits.
    outlier_count: how many images, the batch's first, `augment` makes
        out-of-distribution; no metric counts them.
    """
    key = jax.random.fold_in(key, state.step)
    # Scopes are what profiles and --topology tell the parts of a step by.
    with jax.named_scope("data"):
        batch = unpack(images[indices])
    with jax.named_scope("augment"):
        inputs = normalize(augment(batch, key))
    mask = indices >= 0
    counted = mask & (jnp.arange(len(indices)) >= outlier_count)
    targets = jnp.where(counted, labels[indices], OUT_OF_DISTRIBUTION)

    def loss_fn(params: Any) -> tuple[jax.Array, Any]:
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
    with jax.named_scope("optimizer"):
        gradients = row_major(gradients)
        updates, opt_state = optimizer.update(gradients, state.opt_state, params)
        updated: Any = optax.apply_updates(params, updates)
    metrics = Metrics.of_batch(losses, logits, targets, counted, state.step)
    state = state.replace(
        step=state.step + 1,
        params={**state.params, **updated},
        batch_stats=batch_stats,
        opt_state=opt_state,
        metrics=state.metrics.merge(metrics),
    )
    return state, metrics


def cross_entropy(
    logits: jax.Array, labels: jax.Array, label_smoothing: float
) -> jax.Array:
    """Categorical cross-entropy in nats. float [B, C], int [B] -> float [B].

    label_smoothing in [0, 1) is the share of the target spread evenly over all classes
    (Szegedy et al., arXiv:1512.00567); all of it where the label is
    OUT_OF_DISTRIBUTION (outlier exposure: Hendrycks et al., arXiv:1812.04606).
    """
    classes = logits.shape[-1]
    targets = jax.nn.one_hot(labels, classes)
    targets = optax.smooth_labels(targets, label_smoothing)
    targets = jnp.where((labels == OUT_OF_DISTRIBUTION)[:, None], 1 / classes, targets)
    return optax.softmax_cross_entropy(logits, targets)


def eval_step(
    variables: Any,
    images: jax.Array,
    *,
    model: nn.Module,
    normalize: Callable[[jax.Array], jax.Array],
    unpack: Callable[[jax.Array], jax.Array] = unpack_pixels,
    flip: bool = False,
    rotation: float = 0.0,
) -> jax.Array:
    """Logits, float32 [B, C], of images uint8 [B, H, W, 3] by running statistics.

    With test-time augmentation the mean of the logits of each image's views: the image;
    with rotation, in degrees, it rotated by as much to either side; with flip, the
    mirror images of these too.
    """
    image = unpack(images)
    views = [image]
    if rotation:
        views += [rotate(image, rotation), rotate(image, -rotation)]
    if flip:
        views += [view[:, :, ::-1] for view in views]
    # Side by side, so that all are on the device that holds the image.
    inputs = jnp.stack(views, axis=1).reshape(-1, *image.shape[1:])
    logits: Any = model.apply(variables, normalize(inputs), train=False)
    return logits.reshape(images.shape[0], len(views), -1).mean(axis=1)
