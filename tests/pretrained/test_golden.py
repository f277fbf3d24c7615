"""Known outputs are found by the weights' values alone."""

from pathlib import Path

import numpy as np

from signjax.pretrained.golden import known_output
from signjax.pretrained.port import port
from signjax.pretrained.read import read_weights
from tests.helpers.ported import network, prepare


def test_the_published_keras_weights_give_what_keras_computed(shared: Path) -> None:
    ported = port(read_weights(shared / "weights" / "resnet50_imagenet_keras.h5"))
    known = known_output(ported.variables)
    assert known is not None
    inputs = prepare(ported, known.images)
    logits = network(ported).apply(ported.variables, inputs, train=False)
    difference = np.abs(np.asarray(logits) - known.logits).max()
    assert difference <= 1e-4 * np.abs(known.logits).max()
    bias = ported.variables["params"]["head"]["bias"]
    bias[0] = np.nextafter(bias[0], np.float32(9))
    assert known_output(ported.variables) is None
