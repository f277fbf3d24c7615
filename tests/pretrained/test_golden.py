"""Known outputs are found by the weights' values alone."""

from pathlib import Path
from typing import Any

import numpy as np

from signjax.models.resnet import ResNet
from signjax.pretrained.golden import fingerprint, known_output
from signjax.pretrained.port import port
from signjax.pretrained.read import read_weights


def tree(value: float) -> dict[str, Any]:
    return {"params": {"head": {"bias": np.array([value, 2.0], np.float32)}}}


def test_the_fingerprint_is_of_the_values() -> None:
    assert fingerprint(tree(1.0)) == fingerprint(tree(1.0))
    assert fingerprint(tree(1.0)) != fingerprint(tree(np.nextafter(np.float32(1), 2)))


def test_nothing_is_known_of_other_weights() -> None:
    assert known_output(tree(1.0)) is None


def test_the_published_keras_weights_give_what_keras_computed(shared: Path) -> None:
    ported = port(read_weights(shared / "weights" / "resnet50_imagenet_keras.h5"))
    known = known_output(ported.variables)
    assert known is not None
    mean, std = ported.preprocessing.mean, ported.preprocessing.std
    inputs = (known.images / 255 - np.array(mean)) / np.array(std)
    model = ResNet(1000, **ported.variant, conv_impl="matmul")
    logits = model.apply(ported.variables, inputs.astype(np.float32), train=False)
    difference = np.abs(np.asarray(logits) - known.logits).max()
    assert difference <= 1e-4 * np.abs(known.logits).max()
