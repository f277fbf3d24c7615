"""Trains the CNN with Keras 3 as the reference does, to time the whole process.

    KERAS_BACKEND=tensorflow python -m benchmarks.baselines.keras_fit --data=DIR

DIR holds train_signs.h5 and test_signs.h5. The recipe is that of configs/cnn.py:seed:
batches of 64 in order, Adam, 100 epochs, validation after each on the test images.
"""

# pyright: reportMissingImports=false
# Keras is no dependency of this project.

import argparse
import json
from pathlib import Path

import keras

from benchmarks.baselines import measure
from benchmarks.baselines.keras_networks import make_cnn
from benchmarks.baselines.keras_reference import load
from benchmarks.baselines.keras_step import make_optimizer, packages, use_all_cores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--jit_compile", choices=("on", "off"), default="off")
    parser.add_argument(
        "--steps_per_execution", type=int, default=1, help="steps in one call"
    )
    arguments = parser.parse_args()
    use_all_cores()
    keras.utils.set_random_seed(0)
    network = make_cnn()
    network.compile(
        optimizer=make_optimizer("cnn"),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=arguments.jit_compile == "on",
        steps_per_execution=arguments.steps_per_execution,
    )
    train = load(arguments.data / "train_signs.h5", "train")
    test = load(arguments.data / "test_signs.h5", "test")
    history = network.fit(
        *train,
        batch_size=64,
        epochs=arguments.epochs,
        shuffle=False,
        validation_data=test,
        validation_batch_size=len(test[1]),
        verbose=0,
    ).history
    result = {
        "epochs": arguments.epochs,
        "train_loss": history["loss"][-1],
        "train_accuracy": history["accuracy"][-1],
        "test_accuracy": history["val_accuracy"][-1],
        "peak_rss_bytes": measure.peak_memory(),
        "versions": measure.versions(packages()),
        "settings": {
            "backend": keras.backend.backend(),
            "jit_compile": arguments.jit_compile,
            "steps_per_execution": arguments.steps_per_execution,
            "cores": measure.cores(),
        },
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
