"""Times the train step or the eval step of signjax, as the modes build them.

    python -m benchmarks.peers.ours --weights=FILE [--model=cnn] [--work=inference]

Augmentation and mirror images are off and the optimizer plain, as for every peer.
"""

import os

import jax
import numpy as np
from benchmarks.peers import measure
from flax.traverse_util import unflatten_dict

from configs import cnn, resnet
from signjax import build
from signjax.config import Config, default_config
from signjax.runtime.cpu import prepare_cpu
from signjax.step import replicated


def make_config(model: str, batch_size: int) -> Config:
    """The shipped network of that name under the settings that all peers share."""
    config = cnn.get_config("seed") if model == "cnn" else resnet.get_config()
    config.augment = default_config().augment
    config.tta = default_config().evaluation
    config.optimizer = default_config().optimizer
    config.data.mean = (measure.MEAN,) * 3
    config.data.std = (measure.STD,) * 3
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
    config = make_config(arguments.model, arguments.batch_size)
    prepare_cpu()
    network = build.make_network(config, measure.CLASSES, jax.local_devices())
    variables = jax.device_put(
        unflatten_dict(measure.read_weights(arguments.weights)),
        replicated(network.mesh),
    )
    clock = measure.Clock(arguments)
    timer = time_training if arguments.work == "train" else time_inference
    timer(clock, config, network, variables)
    measure.print_result(
        arguments,
        clock,
        packages=("jax", "jaxlib", "flax", "optax", "numpy"),
        settings={
            "dtype": network.dtype,
            "device": jax.local_devices()[0].device_kind,
            "xla_flags": os.environ.get("XLA_FLAGS", ""),
            "cores": measure.cores(),
        },
    )


def time_training(
    clock: measure.Clock, config: Config, network: build.Network, variables: dict
) -> None:
    recipe = build.make_recipe(config, network, measure.IMAGES)
    state = build.make_state(config, network, recipe).replace(**variables)
    images, labels = jax.device_put(measure.make_data(), replicated(network.mesh))

    def step(number: int) -> float:
        nonlocal state
        indices = measure.batch_indices(number, recipe.batch_size)
        state, metrics = recipe.train_step(state, images, labels, indices, recipe.key)
        jax.block_until_ready(state)
        return float(metrics.loss_sum) / recipe.batch_size

    clock.run(step)


def time_inference(
    clock: measure.Clock, config: Config, network: build.Network, variables: dict
) -> None:
    images, _ = measure.make_data()
    batch = images[: config.train.batch_size]
    clock.run(lambda _: np.asarray(network.eval_step(variables, batch)))


if __name__ == "__main__":
    main()
