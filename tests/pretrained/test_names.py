"""Each source's names, against what the sources themselves call their leaves."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from signjax.models.resnet import ResNet
from signjax.pretrained import names
from tests.helpers.weight_files import shapes_of

SOURCES = [
    "keras_applications",
    "keras_applications_old",
    "torchvision",
    "hugging_face",
]


def layout(source: str) -> names.Layout:
    """As recognised by the names that Keras, PyTorch and transformers gave."""
    if source == "flax":
        return names.LAYOUTS[source]
    found = names.recognize(shapes_of(source, counters=False))
    assert found is not None and found.kind == source
    return found


@pytest.mark.parametrize("source", SOURCES)
def test_a_table_has_exactly_the_source_names(source: str) -> None:
    assert (
        names.table(layout(source)).keys() == shapes_of(source, counters=False).keys()
    )


@pytest.mark.parametrize("source", [*SOURCES, "flax"])
def test_a_table_fills_our_network(source: str) -> None:
    places = list(names.table(layout(source)).values())
    assert len(places) == len(set(places))
    has_bias = source.startswith("keras") or source == "flax"
    model = ResNet(1000, conv_bias=has_bias)
    images = np.zeros((1, 64, 64, 3), np.float32)
    ours = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))
    assert set(places) == flatten_dict(ours).keys()


@pytest.mark.parametrize(
    ("source", "name", "place"),
    [
        (
            "keras_applications",
            "conv3_block1_0_bn/moving_variance",
            "batch_stats/stage2_block1/bn_shortcut/var",
        ),
        (
            "keras_applications_old",
            "res4f_branch2c/kernel",
            "params/stage3_block6/conv3/kernel",
        ),
        (
            "torchvision",
            "layer4.0.downsample.1.weight",
            "params/stage4_block1/bn_shortcut/scale",
        ),
        (
            "hugging_face",
            "resnet.encoder.stages.2.layers.5.layer.1.normalization.running_mean",
            "batch_stats/stage3_block6/bn2/mean",
        ),
        ("flax", "params/head/bias", "params/head/bias"),
    ],
)
def test_a_name_has_its_place(source: str, name: str, place: str) -> None:
    assert "/".join(names.table(layout(source))[name]) == place


def test_keras_layers_are_in_keras_order() -> None:
    recorded = shapes_of("keras_applications")
    order = names.keras_layer_order()
    kernels = [f"{layer}/kernel" for layer in (*order["conv2d"], *order["dense"])]
    scales = [f"{layer}/gamma" for layer in order["batch_normalization"]]
    assert [n for n in recorded if n.endswith("/kernel")] == kernels
    assert [n for n in recorded if n.endswith("/gamma")] == scales


@pytest.mark.parametrize("source", [*SOURCES, "flax"])
def test_a_resnet50_has_depth_50(source: str) -> None:
    found = layout(source)
    assert names.depth(found, names.table(found)) == 50


def test_basic_blocks_have_two_convolutions() -> None:
    held = [
        f"layer{stage}.{block}.conv{i}.weight"
        for stage in (1, 2, 3, 4)
        for block in (0, 1)
        for i in (1, 2)
    ]
    assert names.depth(names.LAYOUTS["torchvision"], held) == 18
