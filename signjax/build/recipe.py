"""config -> how a network is trained: optimizer, batches, steps."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
import optax

from signjax.build.network import Network
from signjax.config import Config
from signjax.data import augment as augmentation
from signjax.data import batches
from signjax.data.stream import Images
from signjax.errors import InputError
from signjax.models.resnet import depth_below_head
from signjax.training import optim, step
from signjax.training.recalibration import recalibrate
from signjax.training.state import TrainState

# What is less sure than 95 in 100 held-out hands is taken for none: the usual point to
# compare detectors of unknown classes at. Drawn pictures of no class would set a limit
# far too low for photographs, as nearly all of them are learned.
_GIVEN_UP = 0.05

# Images whose BatchNorm statistics are taken at a time; of several devices as many as
# they can share. Fixed, as it is part of the result.
_STATISTICS_BATCH = 120


@dataclass(frozen=True)
class Recipe:
    """How a network is trained on train_size images.

    train_step: (state, images, labels, indices, key) -> (state, metrics), jitted; see
    `step.train_step`. freeze_backbone: it trains the head alone. finish: (state after
    the last step, training images) -> the state to keep. batches: epoch -> int32
    [steps_per_epoch, batch_size], -1 is padding. weights: as in config.model.weights.
    key: of the run, into which the step folds its number.
    """

    optimizer: optax.GradientTransformation
    schedule: optax.Schedule
    train_step: Callable[..., Any]
    freeze_backbone: bool
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


def make_recipe(config: Config, network: Network, train_size: int) -> Recipe:
    """The optimizer and the train step of `config`.

    train_size: with the drawn hands of `config.data.synthetic_extra`, which are last.
    Raises InputError where the batch size does not go with the devices, the number of
    images, BatchNorm or the outliers.
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
        freeze_backbone=train.freeze_backbone,
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


def given_up(config: Config) -> float:
    """The share of held-out images that a calibrated model is to be unsure of.

    0 where it has not learned to be less sure of pictures that show no class.
    """
    return _GIVEN_UP if config.train.outliers else 0.0
