"""The reference's ResNet-50 in Keras, trained on SIGNS and saved as the reference does.

    KERAS_BACKEND=torch python benchmarks/baselines/keras_reference.py \
        --data=DIR --output=DIR [--epochs=2] [--steps=N]

Needs Keras 3 with a backend, h5py and numpy. Writes resnet50.h5, the whole model with
automatic layer names, and predictions.npz: probabilities [120, 6] of the test images
and their labels. Ported by signjax, the file must give the same predictions.

BatchNorm's `training` is left unset here, so that Keras predicts with running
statistics; the original passes training=True and predicts with each batch's own.
"""

# pyright: reportMissingImports=false
# Keras is no dependency of this project.

import argparse
from pathlib import Path

import h5py
import keras
import numpy as np
from keras import layers

STAGES = (
    ((64, 64, 256), 3, 1),
    ((128, 128, 512), 4, 2),
    ((256, 256, 1024), 6, 2),
    ((512, 512, 2048), 3, 2),
)


def build(
    classes: int = 6,
    image_size: int = 64,
    *,
    published_names: bool = False,
    activation: str = "softmax",
) -> keras.Model:
    """The reference's network; published_names: res2a_branch2a and so on."""

    def name(kind: str, suffix: str) -> str | None:
        return f"{kind}{suffix}" if published_names else None

    def convolve(x, filters, kernel, strides, suffix, *, initializer, padding="valid"):
        conv = layers.Conv2D(
            filters,
            kernel,
            strides=strides,
            padding=padding,
            kernel_initializer=initializer,
            name=name("res", suffix),
        )
        return layers.BatchNormalization(axis=3, name=name("bn", suffix))(conv(x))

    def block(x, filters, strides, label, *, project):
        initializer = (
            keras.initializers.GlorotUniform()
            if project
            else keras.initializers.RandomUniform(-0.05, 0.05)
        )
        shortcut = x
        y = convolve(
            x, filters[0], 1, strides, f"{label}_branch2a", initializer=initializer
        )
        y = layers.Activation("relu")(y)
        y = convolve(
            y,
            filters[1],
            3,
            1,
            f"{label}_branch2b",
            initializer=initializer,
            padding="same",
        )
        y = layers.Activation("relu")(y)
        y = convolve(y, filters[2], 1, 1, f"{label}_branch2c", initializer=initializer)
        if project:
            shortcut = convolve(
                x,
                filters[2],
                1,
                strides,
                f"{label}_branch1",
                initializer=initializer,
            )
        return layers.Activation("relu")(layers.Add()([y, shortcut]))

    images = keras.Input((image_size, image_size, 3))
    x = layers.ZeroPadding2D((3, 3))(images)
    x = layers.Conv2D(64, 7, strides=2, name=name("conv", "1"))(x)
    x = layers.BatchNormalization(axis=3, name=name("bn_conv", "1"))(x)
    x = layers.Activation("relu")(x)
    x = layers.MaxPooling2D((3, 3), strides=2)(x)
    for stage, (filters, count, strides) in enumerate(STAGES, start=2):
        for index in range(count):
            x = block(
                x,
                filters,
                strides if index == 0 else 1,
                f"{stage}{'abcdef'[index]}",
                project=index == 0,
            )
    x = layers.AveragePooling2D((2, 2))(x)
    x = layers.Flatten()(x)
    outputs = layers.Dense(classes, activation=activation, name=name("fc", "1000"))(x)
    return keras.Model(images, outputs)


def load(path: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """(float32 [N, 64, 64, 3] in [0, 1], int64 [N])."""
    with h5py.File(path, "r") as file:
        images = np.asarray(file[f"{split}_set_x"], np.float32) / 255
        return images, np.asarray(file[f"{split}_set_y"]).ravel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--steps", type=int, help="steps an epoch; all if not given")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    keras.utils.set_random_seed(arguments.seed)
    model = build()
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss="categorical_crossentropy",
        metrics=["accuracy"],
    )
    images, labels = load(arguments.data / "train_signs.h5", "train")
    kept = None if arguments.steps is None else 32 * arguments.steps
    one_hot = keras.utils.to_categorical(labels, 6)
    model.fit(
        images[:kept], one_hot[:kept], batch_size=32, epochs=arguments.epochs, verbose=2
    )
    test_images, test_labels = load(arguments.data / "test_signs.h5", "test")
    probabilities = model.predict(test_images, batch_size=32, verbose=0)
    arguments.output.mkdir(parents=True, exist_ok=True)
    model.save(arguments.output / "resnet50.h5")
    np.savez(
        arguments.output / "predictions.npz",
        probabilities=probabilities,
        labels=test_labels,
    )
    accuracy = np.mean(probabilities.argmax(axis=1) == test_labels)
    print(f"test accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main()
