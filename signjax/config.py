"""Every key of a config, with its unit and legal values; configs/*.py set them.

A key is overridden on the command line by its name: --config.train.epochs=5.
All keys change the result of a run, but `name`, those under `run`, and where the same
images are found and kept (`data.source`, `data.dir`, `data.stream`).
"""

import math
import re
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from signjax.errors import InputError

# A ConfigDict. Its keys are attributes made at run time, which no type checker sees.
Config = Any


def default_config() -> Config:
    """All keys, with values that leave everything optional switched off."""
    config: Config = ConfigDict()
    config.name = "base"  # names the default workdir, runs/NAME; no / in it
    config.seed = 0  # [0, 2**32): initial weights, data order, augmentation, splits
    config.dtype = "auto"  # compute: float32, bfloat16, auto (bfloat16 off the CPU)

    model: Config = ConfigDict()
    config.model = model
    model.name = "cnn"  # cnn, resnet50
    model.weights = ""  # pretrained: a file, a workdir or a published name; "": none
    # he is normal, by a kernel's inputs in the CNN and by its outputs in ResNet-50.
    model.init = "keras"  # keras (glorot-uniform, in identity blocks +-0.05), he
    # The rest is for resnet50 alone.
    model.stride_on = "3x3"  # layer that strides: 1x1 (v1, Keras), 3x3 (v1.5)
    model.pool_padding = 1  # pixels around the stem's max-pool: 0, 1
    model.conv_bias = False  # biases in convolutions
    model.zero_init_last_scale = True  # each block starts as the identity
    model.bn_momentum = 0.9  # (0, 1): weight of the old running statistics
    model.bn_epsilon = 1e-5  # > 0, added to variances

    data: Config = ConfigDict()
    config.data = data
    data.source = "auto"  # signs, folder, digits, synthetic, auto (see README)
    data.dir = ""  # where signs, folder or digits' folder lie; "": the usual places
    # A folder too large for memory: its pictures stay on disk and are read as they
    # are needed, for the same result (extra: stream).
    data.stream = False  # folder alone
    data.image_size = 64  # pixels a side, a multiple of 32
    data.validation_fraction = 0.0  # [0, 1): share of training images held out
    data.test_fraction = 0.2  # (0, 1): share of a folder without train/ and test/
    # Which pictures of a folder no split may part: `sequence`, for people who showed
    # the classes in turn, or a regular expression on the file's path below the class
    # folder, whose bracketed text names the person, as r"^(\w+)_" for anna_03.jpg.
    data.group = ""  # "": each picture is for itself, but for copies of one
    data.synthetic_train = 1080  # images drawn for training
    data.synthetic_test = 120  # images drawn for the test
    data.synthetic_count = 0  # hands drawn to train on beside the images, int >= 0
    data.synthetic_epoch_fraction = 1.0  # (0, 1], share of the epochs with these hands
    data.synthetic_pose_jitter = 0.0  # [0, 1]: of drawn fingers' and thumbs' poses
    data.synthetic_classes = 6  # digits drawn: 6 (0 to 5, as in SIGNS), 10
    data.crop = 1.0  # (0, 1]: share kept of a picture's largest centred square's side
    data.interpolation = "bicubic"  # bilinear, hamming, bicubic; all antialiased
    data.mean = (0.0, 0.0, 0.0)  # subtracted from RGB in [0, 1]
    data.std = (1.0, 1.0, 1.0)  # > 0, divides what is left

    augment: Config = ConfigDict()
    config.augment = augment
    augment.flip = False  # mirror half of the images: a left hand for a right one
    augment.rotation = 0.0  # degrees, up to this either way
    augment.scale = 0.0  # [0, 2): zoom by a factor of exp(+-scale)
    augment.translation = 0.0  # share of the side, up to this in each direction
    augment.perspective = 0.0  # [0, 0.5): an edge nearer or farther, up to this
    augment.brightness = 0.0  # [0, 1): factor 1 +- brightness
    augment.contrast = 0.0  # [0, 1): factor 1 +- contrast about the mean
    augment.saturation = 0.0  # [0, 1): factor 1 +- saturation about grey
    augment.background = 0.0  # [0, 1]: share of hands before grey walls given another
    augment.gamma = 0.0  # >= 0: power of exp(+-gamma)
    augment.tint = 0.0  # [0, 1): factor 1 +- tint of each channel
    augment.lighting = 0.0  # >= 0: factor 1 +- lighting from edge to edge, and corners
    augment.blur = 0.0  # [0, 1]: share of a 3x3 blur, up to this added or taken away
    augment.noise = 0.0  # >= 0: amplitude of uniform noise
    augment.greyscale = 0.0  # [0, 1]: share of images without colour

    train: Config = ConfigDict()
    config.train = train
    train.epochs = 10  # int >= 1
    train.batch_size = 32  # images a step over all devices, int >= 1
    train.shuffle = True  # a new order each epoch
    train.drop_remainder = True  # drop, not pad, an epoch's last partial batch
    train.label_smoothing = 0.0  # [0, 1)
    train.outlier_fraction = (
        0.0  # [0, 1): share of a batch given to drawn pictures of no class
    )
    train.freeze_backbone = False  # train the head alone
    train.recalibrate_batch_norm = False  # statistics taken anew after the last step

    optimizer: Config = ConfigDict()
    config.optimizer = optimizer
    optimizer.name = "adam"  # sgd (Nesterov), adam, adamw
    optimizer.learning_rate = 1e-3  # > 0, the peak
    optimizer.schedule = "constant"  # constant, cosine (to 0)
    optimizer.warmup_epochs = 0.0  # >= 0, linear from 0 to the peak
    optimizer.layer_decay = 1.0  # (0, 1]: learning rate's factor a stage further down
    optimizer.head_epochs = 0.0  # >= 0, in which only the head learns
    optimizer.weight_decay = 0.0  # >= 0, of kernels alone; sgd and adamw
    optimizer.momentum = 0.9  # [0, 1), sgd
    optimizer.epsilon = 1e-7  # > 0, adam and adamw

    tta: Config = ConfigDict()
    config.tta = tta
    tta.flip = False  # mean logits of an image and of its mirror image
    tta.rotation = 0.0  # degrees, >= 0: and of it turned by as much to either side

    run: Config = ConfigDict()
    config.run = run
    run.eval_batch_size = 120  # images an evaluation step
    run.checkpoint_every_epochs = 1  # int >= 1; the last epoch is always saved
    run.tensorboard = False  # write event files too (extra: tensorboard)
    return config.lock()  # so that a key that is not here is no key, in a file either


def check(config: Config) -> None:
    """Raises InputError naming the first key whose value is not legal."""
    for key, legal, expected in _RULES:
        value = field(config, key)
        if not legal(value):
            raise InputError(f"config.{key} is {value!r}: expected {expected}")
    if config.optimizer.name == "adam" and config.optimizer.weight_decay:
        raise InputError(
            f"config.optimizer.weight_decay is {config.optimizer.weight_decay}, which "
            "adam does not take: choose adamw or sgd, or set it to 0"
        )
    if config.optimizer.warmup_epochs > config.train.epochs:
        raise InputError(
            f"config.optimizer.warmup_epochs is {config.optimizer.warmup_epochs}, more "
            f"than config.train.epochs, {config.train.epochs}: give fewer, such as "
            "--config.optimizer.warmup_epochs=0"
        )
    if config.optimizer.head_epochs > config.train.epochs:
        raise InputError(
            f"config.optimizer.head_epochs is {config.optimizer.head_epochs}, more "
            f"than config.train.epochs, {config.train.epochs}: give fewer, or train "
            "the head alone by --config.train.freeze_backbone=True"
        )
    if config.train.freeze_backbone and config.train.recalibrate_batch_norm:
        raise InputError(
            "config.train.freeze_backbone and config.train.recalibrate_batch_norm are "
            "both True, but a frozen backbone keeps its statistics: set one of them"
        )
    if config.tta.flip and not config.augment.flip:
        raise InputError(
            "config.tta.flip is True and config.augment.flip False, but a "
            "mirror image counts for its class only where training says that it shows "
            "it: set both or neither"
        )
    if config.tta.rotation > config.augment.rotation:
        raise InputError(
            f"config.tta.rotation is {config.tta.rotation} and "
            f"config.augment.rotation {config.augment.rotation}, but training shows no "
            "image that is turned farther: set config.tta.rotation to at most "
            f"{config.augment.rotation}"
        )
    if config.data.group and config.data.source in ("signs", "synthetic", "auto"):
        raise InputError(
            f"config.data.group is {config.data.group!r}, which only folders of "
            "pictures take: set config.data.source to folder or digits or leave it out"
        )
    if config.train.outlier_fraction and not config.train.shuffle:
        raise InputError(
            f"config.train.outlier_fraction is {config.train.outlier_fraction}, but in "
            "an order that never changes the images that give way are never learned: "
            "set config.train.shuffle=True or leave it out"
        )
    share, batch_size = config.train.outlier_fraction, config.train.batch_size
    if share and max(1, round(share * batch_size)) >= batch_size:
        raise InputError(
            f"config.train.outlier_fraction is {share}, which leaves no image in a "
            f"batch of {batch_size}: lower it or raise config.train.batch_size"
        )
    if config.data.stream and config.data.source != "folder":
        raise InputError(
            "config.data.stream is True, which only folders of pictures take: set "
            "config.data.source=folder or leave it out"
        )
    if config.data.stream and config.data.synthetic_count:
        raise InputError(
            f"config.data.synthetic_count is {config.data.synthetic_count}, but with "
            "config.data.stream all images are on disk, and drawn hands are not: set "
            "it to 0"
        )
    if config.model.name != "resnet50":
        for key in _RESNET_ONLY:
            if field(config, key) != field(default_config(), key):
                raise InputError(
                    f"config.{key} is {field(config, key)!r}, which only resnet50 "
                    f"takes: leave it out for {config.model.name}"
                )


def check_batch_size(config: Config, train_size: int, device_count: int) -> None:
    """Raises InputError where the batch size does not go with images and devices."""
    batch_size = config.train.batch_size
    if batch_size % device_count:
        raise InputError(
            f"config.train.batch_size is {batch_size}, which does not divide over "
            f"{device_count} devices: give a multiple of {device_count}"
        )
    if config.train.drop_remainder and batch_size > train_size:
        raise InputError(
            f"config.train.batch_size is {batch_size} and there are {train_size} "
            "training images: give at most that many"
        )
    partial_batch = train_size % batch_size and not config.train.drop_remainder
    if partial_batch and config.model.name == "resnet50":
        raise InputError(
            "config.train.drop_remainder is False, but BatchNorm would count the "
            f"padding of the last batch ({train_size} images in batches of "
            f"{batch_size}): set it to True"
        )


def field(config: ConfigDict, key: str) -> Any:
    """The value at a dotted key; InputError where the config has no such key."""
    value: Any = config
    for part in key.split("."):
        if part not in value:
            raise InputError(
                f"config.{key} is missing: signjax/config.py has every key"
            )
        value = value[part]
    return value


def _one_of(*values: Any) -> tuple[Callable[[Any], bool], str]:
    return (lambda value: value in values), " or ".join(map(repr, values))


def _at_least(low: float) -> tuple[Callable[[Any], bool], str]:
    return (lambda value: low <= value < math.inf), f"a number of at least {low}"


def _within(low: float, high: float) -> tuple[Callable[[Any], bool], str]:
    return (lambda value: low <= value < high), f"at least {low} and below {high}"


def _three(above: float | None = None) -> tuple[Callable[[Any], bool], str]:
    def legal(value: Any) -> bool:
        numbers = len(value) == 3 and all(
            isinstance(x, int | float) and math.isfinite(x) for x in value
        )
        return numbers and (above is None or all(x > above for x in value))

    return legal, "three numbers" + ("" if above is None else f" above {above:g}")


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


_SWITCH = _one_of(True, False)
_POSITIVE = (lambda value: 0 < value < math.inf), "a number more than 0"
_FRACTION = (lambda value: 0 <= value <= 1), "between 0 and 1, both included"
_SHARE = (lambda value: 0 < value < 1), "between 0 and 1"
_SHARE_OR_ALL = (lambda value: 0 < value <= 1), "above 0 and at most 1"

_NAME = "a name for the workdir runs/NAME, without / and \\"

_RESNET_ONLY = (
    "model.stride_on",
    "model.pool_padding",
    "model.conv_bias",
    "model.zero_init_last_scale",
    "model.bn_momentum",
    "model.bn_epsilon",
    "train.freeze_backbone",
    "train.recalibrate_batch_norm",
    "optimizer.layer_decay",
    "optimizer.head_epochs",
)

# (key, whether a value is legal, what a legal one is); types are the flags' matter.
# NaN passes no comparison, so only infinity must be kept out of open ranges.
_RULES = [
    ("name", lambda x: x not in ("", ".", "..") and not set(x) & set("/\\"), _NAME),
    # jax.random.key takes 32 bits of a seed and drops the rest without a word.
    ("seed", lambda x: 0 <= x < 2**32, f"at least 0 and below {2**32}"),
    ("dtype", *_one_of("auto", "float32", "bfloat16")),
    ("model.name", *_one_of("cnn", "resnet50")),
    ("model.init", *_one_of("keras", "he")),
    ("model.stride_on", *_one_of("1x1", "3x3")),
    ("model.pool_padding", *_one_of(0, 1)),
    ("model.conv_bias", *_SWITCH),
    ("model.zero_init_last_scale", *_SWITCH),
    ("model.bn_momentum", *_SHARE),
    ("model.bn_epsilon", *_POSITIVE),
    ("data.source", *_one_of("auto", "signs", "folder", "digits", "synthetic")),
    ("data.image_size", lambda x: x > 0 and x % 32 == 0, "a multiple of 32"),
    ("data.stream", *_SWITCH),
    ("data.validation_fraction", *_within(0, 1)),
    ("data.test_fraction", *_SHARE),
    ("data.group", _compiles, "sequence, a regular expression or nothing"),
    ("data.synthetic_train", *_at_least(1)),
    ("data.synthetic_test", *_at_least(1)),
    ("data.synthetic_count", *_at_least(0)),
    ("data.synthetic_epoch_fraction", *_SHARE_OR_ALL),
    ("data.synthetic_pose_jitter", *_FRACTION),
    ("data.synthetic_classes", *_one_of(6, 10)),
    ("data.crop", *_SHARE_OR_ALL),
    ("data.interpolation", *_one_of("bilinear", "hamming", "bicubic")),
    ("data.mean", *_three()),
    ("data.std", *_three(above=0)),
    ("augment.flip", *_SWITCH),
    ("augment.rotation", *_within(0, 181)),
    ("augment.scale", *_within(0, 2)),
    ("augment.translation", *_within(0, 1)),
    ("augment.perspective", *_within(0, 0.5)),
    ("augment.brightness", *_within(0, 1)),
    ("augment.contrast", *_within(0, 1)),
    ("augment.saturation", *_within(0, 1)),
    ("augment.background", *_FRACTION),
    ("augment.gamma", *_at_least(0)),
    ("augment.tint", *_within(0, 1)),
    ("augment.lighting", *_at_least(0)),
    ("augment.blur", *_FRACTION),
    ("augment.noise", *_at_least(0)),
    ("augment.greyscale", *_FRACTION),
    ("train.epochs", *_at_least(1)),
    ("train.batch_size", *_at_least(1)),
    ("train.shuffle", *_SWITCH),
    ("train.drop_remainder", *_SWITCH),
    ("train.label_smoothing", *_within(0, 1)),
    ("train.outlier_fraction", *_within(0, 1)),
    ("train.freeze_backbone", *_SWITCH),
    ("train.recalibrate_batch_norm", *_SWITCH),
    ("optimizer.name", *_one_of("sgd", "adam", "adamw")),
    ("optimizer.learning_rate", *_POSITIVE),
    ("optimizer.schedule", *_one_of("constant", "cosine")),
    ("optimizer.warmup_epochs", *_at_least(0)),
    ("optimizer.layer_decay", *_SHARE_OR_ALL),
    ("optimizer.head_epochs", *_at_least(0)),
    ("optimizer.weight_decay", *_at_least(0)),
    ("optimizer.momentum", *_within(0, 1)),
    ("optimizer.epsilon", *_POSITIVE),
    ("tta.flip", *_SWITCH),
    ("tta.rotation", *_at_least(0)),
    ("run.eval_batch_size", *_at_least(1)),
    ("run.checkpoint_every_epochs", *_at_least(1)),
    ("run.tensorboard", *_SWITCH),
]
