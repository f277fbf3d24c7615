"""config -> data, network, optimizer, steps; below it no config is known."""

import os
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

from signjax.config import Config, default_config, field
from signjax.data import augment as augmentation
from signjax.data import batches, sources
from signjax.data.dataset import Dataset, Splits
from signjax.data.holdout import hold_out
from signjax.data.image import Framing
from signjax.data.stream import Images
from signjax.data.synthetic import draw_hands
from signjax.errors import InputError
from signjax.models.cnn import CNN
from signjax.models.resnet import ResNet, depth_below_head
from signjax.pretrained.port import Ported, Variant, merge
from signjax.pretrained.published import Preprocessing
from signjax.processes import place
from signjax.training import optim, step
from signjax.training.recalibration import recalibrate
from signjax.training.state import TrainState, create_state

# What is less sure than 95 in 100 held-out hands is taken for none: the usual point to
# compare detectors of unknown classes at. Drawn pictures of no class would set a limit
# far too low for photographs, as nearly all of them are learned.
_GIVEN_UP = 0.05

# Images whose BatchNorm statistics are taken at a time; of several devices as many as
# they can share. Fixed, as it is part of the result.
_STATISTICS_BATCH = 120


def default_workdir(config: Config) -> str:
    """Where a run goes when the person names no place."""
    return f"runs/{config.name}"


def to_be_stored(config: Config) -> dict[str, Any]:
    """The keys as run.json has them: the data are found from any directory."""
    stored = config.to_dict()
    if directory := stored["data"]["dir"]:
        stored["data"]["dir"] = os.path.abspath(os.path.expanduser(directory))
    return stored


def load_splits(
    config: Config, warn: Callable[[str], None], *, source: str = ""
) -> Splits:
    """The training and test images that `config.data` names.

    source: what its `auto` once came to, to get the same images again.
    """
    data = config.data
    return sources.resolve(
        source or data.source,
        directory=os.path.expanduser(data.dir),
        image_size=data.image_size,
        test_fraction=data.test_fraction,
        seed=config.seed,
        synthetic_train=data.synthetic_train,
        synthetic_test=data.synthetic_test,
        synthetic_classes=data.synthetic_classes,
        synthetic_variety=data.synthetic_variety,
        warn=warn,
        framing=_framing(config),
        group=data.group,
        stream=data.stream,
    )


def _framing(config: Config) -> Framing:
    return Framing(config.data.crop, config.data.interpolation)


def hold_out_validation(
    config: Config, train: Dataset
) -> tuple[Dataset, Dataset | None]:
    """(what is left to train on, the validation images or None).

    Raises InputError where nothing can be held out.
    """
    fraction = config.data.validation_fraction
    if not fraction:
        return train, None
    rng = np.random.default_rng(config.seed)
    kept, held_out = hold_out(train, fraction=fraction, rng=rng)
    if not len(held_out):
        raise InputError(
            f"config.data.validation_fraction is {fraction}, but of the "
            f"{len(train.labels)} training images no class has two that can be parted: "
            "give more images, or set it to 0"
        )
    return train.take(kept), train.take(held_out)


def draw_extra(config: Config, classes: tuple[str, ...]) -> Dataset | None:
    """The `config.data.synthetic_extra` drawn hands to train on too, if any.

    Raises InputError where the classes are not digits.
    """
    count = config.data.synthetic_extra
    if not count:
        return None
    if not all(name in map(str, range(10)) for name in classes):
        raise InputError(
            f"config.data.synthetic_extra is {count}, but drawn hands sign the digits "
            f"0 to 9 and the classes are {', '.join(classes)}: set it to 0"
        )
    labels = np.arange(count, dtype=np.int32) % len(classes)
    digits = np.array([int(name) for name in classes])[labels]
    # Not the key of weights and steps, and not that of source synthetic's images.
    key = jax.random.fold_in(jax.random.key(config.seed), 2)
    data = config.data
    images = draw_hands(
        key,
        jnp.asarray(digits),
        size=data.image_size,
        variety=data.synthetic_variety,
    )
    return Dataset(np.asarray(images), labels, classes)


def given_up(config: Config) -> float:
    """The share of held-out images that a calibrated model is to be unsure of.

    0 where it has not learned to be less sure of pictures that show no class.
    """
    return _GIVEN_UP if config.train.outliers else 0.0


@dataclass(frozen=True)
class Network:
    """A network with its preprocessing, on the devices it runs on."""

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
        framing=_framing(config),
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


@dataclass(frozen=True)
class Recipe:
    """How a network is trained on train_size images.

    finish: (state after the last step, training images) -> the state to keep.
    """

    optimizer: optax.GradientTransformation
    schedule: optax.Schedule
    train_step: Callable[..., Any]
    finish: Callable[[TrainState, Images], TrainState]
    batches: Callable[[int], np.ndarray]
    weights: str
    seed: int
    key: jax.Array
    epochs: int
    steps_per_epoch: int
    batch_size: int
    checkpoint_every_epochs: int
    tensorboard: bool


def make_optimizer(
    config: Config, train_size: int
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
    layer_decay, head_epochs = (
        config.optimizer.layer_decay,
        config.optimizer.head_epochs,
    )
    if layer_decay < 1 or head_epochs:
        by_depth = optim.scale_by_depth(
            depth_below_head,
            layer_decay=layer_decay,
            head_steps=round(head_epochs * steps_per_epoch),
        )
        optimizer = optax.chain(optimizer, by_depth)
    return optimizer, schedule


def _steps_per_epoch(config: Config, train_size: int) -> int:
    return batches.steps_per_epoch(
        train_size,
        config.train.batch_size,
        drop_remainder=config.train.drop_remainder,
    )


def make_recipe(config: Config, network: Network, train_size: int) -> Recipe:
    """The optimizer and the train step of `config`.

    train_size: with the drawn hands of `config.data.synthetic_extra`, which are last.
    """
    train = config.train
    drawn_epochs = round(config.data.synthetic_until * train.epochs)
    photographs = train_size - config.data.synthetic_extra
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
            freeze_backbone=train.freeze_backbone,
            outliers=_count_outliers(config),
        ),
        finish=_make_finish(config, network),
        batches=lambda epoch: batches.epoch_batches(
            train_size,
            train.batch_size,
            seed=config.seed,
            epoch=epoch,
            shuffle=train.shuffle,
            drop_remainder=train.drop_remainder,
            among=None if epoch < drawn_epochs else photographs,
        ),
        weights=config.model.weights,
        seed=config.seed,
        # Not the key of the initial weights: see make_state.
        key=jax.random.fold_in(jax.random.key(config.seed), 1),
        epochs=train.epochs,
        steps_per_epoch=_steps_per_epoch(config, train_size),
        batch_size=train.batch_size,
        checkpoint_every_epochs=config.run.checkpoint_every_epochs,
        tensorboard=config.run.tensorboard,
    )


def _count_outliers(config: Config) -> int:
    """How many pictures of no class each batch is given."""
    share, batch_size = config.train.outliers, config.train.batch_size
    if not share:
        return 0
    count = max(1, round(share * batch_size))
    if count >= batch_size:
        raise InputError(
            f"config.train.outliers is {share}, which leaves no image in a batch of "
            f"{batch_size}: lower it or raise config.train.batch_size"
        )
    return count


def _make_finish(
    config: Config, network: Network
) -> Callable[[TrainState, Images], TrainState]:
    if not config.train.recalibrate_batch_norm:
        return lambda state, images: state
    statistics = step.compile_batch_statistics(
        network.mesh,
        model=network.model,
        normalize=network.normalize,
        bn_momentum=config.model.bn_momentum,
    )

    def finish(state: TrainState, images: Images) -> TrainState:
        devices = network.mesh.size
        size = -(-_STATISTICS_BATCH // devices) * devices
        size = min(size, len(images) // devices * devices)
        # Whole batches alone: padding would count.
        if not size:
            raise InputError(
                f"{len(images)} training images are too few for {devices} devices to "
                "recalibrate BatchNorm: set config.train.recalibrate_batch_norm=False"
            )
        starts = range(0, len(images) - size + 1, size)
        return recalibrate(state, statistics, (images[i : i + size] for i in starts))

    return finish


def make_state(config: Config, network: Network, recipe: Recipe) -> TrainState:
    """The state before the first step, a copy on each device."""
    key = jax.random.fold_in(jax.random.key(config.seed), 0)
    create = jax.jit(
        _bind_create(config, network, recipe.optimizer),
        out_shardings=step.replicated(network.mesh),
        # It runs once. On the CPU (jax 0.10.2) this level compiles in 6 CPU-seconds for
        # the ResNet and 0.5 for the CNN, full optimisation in 12 and 4; same bits.
        compiler_options=(
            {"xla_backend_optimization_level": 1} if network.on_cpu else None
        ),
    )
    return create(key)


def _bind_create(
    config: Config, network: Network, optimizer: optax.GradientTransformation
) -> Callable[[jax.Array], TrainState]:
    return partial(
        create_state,
        network.model,
        optimizer,
        image_size=network.image_size,
        freeze_backbone=config.train.freeze_backbone,
    )


def start_from(
    config: Config,
    network: Network,
    state: TrainState,
    ported: Ported,
    classes: tuple[str, ...],
) -> TrainState:
    """`state`, whose outputs are `classes`, with pretrained weights.

    The head is theirs too if it is for the same classes by name, and stays new if not.

    Raises InputError where the config's network or channel statistics are others than
    those the weights were trained in. The size and the framing of images are free.
    """
    wanted = {
        **{f"model.{key}": value for key, value in ported.variant.items()},
        "data.mean": ported.preprocessing.mean,
        "data.std": ported.preprocessing.std,
    }
    del wanted["model.bn_momentum"]  # of training alone
    for key, value in wanted.items():
        given = field(config, key)
        if not np.array_equal(given, value):
            raise InputError(
                f"config.{key} is {given!r}, but the weights of config.model.weights "
                f"need {value!r}"
            )
    initial = jax.device_get(state.variables)
    new = () if ported.classes == classes else ("head",)
    variables = merge(ported, initial, new=new)
    variables = place(variables, step.replicated(network.mesh))
    return state.replace(**variables)


def ported_config(variant: Variant, preprocessing: Preprocessing) -> Config:
    """The config of a workdir that holds ported weights and has not trained."""
    config = default_config()
    config.name = "ported"
    config.model.name = "resnet50"
    config.model.update(variant)
    config.data.mean = preprocessing.mean
    config.data.std = preprocessing.std
    config.data.image_size = preprocessing.image_size
    config.data.crop = preprocessing.crop
    config.data.interpolation = preprocessing.interpolation
    config.augment.flip = config.evaluation.mirror = preprocessing.mirror
    config.augment.rotation = config.evaluation.turn = preprocessing.turn
    return config


def ported_traits(config: Config) -> tuple[Variant, Preprocessing]:
    """Of a workdir's own config, what `ported_config` takes."""
    variant = Variant(**{key: config.model[key] for key in Variant.__annotations__})
    preprocessing = Preprocessing(
        mean=tuple(config.data.mean),
        std=tuple(config.data.std),
        image_size=config.data.image_size,
        crop=config.data.crop,
        interpolation=config.data.interpolation,
        mirror=config.evaluation.mirror,
        turn=config.evaluation.turn,
    )
    return variant, preprocessing


def ported_state(
    config: Config, network: Network, variables: dict[str, Any]
) -> TrainState:
    """The state before any training of a network with these variables."""
    optimizer, _ = make_optimizer(config, train_size=0)
    create = _bind_create(config, network, optimizer)

    # Under one jit the initial values, which nothing needs, are not computed.
    def place(variables: dict[str, Any]) -> TrainState:
        return create(jax.random.key(0)).replace(**variables)

    return jax.jit(place, out_shardings=step.replicated(network.mesh))(variables)


def abstract_state(
    config: Config, network: Network, optimizer: optax.GradientTransformation
) -> TrainState:
    """Shapes, dtypes and shardings of that state, for a restore."""
    create = _bind_create(config, network, optimizer)
    sharding = step.replicated(network.mesh)
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        jax.eval_shape(create, jax.random.key(0)),
    )


def _check_batch_size(config: Config, train_size: int, device_count: int) -> None:
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
