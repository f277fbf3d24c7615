"""signjax's two networks in Keras 3, with signjax's weights."""

# pyright: reportMissingImports=false
# Keras is no dependency of this project.

import keras
import numpy as np
from keras import layers

from benchmarks.baselines import measure
from signjax.pretrained.names import BLOCKS, LAYOUTS, table

CNN_PLACES = {
    f"{layer}/{leaf}": f"params/{layer}/{leaf}"
    for layer in ("conv1", "conv2", "head")
    for leaf in ("kernel", "bias")
}


def make_cnn() -> keras.Model:
    """The reference's, which gives logits here: they go into the loss more cheaply."""
    images = keras.Input((measure.IMAGE_SIZE, measure.IMAGE_SIZE, 3))
    x = layers.Conv2D(8, 4, padding="same", activation="relu", name="conv1")(images)
    x = layers.MaxPooling2D(8, 8, padding="same")(x)
    x = layers.Conv2D(16, 2, padding="same", activation="relu", name="conv2")(x)
    x = layers.MaxPooling2D(4, 4, padding="same")(x)
    x = layers.Flatten()(x)
    return keras.Model(images, layers.Dense(measure.CLASSES, name="head")(x))


def make_resnet() -> keras.Model:
    """ResNet-50 v1.5; its layers are named as in keras.applications."""

    def convolve(x, filters, size, strides, name):
        if size > 1:
            x = layers.ZeroPadding2D(size // 2)(x)
        convolution = layers.Conv2D(
            filters, size, strides=strides, use_bias=False, name=f"{name}_conv"
        )
        norm = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn")
        return norm(convolution(x))

    def block(x, width, strides, name, *, project):
        y = layers.ReLU()(convolve(x, width, 1, 1, f"{name}_1"))
        y = layers.ReLU()(convolve(y, width, 3, strides, f"{name}_2"))
        y = convolve(y, 4 * width, 1, 1, f"{name}_3")
        if project:
            x = convolve(x, 4 * width, 1, strides, f"{name}_0")
        return layers.ReLU()(layers.Add()([x, y]))

    images = keras.Input((measure.IMAGE_SIZE, measure.IMAGE_SIZE, 3))
    x = layers.ReLU()(convolve(images, 64, 7, 2, "conv1"))
    # Zeros are as good as -inf here: nothing is below them after a ReLU.
    x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x))
    for stage, blocks in enumerate(BLOCKS):
        for index in range(blocks):
            strides = 2 if index == 0 and stage > 0 else 1
            name = f"conv{stage + 2}_block{index + 1}"
            x = block(x, 64 * 2**stage, strides, name, project=index == 0)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, layers.Dense(measure.CLASSES, name="predictions")(x))


def make_network(model: str, weights: dict[str, np.ndarray]) -> keras.Model:
    """`resnet` or `cnn` with weights given by their places in signjax."""
    network = make_resnet() if model == "resnet" else make_cnn()
    is_resnet = model == "resnet"
    places = table(LAYOUTS["keras_applications"]) if is_resnet else CNN_PLACES
    variables = {
        places[f"{layer.name}/{variable.name}"]: variable
        for layer in network.layers
        for variable in layer.weights
    }
    if variables.keys() != weights.keys():
        raise ValueError(
            f"weights of another network: {variables.keys() ^ weights.keys()}"
        )
    for place, variable in variables.items():
        variable.assign(weights[place])
    return network
