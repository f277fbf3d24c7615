"""Each source's names, against what the sources themselves call their leaves."""

import jax
import numpy as np
import pytest

from signjax.models.resnet import ResNet
from signjax.pretrained import names
from signjax.pretrained.port import flatten
from tests.helpers.weight_files import shapes_of

PLACES = {
    "keras_applications": (
        "conv3_block1_0_bn/moving_variance",
        "batch_stats/stage2_block1/bn_shortcut/var",
    ),
    "keras_applications_old": (
        "res4f_branch2c/kernel",
        "params/stage3_block6/conv3/kernel",
    ),
    "torchvision": (
        "layer4.0.downsample.1.weight",
        "params/stage4_block1/bn_shortcut/scale",
    ),
    "hugging_face": (
        "resnet.encoder.stages.2.layers.5.layer.1.normalization.running_mean",
        "batch_stats/stage3_block6/bn2/mean",
    ),
    "flax": ("params/head/bias", "params/head/bias"),
}


@pytest.mark.parametrize("source", PLACES)
def test_a_source_has_these_names_and_they_fill_our_network(source: str) -> None:
    shapes = shapes_of(source, counters=False)  # as Keras, PyTorch, ... gave them
    layout = names.recognize(shapes)
    assert layout is not None and layout.kind == source
    table = names.table(layout)
    if source == "flax":  # whose shapes here are torchvision's
        shapes |= {name: () for name in table if "/conv" in name}
    assert table.keys() == shapes.keys()
    name, place = PLACES[source]
    assert table[name] == place
    model = ResNet(1000, conv_bias=source not in ("torchvision", "hugging_face"))
    images = np.zeros((1, 64, 64, 3), np.float32)
    ours = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))
    assert sorted(table.values()) == sorted(flatten(ours))


def test_keras_groups_are_in_keras_order() -> None:
    recorded = shapes_of("keras_applications")
    groups = names.keras_groups()
    for kind, leaf in (("conv2d", "kernel"), ("batch_normalization", "gamma")):
        layers = [groups[kind], *(groups[f"{kind}_{i}"] for i in range(1, 53))]
        found = [f"{layer}/{leaf}" for layer in layers]
        assert [n for n in recorded if n.endswith(leaf) and "pred" not in n] == found
