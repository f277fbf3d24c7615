"""config -> data, network, optimizer, steps: the only reader of config fields."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import Mesh
from ml_collections import ConfigDict

from signjax.data import augment as augmentation
from signjax.data import batches, sources
from signjax.data.dataset import Dataset, Splits
from signjax.errors import InputError
from signjax.models.cnn import CNN
from signjax.models.resnet import ResNet
from signjax.training import optim, step
from signjax.training.state import TrainState, create_state


def check(config: ConfigDict) -> None:
    """Raises InputError naming the first key whose value is not legal."""
    for key, legal, expected in _RULES:
        value = _field(config, key)
        if not legal(value):
            raise InputError(f"config.{key} is {value!r}: expected {expected}")
    if config.optimizer.name == "adam" and config.optimizer.weight_decay:
        raise InputError(
            f"config.optimizer.weight_decay is {config.optimizer.weight_decay}, which "
            "adam does not take: choose adamw or sgd, or set it to 0"
        )


def default_workdir(config: ConfigDict) -> str:
    """Where a run goes when the person names no place."""
    return f"runs/{config.name}"


def load_splits(config: ConfigDict, warn: Callable[[str], None]) -> Splits:
    """The training and test images that `config.data` names."""
    data = config.data
    return sources.resolve(
        data.source,
        directory=data.dir,
        image_size=data.image_size,
        test_fraction=data.test_fraction,
        seed=config.seed,
        synthetic_train=data.synthetic_train,
        synthetic_test=data.synthetic_test,
        synthetic_classes=data.synthetic_classes,
        warn=warn,
    )


def hold_out_validation(
    config: ConfigDict, train: Dataset
) -> tuple[Dataset, Dataset | None]:
    """(what is left to train on, the validation images or None)."""
    fraction = config.data.validation_fraction
    if not fraction:
        return train, None
    kept, held_out = batches.stratified_holdout(train.labels, fraction, config.seed)
    return train.take(kept), train.take(held_out)


@dataclass(frozen=True)
class Network:
    """A network with its preprocessing, on the devices it runs on."""

    name: str
    model: nn.Module
    mesh: Mesh
    normalize: step.Normalize
    eval_step: Callable[..., jax.Array]
    image_size: int
    eval_batch_size: int
    dtype: str


def make_network(
    config: ConfigDict, num_classes: int, devices: list[jax.Device]
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
        eval_step=step.compile_eval_step(mesh, model=model, normalize=normalize),
        image_size=config.data.image_size,
        # Evaluation pads its last batch anyway, so any size splits over the devices.
        eval_batch_size=-(-config.run.eval_batch_size // len(devices)) * len(devices),
        dtype=dtype,
    )


def _make_model(
    model: ConfigDict, num_classes: int, dtype: Any, formulation: Any
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


@dataclass(frozen=True)
class Recipe:
    """How a network is trained on train_size images."""

    optimizer: optax.GradientTransformation
    schedule: optax.Schedule
    train_step: Callable[..., Any]
    batches: Callable[[int], np.ndarray]
    seed: int
    key: jax.Array
    epochs: int
    steps_per_epoch: int
    batch_size: int
    checkpoint_every_epochs: int
    tensorboard: bool


def make_optimizer(
    config: ConfigDict, train_size: int
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """The optimizer of `config.optimizer` and its learning rate by step."""
    steps_per_epoch = _steps_per_epoch(config, train_size)
    schedule = optim.make_schedule(
        config.optimizer.schedule,
        learning_rate=config.optimizer.learning_rate,
        warmup_steps=round(config.optimizer.warmup_epochs * steps_per_epoch),
        total_steps=config.train.epochs * steps_per_epoch,
    )
    optimizer = optim.make_optimizer(
        config.optimizer.name,
        schedule,
        momentum=config.optimizer.momentum,
        epsilon=config.optimizer.epsilon,
        weight_decay=config.optimizer.weight_decay,
    )
    return optimizer, schedule


def _steps_per_epoch(config: ConfigDict, train_size: int) -> int:
    return batches.steps_per_epoch(
        train_size,
        config.train.batch_size,
        drop_remainder=config.train.drop_remainder,
    )


def make_recipe(config: ConfigDict, network: Network, train_size: int) -> Recipe:
    """The optimizer and the train step of `config`."""
    train = config.train
    _check_batch_size(config, train_size, network.mesh.size)
    optimizer, schedule = make_optimizer(config, train_size)
    return Recipe(
        optimizer=optimizer,
        schedule=schedule,
        train_step=step.compile_train_step(
            network.mesh,
            model=network.model,
            optimizer=optimizer,
            augment=partial(augmentation.augment, **config.augment.to_dict()),
            normalize=network.normalize,
            label_smoothing=train.label_smoothing,
        ),
        batches=lambda epoch: batches.epoch_batches(
            train_size,
            train.batch_size,
            seed=config.seed,
            epoch=epoch,
            shuffle=train.shuffle,
            drop_remainder=train.drop_remainder,
        ),
        seed=config.seed,
        # Not the key of the initial weights: see make_state.
        key=jax.random.fold_in(jax.random.key(config.seed), 1),
        epochs=train.epochs,
        steps_per_epoch=_steps_per_epoch(config, train_size),
        batch_size=train.batch_size,
        checkpoint_every_epochs=config.run.checkpoint_every_epochs,
        tensorboard=config.run.tensorboard,
    )


def make_state(config: ConfigDict, network: Network, recipe: Recipe) -> TrainState:
    """The state before the first step, a copy on each device."""
    key = jax.random.fold_in(jax.random.key(config.seed), 0)
    create = partial(
        create_state, network.model, recipe.optimizer, image_size=network.image_size
    )
    return jax.jit(create, out_shardings=step.replicated(network.mesh))(key)


def abstract_state(
    network: Network, optimizer: optax.GradientTransformation
) -> TrainState:
    """Shapes, dtypes and shardings of that state, for a restore."""
    create = partial(
        create_state, network.model, optimizer, image_size=network.image_size
    )
    sharding = step.replicated(network.mesh)
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        jax.eval_shape(create, jax.random.key(0)),
    )


def _check_batch_size(config: ConfigDict, train_size: int, device_count: int) -> None:
    batch_size = config.train.batch_size
    if batch_size % device_count:
        raise InputError(
            f"config.train.batch_size is {batch_size}, which does not divide over "
            f"{device_count} devices: give a multiple of {device_count}"
        )
    if config.train.drop_remainder and batch_size > train_size:
        raise InputError(
            f"config.train.batch_size is {batch_size} and there are {train_size} "
            "training images: give at most that many"
        )
    partial_batch = train_size % batch_size and not config.train.drop_remainder
    if partial_batch and config.model.name == "resnet50":
        raise InputError(
            "config.train.drop_remainder is False, but BatchNorm would count the "
            f"padding of the last batch ({train_size} images in batches of "
            f"{batch_size}): set it to True"
        )


def _field(config: ConfigDict, key: str) -> Any:
    for part in key.split("."):
        if part not in config:
            raise InputError(f"config.{key} is missing: configs/base.py has every key")
        config = config[part]
    return config


def _one_of(*values: Any) -> tuple[Callable[[Any], bool], str]:
    return (lambda value: value in values), " or ".join(map(repr, values))


def _at_least(low: float) -> tuple[Callable[[Any], bool], str]:
    return (lambda value: value >= low), f"at least {low}"


def _within(low: float, high: float) -> tuple[Callable[[Any], bool], str]:
    return (lambda value: low <= value < high), f"at least {low} and below {high}"


def _three(above: float | None = None) -> tuple[Callable[[Any], bool], str]:
    def legal(value: Any) -> bool:
        numbers = len(value) == 3 and all(isinstance(x, int | float) for x in value)
        return numbers and (above is None or all(x > above for x in value))

    return legal, "three numbers" + ("" if above is None else f" above {above:g}")


_SWITCH = _one_of(True, False)
_POSITIVE = (lambda value: value > 0), "more than 0"
_SHARE = (lambda value: 0 < value < 1), "between 0 and 1"

# (key, whether a value is legal, what a legal one is); types are the flags' matter.
_RULES = [
    ("seed", *_at_least(0)),
    ("dtype", *_one_of("auto", "float32", "bfloat16")),
    ("model.name", *_one_of("cnn", "resnet50")),
    ("model.init", *_one_of("keras", "he")),
    ("model.stride_on", *_one_of("1x1", "3x3")),
    ("model.pool_padding", *_one_of(0, 1)),
    ("model.conv_bias", *_SWITCH),
    ("model.zero_init_last_scale", *_SWITCH),
    ("model.bn_momentum", *_SHARE),
    ("model.bn_epsilon", *_POSITIVE),
    ("data.source", *_one_of("auto", "signs", "folder", "synthetic")),
    ("data.image_size", lambda x: x > 0 and x % 32 == 0, "a multiple of 32"),
    ("data.validation_fraction", *_within(0, 1)),
    ("data.test_fraction", *_SHARE),
    ("data.synthetic_train", *_at_least(1)),
    ("data.synthetic_test", *_at_least(1)),
    ("data.synthetic_classes", *_one_of(6, 10)),
    ("data.mean", *_three()),
    ("data.std", *_three(above=0)),
    ("augment.flip", *_SWITCH),
    ("augment.rotation", *_within(0, 181)),
    ("augment.scale", *_at_least(0)),
    ("augment.translation", *_within(0, 1)),
    ("augment.brightness", *_within(0, 1)),
    ("augment.contrast", *_within(0, 1)),
    ("augment.saturation", *_within(0, 1)),
    ("train.epochs", *_at_least(1)),
    ("train.batch_size", *_at_least(1)),
    ("train.shuffle", *_SWITCH),
    ("train.drop_remainder", *_SWITCH),
    ("train.label_smoothing", *_within(0, 1)),
    ("optimizer.name", *_one_of("sgd", "adam", "adamw")),
    ("optimizer.learning_rate", *_POSITIVE),
    ("optimizer.schedule", *_one_of("constant", "cosine")),
    ("optimizer.warmup_epochs", *_at_least(0)),
    ("optimizer.weight_decay", *_at_least(0)),
    ("optimizer.momentum", *_within(0, 1)),
    ("optimizer.epsilon", *_POSITIVE),
    ("run.eval_batch_size", *_at_least(1)),
    ("run.checkpoint_every_epochs", *_at_least(1)),
    ("run.tensorboard", *_SWITCH),
]
