"""Times signjax's train step or eval step, as the train and evaluate modes make them.

    python -m benchmarks.baselines.signjax_step --weights=FILE [--work=inference]

Augmentation is off, in training and test, and the optimizer plain, as for every
baseline.
"""

import os

import jax
import numpy as np
from flax.traverse_util import unflatten_dict

from benchmarks.baselines import measure
from configs import cnn, resnet
from signjax.config import Config, default_config
from signjax.data.dataset import Dataset
from signjax.data.load import make_batches
from signjax.experiment import Experiment, make_experiment
from signjax.runtime.cpu import prepare_cpu
from signjax.runtime.distributed import replicated


def make_config(model: str, batch_size: int, dtype: str) -> Config:
    """The shipped network of that name, trained as all baselines are."""
    config = cnn.get_config("seed") if model == "cnn" else resnet.get_config()
    for group in ("augment", "tta", "optimizer"):
        config[group] = default_config()[group]
    config.data.mean = (measure.MEAN,) * 3
    config.data.std = (measure.STD,) * 3
    config.data.synthetic_count = 0
    config.dtype = dtype
    config.train.batch_size = batch_size
    config.train.label_smoothing = 0.0
    if model == "cnn":
        config.optimizer.learning_rate = measure.CNN_RATE
        config.optimizer.epsilon = measure.ADAM_EPSILON
        return config
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = measure.RESNET_RATE
    config.optimizer.momentum = measure.MOMENTUM
    return config


def main() -> None:
    arguments = measure.make_parser(__doc__).parse_args()
    config = make_config(arguments.model, arguments.batch_size, arguments.dtype)
    prepare_cpu()
    devices = jax.local_devices()
    experiment = make_experiment(config, measure.CLASSES, measure.IMAGES, devices)
    variables = jax.device_put(
        unflatten_dict(measure.read_weights(arguments.weights), sep="/"),
        replicated(experiment.mesh),
    )
    clock = measure.Clock(arguments)
    if arguments.work == "train":
        time_training(clock, config, experiment, variables)
    else:
        time_inference(clock, experiment, variables)
    measure.print_result(
        arguments,
        clock,
        packages=("jax", "jaxlib", "flax", "optax", "numpy"),
        settings={
            "dtype": experiment.dtype,
            "device": devices[0].device_kind,
            "xla_flags": os.environ.get("XLA_FLAGS", ""),
            "cores": measure.cores(),
        },
    )


def time_training(
    clock: measure.Clock, config: Config, experiment: Experiment, variables: dict
) -> None:
    state = experiment.initial_state().replace(**variables)
    classes = tuple(map(str, range(measure.CLASSES)))
    dataset = Dataset(*measure.make_data(), classes)
    batches = make_batches(config, dataset, experiment.mesh)
    images, labels, _ = next(batches.epoch(0))  # on the devices
    batch_size = clock.batch_size

    def step(number: int) -> jax.Array:
        nonlocal state
        indices = measure.batch_indices(number, batch_size)
        state, metrics = experiment.train_step(
            state, images, labels, indices, experiment.key
        )
        return metrics.loss_sum

    def wait(loss_sum: jax.Array) -> float:
        jax.block_until_ready(state)
        return float(loss_sum) / batch_size

    clock.run(step, wait)


def time_inference(
    clock: measure.Clock, experiment: Experiment, variables: dict
) -> None:
    images, _ = measure.make_data()
    batch = images[: clock.batch_size]
    clock.run(lambda _: experiment.eval_step(variables, batch), np.asarray)


if __name__ == "__main__":
    main()
