"""config -> the model, its optimizer and its jitted steps, on the devices."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import Mesh

from signjax.augment import augment
from signjax.config import Config
from signjax.data.batches import steps_per_epoch
from signjax.data.image import CropResize
from signjax.data.stream import Images
from signjax.errors import InputError
from signjax.models import depth_below_head, make_model
from signjax.ops.batchnorm import batch_statistics, recalibrate
from signjax.optim import make_optimizer
from signjax.runtime.distributed import make_mesh, replicated
from signjax.state import TrainState, create_state
from signjax.step import eval_step, jit_inference, jit_training, train_step

# Images whose BatchNorm statistics are taken at a time; of several devices as many as
# they can share. Fixed, as it is part of the result.
_STATISTICS_BATCH = 120


@dataclass(frozen=True)
class Experiment:
    """A model, how it is trained and how it is asked, on the devices it runs on.

    dtype: float32 or bfloat16, of the activations. image_size: pixels a side.
    crop_resize: how a photograph becomes such an image. schedule: step -> learning
    rate. create_state: key -> TrainState. train_step: (state, images, labels, indices,
    key) -> (state, metrics), see `step.train_step`; jitted, donates the state.
    eval_step: (variables, images uint8 [B, S, S, 3]) -> float32 logits [B, C], B a
    multiple of the devices, as eval_batch_size is; jitted. statistics: (variables,
    images) -> batch_stats of that batch, where the run ends by taking them anew.
    key: the run's, into which each step folds its number. init_key: that of the
    initial weights.
    """

    name: str
    model: nn.Module
    mesh: Mesh
    dtype: str
    image_size: int
    crop_resize: CropResize
    epochs: int
    steps_per_epoch: int
    eval_batch_size: int
    freeze_backbone: bool
    schedule: optax.Schedule
    create_state: Callable[[jax.Array], TrainState]
    train_step: Any
    eval_step: Callable[[Any, np.ndarray], jax.Array]
    statistics: Callable[[Any, np.ndarray], Any] | None
    key: jax.Array
    init_key: jax.Array

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    @property
    def devices(self) -> list[jax.Device]:
        return self.mesh.devices.ravel().tolist()

    def initial_state(self) -> TrainState:
        """The state before the first step, a copy on each device."""
        # It runs once. On the CPU (jax 0.10.2) this level compiles in 6 CPU-seconds for
        # the ResNet and 0.5 for the CNN, full optimisation in 12 and 4; same bits.
        level = {"xla_backend_optimization_level": 1}
        create = jax.jit(
            self.create_state,
            out_shardings=replicated(self.mesh),
            compiler_options=level if _on_cpu(self.devices) else None,
        )
        return create(self.init_key)

    def abstract_state(self) -> TrainState:
        """Shapes, dtypes and shardings of the state, for a restore."""
        sharding = replicated(self.mesh)
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
            jax.eval_shape(self.create_state, self.init_key),
        )

    def finish(self, state: TrainState, images: Images) -> TrainState:
        """`state` after the last step, with BatchNorm's statistics taken anew if asked.

        images: those that were trained on, uint8 [N, S, S, 3]. Whole batches alone are
        taken, as padding would count.
        """
        if self.statistics is None:
            return state
        devices = self.mesh.size
        size = -(-_STATISTICS_BATCH // devices) * devices
        size = min(size, len(images) // devices * devices)
        if not size:
            raise InputError(
                f"{len(images)} training images are too few for {devices} devices to "
                "recalibrate BatchNorm: set config.train.recalibrate_batch_norm=False"
            )
        starts = range(0, len(images) - size + 1, size)
        batches = (images[start : start + size] for start in starts)
        stats = recalibrate(state.variables, self.statistics, batches)
        return state.replace(batch_stats=stats)


def make_experiment(
    config: Config, num_classes: int, train_size: int, devices: list[jax.Device]
) -> Experiment:
    """The experiment of `config` with num_classes outputs, on train_size images."""
    train, devices = config.train, list(devices)
    dtype = config.dtype
    if dtype == "auto":
        dtype = "float32" if _on_cpu(devices) else "bfloat16"
    # XLA's own convolutions are fast on accelerators and partly very slow on the CPU.
    conv_impl = "matmul" if _on_cpu(devices) else "xla"
    model = make_model(
        **config.model, num_classes=num_classes, conv_impl=conv_impl, dtype=dtype
    )
    steps = steps_per_epoch(
        train_size, train.batch_size, drop_remainder=train.drop_remainder
    )
    optimizer, schedule = make_optimizer(
        **config.optimizer,
        epochs=train.epochs,
        steps_per_epoch=steps,
        depth_below_head=depth_below_head,
    )
    mesh, key = make_mesh(devices), jax.random.key(config.seed)
    normalize = partial(
        _normalize,
        mean=np.asarray(config.data.mean, np.float32),
        std=np.asarray(config.data.std, np.float32),
    )
    network = {"model": model, "normalize": normalize}
    step = partial(
        train_step,
        **network,
        optimizer=optimizer,
        augment=partial(
            augment,
            **config.augment,
            outlier_count=count_outliers(train.outlier_fraction, train.batch_size),
        ),
        label_smoothing=train.label_smoothing,
        freeze_backbone=train.freeze_backbone,
        outlier_count=count_outliers(train.outlier_fraction, train.batch_size),
    )
    statistics = partial(
        batch_statistics, **network, bn_momentum=config.model.bn_momentum
    )
    recalibrates = train.recalibrate_batch_norm
    return Experiment(
        name=config.name,
        model=model,
        mesh=mesh,
        dtype=dtype,
        image_size=config.data.image_size,
        crop_resize=CropResize(config.data.crop, config.data.interpolation),
        epochs=train.epochs,
        steps_per_epoch=steps,
        # Evaluation pads its last batch anyway, so any size splits over the devices.
        eval_batch_size=-(-config.run.eval_batch_size // len(devices)) * len(devices),
        freeze_backbone=train.freeze_backbone,
        schedule=schedule,
        create_state=partial(
            create_state,
            model=model,
            optimizer=optimizer,
            image_size=config.data.image_size,
            freeze_backbone=train.freeze_backbone,
        ),
        train_step=jit_training(mesh, step),
        eval_step=jit_inference(mesh, partial(eval_step, **network, **config.tta)),
        statistics=jit_inference(mesh, statistics) if recalibrates else None,
        key=jax.random.fold_in(key, 1),
        init_key=jax.random.fold_in(key, 0),
    )


def count_outliers(outlier_fraction: float, batch_size: int) -> int:
    """How many images of each batch are made out-of-distribution; 1 if any."""
    return max(1, round(outlier_fraction * batch_size)) if outlier_fraction else 0


def _on_cpu(devices: list[jax.Device]) -> bool:
    return devices[0].platform == "cpu"


def _normalize(images: jax.Array, *, mean: np.ndarray, std: np.ndarray) -> jax.Array:
    return (images - mean.reshape(1, 1, 1, 3)) / std.reshape(1, 1, 1, 3)
