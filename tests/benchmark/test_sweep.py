"""The points of a sweep: what the flag may say, and what is left as trained."""

from typing import Any

import jax
import pytest

from configs import cnn, resnet
from signjax.benchmark.sweep import SweepPoint, parse_sweep, plan
from signjax.errors import InputError

DEVICES = jax.local_devices()


def points(config: Any, sweep: str = "", count: int = 1) -> list[SweepPoint]:
    return list(plan(config, parse_sweep(sweep), DEVICES[:count]))


def test_a_sweep_is_axes_and_their_values() -> None:
    assert parse_sweep("batch_size=32,128 program=step") == {
        "batch_size": [32, 128],
        "program": ["step"],
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("program=train", "'train': expected step or bare or epoch"),
        ("batch_size=0", "'0': expected a whole number above 0"),
        ("train_size=32,", "'': expected a whole number"),
        ("dtype=float16", "expected float32 or bfloat16"),
        ("batch=32", "device_count, dtype, batch_size, train_size, program"),
        ("batch_size", "'batch_size' is not an axis"),
        ("dtype=float32 dtype=float32", "each once"),
        ("batch_size=8,16,8", "'batch_size=8,16,8' has a value twice"),
        ("device_count=9", "9 are asked for and there are 8 devices"),
        ("batch_size=30 device_count=8", "a multiple of 8"),
    ],
)
def test_a_wrong_sweep_is_told_in_one_line(text: str, told: str) -> None:
    with pytest.raises(InputError) as error:
        points(cnn.get_config("seed"), text, 8)
    assert told in str(error.value) and "\n" not in str(error.value)


def test_without_a_sweep_it_takes_what_training_would() -> None:
    config = cnn.get_config("seed")
    found = points(config, count=8)
    assert [p.program for p in found] == ["step", "bare", "epoch"]
    assert {(len(p.devices), p.batch_size, p.train_size) for p in found} == {
        (8, 64, 1080)
    }
    assert {p.experiment.dtype for p in found} == {"float32"}  # of the CPU
    assert config == cnn.get_config("seed")  # a point's changes are its own


def test_an_epoch_of_the_resnet_on_the_cpu_is_left_out_unless_asked_for() -> None:
    assert [p.program for p in points(resnet.get_config())] == ["step", "bare"]
    (asked,) = points(resnet.get_config(), "program=epoch")
    assert asked.program == "epoch"


def test_the_data_set_is_as_large_as_asked_for_and_never_below_a_batch() -> None:
    sizes = [p.train_size for p in points(cnn.get_config(), "train_size=64,5000")]
    assert sizes == 3 * [64] + 3 * [5000]
    (large,) = points(cnn.get_config(), "batch_size=1280 program=step")
    assert large.train_size == large.batch_size == 1280


def test_bare_augments_nothing() -> None:
    bare, step = points(resnet.get_config(), "program=bare,step")
    assert not any(bare.config.augment.to_dict().values())
    assert any(step.config.augment.to_dict().values())
