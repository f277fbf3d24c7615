"""Times a training step in Keras 3, as `fit` runs it.

    KERAS_BACKEND=tensorflow python -m benchmarks.baselines.keras_step --weights=FILE \
        [--jit_compile=on] [--model=cnn]

The inputs are made ready beforehand, float32 and normalised, which favours Keras.
"""

# pyright: reportMissingImports=false
# Keras is no dependency of this project.

import os

import keras
import numpy as np

from benchmarks.baselines import measure
from benchmarks.baselines.keras_networks import make_network

PACKAGES = {
    "tensorflow": ("tensorflow-cpu",),
    "jax": ("jax", "jaxlib"),
    "torch": ("torch",),
}


def use_all_cores() -> None:
    """TensorFlow else counts the machine's cores, not those it may run on."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        tensorflow.config.threading.set_intra_op_parallelism_threads(measure.cores())


def packages() -> tuple[str, ...]:
    """What the versions to be recorded are of."""
    return ("keras", *PACKAGES[keras.backend.backend()], "numpy")


class Ticker(keras.callbacks.Callback):
    """Ticks the clock with each batch's loss."""

    def __init__(self, clock: measure.Clock) -> None:
        super().__init__()
        self.clock = clock
        self.total = 0.0

    def on_train_begin(self, logs) -> None:
        self.clock.start()

    def on_train_batch_end(self, batch, logs) -> None:
        # Keras tells the mean of the epoch's losses so far.
        total = float(logs["loss"]) * (batch + 1)
        self.clock.tick(total - self.total)
        self.total = total


def main() -> None:
    parser = measure.make_parser(__doc__)
    parser.add_argument("--jit_compile", choices=("on", "off"), default="off")
    arguments = parser.parse_args()
    if arguments.work != "train":
        raise SystemExit("keras_step.py only trains")
    use_all_cores()
    network = make_network(arguments.model, measure.read_weights(arguments.weights))
    network.compile(
        optimizer=make_optimizer(arguments.model),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=arguments.jit_compile == "on",
    )
    clock = measure.Clock(arguments)
    images, labels = measure.make_data()
    order = np.concatenate(
        [measure.batch_indices(n, arguments.batch_size) for n in range(clock.total)]
    )
    inputs = (images[order].astype(np.float32) / 255 - measure.MEAN) / measure.STD
    network.fit(
        inputs,
        labels[order],
        batch_size=arguments.batch_size,
        shuffle=False,
        verbose=0,
        callbacks=[Ticker(clock)],
    )
    measure.print_result(
        arguments,
        clock,
        packages=packages(),
        settings={
            "backend": keras.backend.backend(),
            "jit_compile": arguments.jit_compile,
            "cores": measure.cores(),
            "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        },
    )


def make_optimizer(model: str) -> keras.optimizers.Optimizer:
    if model == "resnet":
        return keras.optimizers.SGD(
            measure.RESNET_RATE, momentum=measure.MOMENTUM, nesterov=True
        )
    return keras.optimizers.Adam(measure.CNN_RATE, epsilon=measure.ADAM_EPSILON)


if __name__ == "__main__":
    main()
