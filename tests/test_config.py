"""The table of config keys: what is legal passes, and what is not is one line."""

import json
import math
import subprocess
import sys
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from configs import cnn, resnet, resnet_pretrained
from signjax.augment import augment
from signjax.augment.color import color_jitter
from signjax.config import (
    CONFLICTS,
    KEYS,
    TABLE,
    Config,
    check,
    check_batch_size,
    default_config,
    from_stored,
)
from signjax.errors import InputError
from signjax.models import NETWORKS
from signjax.optim import make_optimizer


def edit(config: Config, changes: dict[str, Any]) -> Config:
    config.update_from_flattened_dict(changes)
    return config


def test_the_defaults_are_legal_and_are_all_the_keys() -> None:
    config = default_config()
    check(config)
    leaves = {f"{g}.{k}" for g in config if g not in KEYS for k in config[g]}
    leaves |= {name for name in config if name in KEYS}
    assert leaves == KEYS.keys() and len(KEYS) == len(TABLE)
    assert {conflict.key for conflict in CONFLICTS} <= leaves
    assert all(key.help and key.rule.words for key in TABLE)
    with pytest.raises(AttributeError, match="locked"):
        config.train.epoch = 3


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("name", "", "a name for the workdir"),
        ("name", "..", "a name for the workdir"),
        ("name", "../elsewhere", "without / and"),
        ("name", "runs\\resnet", "without / and"),
        ("seed", -1, "at least 0"),
        ("seed", 2**32, "below 4294967296"),  # jax.random.key(2**32) is that of 0
        ("dtype", "float16", "'auto' or 'float32' or 'bfloat16'"),
        ("model.name", "resnet51", "'resnet50'"),
        ("model.width", 0, "at least 1"),
        ("model.stage_sizes", (2, 2, 2), "four whole numbers"),
        ("model.stage_sizes", (2, 2, 0, 2), "four whole numbers"),
        ("model.stage_sizes", (2, 2, 1.5, 2), "four whole numbers"),
        ("model.pool_padding", 2, "0 or 1"),
        ("model.bn_momentum", 1.0, "between 0 and 1, both excluded"),
        ("model.bn_epsilon", 0.0, "a number more than 0"),
        ("data.image_size", 0, "a multiple of 32"),
        ("data.image_size", 50, "a multiple of 32"),
        ("data.validation_fraction", 1.0, "at least 0 and below 1"),
        ("data.validation_fraction", -0.1, "at least 0 and below 1"),
        ("data.test_fraction", 0.0, "between 0 and 1, both excluded"),
        ("data.group", "(", "a regular expression"),
        ("data.synthetic_pose_jitter", 1.5, "between 0 and 1, both included"),
        ("data.synthetic_classes", 8, "6 or 10"),
        ("data.crop", 0.0, "above 0 and at most 1"),
        ("data.crop", 1.5, "above 0 and at most 1"),
        ("data.mean", (0.5, 0.5), "three numbers"),
        ("data.mean", (0.5, math.nan, 0.5), "three numbers"),
        ("data.mean", (0.5, "0.5", 0.5), "three numbers"),
        ("data.std", (0.5, 0.5, 0.0), "three numbers above 0"),
        ("data.std", (1.0, 1.0, math.inf), "three numbers above 0"),
        ("augment.rotation", 190.0, "below 181"),
        ("augment.scale", math.inf, "below 2"),
        ("train.epochs", 0, "a whole number of at least 1"),
        ("train.epochs", True, "a whole number of at least 1"),
        ("train.label_smoothing", math.nan, "below 1"),
        ("optimizer.learning_rate", 0.0, "more than 0"),
        ("optimizer.learning_rate", math.nan, "more than 0"),
        ("optimizer.learning_rate", math.inf, "more than 0"),
        ("optimizer.weight_decay", math.inf, "at least 0"),
        ("optimizer.warmup_epochs", -1.0, "at least 0"),
    ],
)
def test_an_illegal_value_is_named_with_what_was_expected(
    key: str, value: Any, expected: str
) -> None:
    with pytest.raises(InputError) as error:
        check(edit(default_config(), {key: value}))
    message = str(error.value)
    assert message.startswith(f"config.{key} is {value!r}: expected ")
    assert expected in message and "\n" not in message


def test_each_key_is_a_keyword_of_the_code_that_it_configures() -> None:
    """Else a change is half made; of models, a key must change no other model."""

    def names(network: Any) -> set[str]:
        return {field.name for field in fields(network)}

    keywords = {
        "augment": {
            *signature(augment).parameters,
            *signature(color_jitter).parameters,
        },
        "optimizer": {*signature(make_optimizer).parameters},
    }
    for key in TABLE:
        group, _, name = key.name.partition(".")
        if group in keywords:
            assert name in keywords[group], key.name
        if key.name.startswith("model.") and key.model and name != "hands":
            having = [x for x, net in NETWORKS.items() if name in names(net)]
            assert having == [key.model], key.name


@pytest.mark.parametrize("key", TABLE, ids=[key.name for key in TABLE])
def test_no_key_allows_a_value_of_another_type(key: Any) -> None:
    others = {bool: 1, int: 1.0, float: "1", str: 1, tuple: "rgb"}
    assert not key.allows(others[type(key.default)])
    assert not key.allows(None)


@pytest.mark.parametrize(
    ("key", "value"),
    [("name", "my run, é 2"), ("seed", 2**32 - 1), ("optimizer.weight_decay", 0)],
)
def test_the_last_legal_value_passes(key: str, value: Any) -> None:
    check(edit(default_config(), {key: value}))


@pytest.mark.parametrize("name", [*KEYS])
def test_a_missing_key_is_named(name: str) -> None:
    config = cnn.get_config()
    parent, _, last = name.rpartition(".")
    with config.unlocked():
        del (config[parent] if parent else config)[last]
    with pytest.raises(InputError, match=rf"config\.{name} is missing"):
        check(config)


CNN, RESNET, FINETUNED = cnn.get_config, resnet.get_config, resnet_pretrained.get_config
OUTLIERS = "train.outlier_fraction"


# fmt: off
@pytest.mark.parametrize(
    ("config", "changes", "told", "remedy"),
    [
        (CNN(), {"optimizer.name": "adam", "optimizer.momentum": 0.8},
            r"optimizer\.momentum is 0\.8, which adam .*sgd",
            {"optimizer.name": "sgd"}),
        (CNN(), {"optimizer.name": "adam", "optimizer.weight_decay": 0.1},
            r"optimizer\.weight_decay is 0\.1, which adam .*adamw",
            {"optimizer.name": "adamw"}),
        (CNN(), {"train.epochs": 1},
            r"optimizer\.warmup_epochs is 2\.0, more than config\.train\.epochs, 1",
            {"optimizer.warmup_epochs": 0.0}),
        (FINETUNED(), {"optimizer.head_epochs": 99.0},
            r"optimizer\.head_epochs is 99\.0, more than.*, 16: give fewer, or train",
            {"optimizer.head_epochs": 16.0}),
        (FINETUNED("frozen"), {"train.recalibrate_batch_norm": True},
            r"train\.recalibrate_batch_norm is True, but .*freeze_backbone",
            {"train.freeze_backbone": False}),
        (RESNET(), {"augment.flip": False},
            r"tta\.flip is True, but config\.augment\.flip is False",
            {"tta.flip": False}),
        (RESNET(), {"augment.rotation": 10.0},
            r"tta\.rotation is 15\.0, but .*at most 10\.0", {"augment.rotation": 15.0}),
        (CNN(), {"data.group": "sequence", "data.source": "signs"},
            r"data\.group is 'sequence'.* folders", {"data.source": "folder"}),
        (CNN(), {OUTLIERS: 0.1, "train.shuffle": False},
            r"train\.outlier_fraction is 0\.1, but in an", {"train.shuffle": True}),
        (CNN(), {OUTLIERS: 0.1, "train.batch_size": 1},
            r"train\.outlier_fraction is 0\.1, which leaves no image in a batch of 1",
            {"train.batch_size": 2}),
        (CNN(), {"data.stream": True},
            r"data\.stream is True, which only", {"data.source": "folder"}),
        (CNN(), {"data.stream": True, "data.source": "folder",
                 "data.synthetic_count": 9},
            r"data\.synthetic_count is 9, but with config\.data\.stream",
            {"data.synthetic_count": 0}),
        (CNN(), {"model.bn_momentum": 0.5},
            r"model\.bn_momentum is 0\.5, which only resnet50 takes: .* for cnn",
            {"model.name": "resnet50"}),
    ],
)
# fmt: on
def test_values_that_do_not_go_together_are_told_with_a_remedy(
    config: Config, changes: dict[str, Any], told: str, remedy: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match=rf"^config\.{told}"):
        check(edit(config, changes))
    check(edit(config, remedy))


# fmt: off
@pytest.mark.parametrize(
    ("key", "value", "size", "devices", "told"),
    [
        ("batch_size", 30, 1080, 8, "is 30, which .* 8 devices: give a multiple of 8"),
        ("batch_size", 64, 60, 1, "is 64, but there are 60 training images"),
        ("drop_remainder", False, 1080, 1, "is False, but BatchNorm would"),
    ],
)
# fmt: on
def test_a_batch_size_that_images_or_devices_do_not_allow_is_refused(
    key: str, value: Any, size: int, devices: int, told: str
) -> None:
    config = edit(RESNET(), {f"train.{key}": value})
    with pytest.raises(InputError, match=rf"^config\.train\.{key} {told}"):
        check_batch_size(config, size, devices)
    check_batch_size(RESNET(), 1088, 8)


def stored() -> dict[str, Any]:
    return json.loads(json.dumps(RESNET().to_dict()))


def test_a_stored_config_is_read_back_with_its_types() -> None:
    config = from_stored(stored(), "run.json")
    assert config.to_dict() == RESNET().to_dict()
    assert type(config.data.mean) is tuple
    check(config)


def test_a_key_that_has_come_since_is_at_its_default() -> None:
    before = stored()
    del before["train"]["outlier_fraction"]
    assert from_stored(before, "run.json").train.outlier_fraction == 0.0


EARLIER = "was written by an earlier version, as its config"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"evaluation": {"turn": 15.0}}, f"{EARLIER} has evaluation.turn: "),
        ({"tta": None}, f"{EARLIER} lacks tta: "),
        ({"train": 3}, f"{EARLIER} has train: "),
        ({"data": {"synthetic_extra": 270}}, f"{EARLIER} has data.synthetic_extra: "),
        ({"data": {"image_size": "64"}}, "config.data.image_size is '64': expected a"),
        ({"train": {"shuffle": 1}}, "config.train.shuffle is 1: expected True or Fal"),
    ],
)
def test_a_stored_config_of_other_keys_or_types_is_refused(
    changes: dict[str, Any], told: str
) -> None:
    given = {name: x for name, x in (stored() | changes).items() if x is not None}
    with pytest.raises(InputError) as error:
        from_stored(given, "old/run.json")
    assert str(error.value).replace(".json: ", ".json ").startswith(
        f"old/run.json {told}"
    )


def test_a_config_is_read_without_loading_jax(root: Path) -> None:
    program = (
        "import sys; from configs import cnn, resnet; "
        "cnn.get_config(); resnet.get_config(); print('jax' in sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True
    )
    assert ended.stdout == "False\n", ended.stderr
