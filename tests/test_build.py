"""The config's values become the right parts, or one clear line."""

from typing import Any

import pytest
from ml_collections import ConfigDict

from configs import cnn, resnet, resnet_pretrained
from signjax.config import check, default_config
from signjax.errors import InputError

CLASSES = tuple("012345")


def edit(config: ConfigDict, changes: dict[str, Any]) -> ConfigDict:
    config.update_from_flattened_dict(changes)
    return config


def warn(text: str) -> None:
    pytest.fail(text)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("seed", -1, "at least 0"),
        ("dtype", "float16", "'bfloat16'"),
        ("model.name", "resnet51", "'resnet50'"),
        ("model.init", "glorot", "'keras'"),
        ("model.stride_on", "5x5", "'3x3'"),
        ("model.pool_padding", 2, "0 or 1"),
        ("model.bn_momentum", 1.0, "between 0 and 1"),
        ("model.bn_epsilon", 0.0, "more than 0"),
        ("data.source", "imagenet", "'synthetic'"),
        ("data.image_size", 0, "multiple of 32"),
        ("data.image_size", 50, "multiple of 32"),
        ("data.validation_fraction", 1.0, "below 1"),
        ("data.validation_fraction", -0.1, "at least 0"),
        ("data.test_fraction", 0.0, "between 0 and 1"),
        ("data.synthetic_train", 0, "at least 1"),
        ("data.synthetic_test", 0, "at least 1"),
        ("data.synthetic_pose_jitter", 1.5, "between 0 and 1"),
        ("data.synthetic_classes", 8, "6 or 10"),
        ("data.crop", 0.0, "above 0 and at most 1"),
        ("data.crop", 1.5, "above 0 and at most 1"),
        ("data.interpolation", "nearest", "'hamming'"),
        ("data.mean", (0.5, 0.5), "three numbers"),
        ("data.std", (0.5, 0.5, 0.0), "three numbers above 0"),
        ("augment.rotation", -1.0, "at least 0"),
        ("augment.rotation", 190.0, "below 181"),
        ("augment.scale", -0.1, "at least 0"),
        ("augment.translation", 1.0, "below 1"),
        ("augment.brightness", 1.0, "below 1"),
        ("augment.contrast", -0.1, "at least 0"),
        ("augment.saturation", 2.0, "below 1"),
        ("train.epochs", 0, "at least 1"),
        ("train.batch_size", 0, "at least 1"),
        ("train.label_smoothing", 1.0, "below 1"),
        ("optimizer.name", "lion", "'adamw'"),
        ("optimizer.learning_rate", 0.0, "more than 0"),
        ("optimizer.learning_rate", float("nan"), "more than 0"),
        ("optimizer.schedule", "linear", "'cosine'"),
        ("optimizer.warmup_epochs", -1.0, "at least 0"),
        ("optimizer.weight_decay", -1e-4, "at least 0"),
        ("optimizer.momentum", 1.0, "below 1"),
        ("optimizer.epsilon", 0.0, "more than 0"),
        ("run.eval_batch_size", 0, "at least 1"),
        ("run.checkpoint_every_epochs", 0, "at least 1"),
    ],
)
def test_a_wrong_value_is_one_line_with_key_value_and_what_was_expected(
    key: str, value: Any, expected: str
) -> None:
    with pytest.raises(InputError) as error:
        check(edit(cnn.get_config(), {key: value}))
    message = str(error.value)
    assert f"config.{key} is {value!r}" in message
    assert expected in message
    assert "\n" not in message


def test_a_missing_key_is_named() -> None:
    for key in keys(default_config()) - {"name", "data.dir"}:
        config: Any = cnn.get_config()
        parent, _, name = key.rpartition(".")
        with config.unlocked():
            del (config[parent] if parent else config)[name]
        with pytest.raises(InputError, match=rf"config\.{key} is missing"):
            check(config)


def keys(config: ConfigDict, prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            found |= keys(value, f"{prefix}{name}.")
        else:
            found.add(prefix + name)
    return found


def test_adam_takes_no_weight_decay() -> None:
    config = edit(
        cnn.get_config(),
        {"optimizer.name": "adam", "optimizer.weight_decay": 0.1},
    )
    with pytest.raises(InputError, match=r"weight_decay is 0\.1.*adamw"):
        check(config)


def test_a_mirrored_evaluation_takes_a_training_that_flips() -> None:
    with pytest.raises(InputError, match=r"tta\.flip is True.*augment\.flip"):
        check(edit(resnet.get_config(), {"augment.flip": False}))
    check(edit(resnet.get_config(), {"tta.flip": False}))


def test_an_evaluation_turns_no_farther_than_training() -> None:
    with pytest.raises(InputError, match=r"tta\.rotation is 15\.0.*rotation 10\.0"):
        check(edit(resnet.get_config(), {"augment.rotation": 10.0}))
    check(edit(resnet.get_config(), {"augment.rotation": 15.0}))


def test_a_head_does_not_learn_alone_for_more_than_all_epochs() -> None:
    with pytest.raises(InputError, match=r"head_epochs is 99\.0, more than.*, 16"):
        check(edit(resnet_pretrained.get_config(), {"optimizer.head_epochs": 99.0}))


def test_a_frozen_backbone_keeps_its_statistics() -> None:
    frozen = resnet_pretrained.get_config("frozen")
    check(frozen)
    with pytest.raises(InputError, match=r"freeze_backbone and .*recalibrate_batch"):
        check(edit(frozen, {"train.recalibrate_batch_norm": True}))


def test_the_cnn_takes_no_key_of_the_resnet() -> None:
    with pytest.raises(InputError, match=r"bn_momentum is 0\.5, which only resnet50"):
        check(edit(cnn.get_config(), {"model.bn_momentum": 0.5}))
