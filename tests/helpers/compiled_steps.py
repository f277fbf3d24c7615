"""Small networks with their compiled steps, and images of noise to run them on."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax import linen as nn

from signjax import step
from signjax.data.batches import as_rows
from signjax.models.cnn import CNN
from signjax.models.resnet import ResNet
from signjax.runtime.distributed import make_mesh, replicated
from signjax.runtime.jit import jit_inference, jit_training
from signjax.state import Metrics, TrainState, create_state, trainable

SIZE = 32  # pixels a side
CLASSES = 6
SMOOTHING = 0.1
RATE = 0.1  # of plain SGD, so that (old - new) / rate is the gradient
SMALL = CNN(CLASSES)
TINY = ResNet(
    CLASSES,
    stage_sizes=(2, 1),
    zero_init_last_scale=False,
)


class Setup(NamedTuple):
    """A network's compiled steps. make_state: a new, equal state at each call."""

    train_step: Callable[..., Any]
    eval_step: Callable[..., Any]
    make_state: Callable[[], TrainState]


def normalize(images: jax.Array) -> jax.Array:
    return (images - 0.5) / 0.25


def leave(images: jax.Array, key: jax.Array) -> jax.Array:
    del key
    return images


@cache
def set_up(
    model: nn.Module,
    *,
    devices: int = 1,
    augment: Any = leave,
    rate: float = RATE,
    **options: Any,
) -> Setup:
    """options: outlier_count and freeze_backbone of the train step."""
    optimizer = optax.sgd(rate)
    mesh = make_mesh(jax.devices()[:devices])
    network = {"model": model, "normalize": normalize}
    train_step = partial(
        step.train_step,
        **network,
        optimizer=optimizer,
        augment=augment,
        label_smoothing=SMOOTHING,
        **options,
    )
    eval_step = jit_inference(mesh, partial(step.eval_step, **network))
    start = draw_state(model, optimizer, options.get("freeze_backbone", False))
    place = partial(jax.device_put, start, replicated(mesh))
    return Setup(jit_training(mesh, train_step), eval_step, place)


def draw_state(
    model: nn.Module, optimizer: optax.GradientTransformation, frozen: bool
) -> TrainState:
    """A start drawn with NumPy: the initialisers take longer to compile than steps."""
    create = partial(
        create_state, model=model, optimizer=optimizer, input_shape=(SIZE, SIZE, 3)
    )
    shapes = jax.eval_shape(create, jax.random.key(0))
    rng = np.random.default_rng(5)

    def draw(path: Any, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        noise = rng.standard_normal(leaf.shape, np.float32)
        if path[-1].key == "kernel":
            return noise * np.float32(np.sqrt(2 / np.prod(leaf.shape[:-1])))
        centre = 1 if path[-1].key in ("scale", "var") else 0
        return centre + np.float32(0.1) * noise

    params, batch_stats = jax.tree_util.tree_map_with_path(
        draw, (shapes.params, shapes.batch_stats)
    )
    return TrainState(
        step=np.int32(0),  # type: ignore[arg-type]
        params=params,
        batch_stats=batch_stats,
        opt_state=optimizer.init(trainable(params, freeze_backbone=frozen)),
        metrics=Metrics.zero(),
    )


def make_data(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Images of noise, brighter by class, so that there is something to learn."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, count).astype(np.int32)
    noise = rng.integers(0, 120, (count, SIZE, SIZE, 3))
    return (noise + 20 * labels[:, None, None, None]).astype(np.uint8), labels


IMAGES, LABELS = make_data()
ROWS = as_rows(IMAGES)  # as train steps take them


def inputs(indices: np.ndarray) -> np.ndarray:
    return (IMAGES[indices].astype(np.float64) / 255 - 0.5) / 0.25


def float64(tree: Any) -> Any:
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def copy(state: TrainState) -> TrainState:
    return jax.tree.map(np.asarray, state)


def assert_same_bits(a: Any, b: Any) -> None:
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert np.asarray(left).tobytes() == np.asarray(right).tobytes()
