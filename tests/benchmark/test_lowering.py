"""Every shipped recipe's step, lowered for accelerators from here: what is in it."""

import re
from importlib import import_module
from math import prod
from typing import Any

import jax
import numpy as np
import pytest

from configs import cnn, hands
from signjax import experiment
from signjax.benchmark.programs import lower_program
from signjax.benchmark.sweep import plan
from signjax.hands.pose import RECORD
from signjax.models import make_model
from tests.test_configs import CASES

PLATFORMS = ("tpu", "cuda", "rocm")
# StableHLO: the sizes of a gather's slices, and its result's shape.
GATHER = re.compile(
    r"stablehlo\.gather.*slice_sizes = array<i64: ([\d, ]+)>.*-> tensor<([\dx]+)x"
)


def lowered(config: Any, monkeypatch: pytest.MonkeyPatch, device_count: int = 1) -> str:
    """The step as it is made on accelerators, for all of PLATFORMS."""

    def for_accelerators(**options: Any) -> Any:
        return make_model(**{**options, "conv_impl": "xla"})

    monkeypatch.setattr(experiment, "make_model", for_accelerators)
    config.dtype = "bfloat16"
    devices = jax.local_devices()[:device_count]
    (point,) = plan(config, {"program": ["step"]}, devices)
    return lower_program(point, PLATFORMS).as_text()


@pytest.mark.parametrize(
    ("name", "variant"), [case for case in CASES if case[0] != "hands"]
)
def test_the_step_lowers_to_convolutions_and_gathers_no_single_pixels(
    name: str, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = import_module(f"configs.{name}").get_config(variant)
    if config.model.name == "resnet50":  # two blocks of a stage are of all kinds
        sizes = config.model.stage_sizes
        config.model.stage_sizes = tuple(min(2, size) for size in sizes)
    text = lowered(config, monkeypatch)
    # Forward, and the gradients of inputs and kernels; equal ones are written once.
    assert text.count("stablehlo.convolution") >= (5 if name == "cnn" else 29)
    targets = re.findall(r"custom_call @(\w+)", text)
    assert set(targets) <= {"Sharding", "LayoutConstraint"}, targets
    gathers = [
        (prod(map(int, slices.split(","))), prod(map(int, shape.split("x"))))
        for slices, shape in GATHER.findall(text)
    ]
    assert gathers  # the batch, a row an image
    assert not [found for found in gathers if found[0] < 100 < 10_000 < found[1]]


def test_devices_that_share_a_batch_loop_no_more_than_one_with_its_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loops = []
    for count in (1, 8):
        config = cnn.get_config()
        config.train.batch_size *= count
        loops.append(lowered(config, monkeypatch, count).count("stablehlo.while"))
    assert loops[0] == loops[1]


def test_the_step_of_hands_lowers_too() -> None:
    made = experiment.make_experiment(hands.get_config(), 10, 1000, jax.devices()[:1])
    records = jax.ShapeDtypeStruct((1000, RECORD), np.float32)
    labels = jax.ShapeDtypeStruct((1000,), np.int32)
    indices = jax.ShapeDtypeStruct((128,), np.int32)
    traced = made.train_step.trace(
        made.abstract_state(), records, labels, indices, made.key
    )
    text = traced.lower(lowering_platforms=PLATFORMS).as_text()
    targets = re.findall(r"custom_call @(\w+)", text)
    assert set(targets) <= {"LayoutConstraint"} and "dot_general" in text
