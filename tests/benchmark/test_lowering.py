"""Every shipped recipe's step, lowered for accelerators from here: what is in it."""

import re
from collections.abc import Callable
from math import prod
from typing import Any

import jax
import pytest

from configs import cnn, digits, resnet, resnet_pretrained
from signjax import experiment
from signjax.benchmark.programs import lower_program
from signjax.benchmark.sweep import plan
from signjax.models import make_model

RECIPES: dict[str, Callable[[], Any]] = {
    "cnn": cnn.get_config,
    "cnn:seed": lambda: cnn.get_config("seed"),
    "resnet": resnet.get_config,
    "resnet:seed": lambda: resnet.get_config("seed"),
    "resnet_pretrained": resnet_pretrained.get_config,
    "resnet_pretrained:frozen": lambda: resnet_pretrained.get_config("frozen"),
    "digits": digits.get_config,
}
PLATFORMS = ("tpu", "cuda", "rocm")
# StableHLO: the sizes of a gather's slices, and its result's shape.
GATHER = re.compile(
    r"stablehlo\.gather.*slice_sizes = array<i64: ([\d, ]+)>.*-> tensor<([\dx]+)x"
)


def lowered(config: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """The step as it is made on an accelerator, for all of PLATFORMS."""

    def for_accelerators(**options: Any) -> Any:
        return make_model(**{**options, "conv_impl": "xla"})

    monkeypatch.setattr(experiment, "make_model", for_accelerators)
    config.dtype = "bfloat16"
    (point,) = plan(config, {"program": ["step"]}, jax.local_devices()[:1])
    return lower_program(point, PLATFORMS).as_text()


@pytest.mark.parametrize("name", RECIPES)
def test_the_step_lowers_to_convolutions_and_gathers_no_single_pixels(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = lowered(RECIPES[name](), monkeypatch)
    convolutions = text.count("stablehlo.convolution")
    # Forward, and the gradients of inputs and kernels but of the images.
    assert convolutions >= (53 if "resnet" in name or name == "digits" else 5)
    targets = re.findall(r"custom_call @(\w+)", text)
    assert set(targets) <= {"Sharding", "annotate_device_placement"}, targets
    gathers = [
        (prod(map(int, slices.split(","))), prod(map(int, shape.split("x"))))
        for slices, shape in GATHER.findall(text)
    ]
    assert gathers  # the batch, a row an image
    assert not [found for found in gathers if found[0] < 100 < 10_000 < found[1]]
