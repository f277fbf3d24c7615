"""config -> the model, its optimizer and its jitted steps, on the devices."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh

from signjax.augment import count_outliers
from signjax.config import Config
from signjax.data.batches import Batch, steps_per_epoch
from signjax.data.image import CropResize
from signjax.data.stream import Images
from signjax.models import depth_below_head, make_model
from signjax.ops.batchnorm import batch_statistics, recalibrate
from signjax.optim import make_optimizer
from signjax.runtime.distributed import make_mesh, replicated
from signjax.runtime.jit import compile_training, jit_inference, jit_training
from signjax.state import TrainState, create_state
from signjax.step import eval_step, train_step
from signjax.view import View, make_view


@dataclass(frozen=True)
class Experiment:
    """A model, how it is trained and how it is asked, on the devices it runs on.

    dtype: float32 or bfloat16, of the activations. image_size: pixels a side.
    crop_resize: how a photograph becomes such an image.
    schedule: step -> learning rate.
    cache_key: what the steps are made from; a trace is kept by its repr.
    create_state: key -> TrainState.
    train_step: `step.train_step`, jitted; donates the state.
    eval_step: (variables, view.inputs of B images) -> float32 logits [B, C], B a
        multiple of the devices, as eval_batch_size is; jitted.
    statistics: (variables, images) -> the batch's batch_stats, or None where the run
        does not end by taking them anew.
    key: each step folds its number in. init_key: of the initial weights.
    """

    name: str
    model: nn.Module
    view: View
    mesh: Mesh
    dtype: str
    image_size: int
    crop_resize: CropResize
    epochs: int
    steps_per_epoch: int
    eval_batch_size: int
    schedule: Callable[[int], Any]
    cache_key: Any
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
        # It runs once: this level compiles in half the time on the CPU, to equal bits.
        level = {"xla_backend_optimization_level": 1}
        create = jax.jit(
            self.create_state,
            out_shardings=replicated(self.mesh),
            compiler_options=level if self.devices[0].platform == "cpu" else None,
        )
        return create(self.init_key)

    def abstract_state(self) -> TrainState:
        """Shapes, dtypes and shardings of the state, for a restore."""
        sharding = replicated(self.mesh)
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
            jax.eval_shape(self.create_state, self.init_key),
        )

    def begin(
        self, restored: TrainState | None, batch: Batch
    ) -> tuple[TrainState, Any]:
        """The state restored, else a new one, and the train step compiled for it.

        batch: the shapes and dtypes of the step's batches.
        """
        arguments = (self.abstract_state(), *batch, self.key)
        with ThreadPoolExecutor(1) as pool:  # two programs are compiled at once
            state = pool.submit(lambda: restored or self.initial_state())
            step = compile_training(
                self.mesh, self.train_step, arguments, cache_key=self.cache_key
            )
        return state.result(), step

    def finish(self, state: TrainState, images: Images) -> TrainState:
        """`state` after the last step, BatchNorm recalibrated if the config asks."""
        if self.statistics is None:
            return state
        stats = recalibrate(
            state.variables, images, self.statistics, device_count=self.mesh.size
        )
        return state.replace(batch_stats=stats)


def make_experiment(
    config: Config, num_classes: int, train_size: int, devices: list[jax.Device]
) -> Experiment:
    """The experiment of `config` with num_classes outputs, on train_size images.

    Raises InputError where its model or optimizer is a name alone, without code.
    """
    train, on_cpu = config.train, devices[0].platform == "cpu"
    dtype = config.dtype
    if dtype == "auto":
        dtype = "float32" if on_cpu else "bfloat16"
    network_by = partial(
        make_model, **config.model, num_classes=num_classes, dtype=dtype
    )
    # XLA's own convolutions are fast on accelerators, partly very slow on the CPU.
    model = network_by(conv_impl="matmul" if on_cpu else "xla")
    steps = steps_per_epoch(
        train_size, train.batch_size, drop_remainder=train.drop_remainder
    )
    optimizer, schedule = make_optimizer(
        **config.optimizer,
        epochs=train.epochs,
        steps_per_epoch=steps,
        depth_below_head=depth_below_head,
    )
    view = make_view(config, devices)
    network = {"model": model, "unpack": view.unpack, "normalize": view.normalize}
    step = partial(
        train_step,
        **network,
        optimizer=optimizer,
        augment=view.augment,
        label_smoothing=train.label_smoothing,
        freeze_backbone=train.freeze_backbone,
        outlier_count=count_outliers(train.outlier_fraction, train.batch_size),
    )
    mesh, key = make_mesh(devices), jax.random.key(config.seed)
    cache_key = (config.to_dict(), num_classes, train_size)
    statistics = None
    if train.recalibrate_batch_norm:
        of_batch = partial(
            batch_statistics, **network, bn_momentum=config.model.bn_momentum
        )
        statistics = jit_inference(mesh, of_batch)
    return Experiment(
        name=config.name,
        model=model,
        view=view,
        mesh=mesh,
        dtype=dtype,
        image_size=config.data.image_size,
        crop_resize=CropResize(
            config.data.crop, config.data.interpolation, config.data.letterbox
        ),
        epochs=train.epochs,
        steps_per_epoch=steps,
        # Evaluation pads its last batch anyway, so any size splits over the devices.
        eval_batch_size=-(-config.run.eval_batch_size // len(devices)) * len(devices),
        schedule=schedule,
        create_state=partial(
            create_state,
            model=network_by(conv_impl="xla"),  # traced sooner, to the same weights
            optimizer=optimizer,
            input_shape=view.input_shape,
            freeze_backbone=train.freeze_backbone,
        ),
        cache_key=cache_key,
        train_step=jit_training(mesh, step),
        eval_step=jit_inference(
            mesh, partial(eval_step, **network, **config.tta), cache_key=cache_key
        ),
        statistics=statistics,
        key=jax.random.fold_in(key, 1),
        init_key=jax.random.fold_in(key, 0),
    )
