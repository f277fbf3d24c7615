"""Every key of a config: its default, its legal values and what it means, in one table.

configs/*.py set keys, and the command line overrides them by name, as
--config.train.epochs=5. `python main.py --help=config` and docs/reference/config.md
print this table. All keys change a run's result, but `name`, those under `run`, and
where the same images are found and kept (`data.source`, `data.dir`, `data.stream`).
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from ml_collections import ConfigDict

from signjax.errors import InputError

if TYPE_CHECKING:

    class Config(ConfigDict):
        """A ConfigDict, of whose keys no type checker knows, as they are in TABLE."""

        def __getattr__(self, attribute: str) -> Any: ...
else:
    Config = ConfigDict


class Rule(NamedTuple):
    """Which values of the default's type are legal, for the program and in words."""

    legal: Callable[[Any], Any]
    words: str


class Key(NamedTuple):
    """A row of the table. model: the one that takes it; empty: all do."""

    name: str
    default: Any
    rule: Rule
    help: str
    model: str = ""

    @property
    def expected(self) -> str:
        """The legal values in words, such as `a whole number of at least 1`."""
        number = "a whole number" if type(self.default) is int else "a number"
        return self.rule.words.replace("a number", number)

    def allows(self, value: Any) -> bool:
        """Whether a value is legal; a whole number may stand for a float."""
        kind = type(self.default)
        fits = isinstance(value, (int, float) if kind is float else kind)
        # A bool is an int to Python.
        fits = fits and isinstance(value, bool) == (kind is bool)
        try:
            return fits and bool(self.rule.legal(value))
        except (re.error, TypeError):  # of a pattern; of text among numbers
            return False


# NaN passes no comparison, so only infinity must be kept out of open ranges.
def at_least(low: float) -> Rule:
    return Rule(lambda x: low <= x < math.inf, f"a number of at least {low}")


def within(low: float, high: float) -> Rule:
    words = f"a number of at least {low} and below {high}"
    return Rule(lambda x: low <= x < high, words)


def one_of(*values: Any) -> Rule:
    return Rule(lambda x: x in values, " or ".join(map(repr, values)))


SWITCH = one_of(True, False)
TEXT = Rule(lambda x: True, "text")
POSITIVE = Rule(lambda x: 0 < x < math.inf, "a number more than 0")
FRACTION = Rule(lambda x: 0 <= x <= 1, "a number between 0 and 1, both included")
OPEN_FRACTION = Rule(lambda x: 0 < x < 1, "a number between 0 and 1, both excluded")
SHARE = Rule(lambda x: 0 < x <= 1, "a number above 0 and at most 1")
SIDE = Rule(lambda x: x > 0 and x % 32 == 0, "a multiple of 32")
MEAN = Rule(lambda x: len(x) == 3 and all(map(math.isfinite, x)), "three numbers")
STD = Rule(lambda x: MEAN.legal(x) and min(x) > 0, "three numbers above 0")
BLOCKS = Rule(
    lambda x: len(x) == 4 and all(type(n) is int and n > 0 for n in x),
    "four whole numbers of at least 1",
)
GROUP = Rule(lambda x: re.compile(x), "sequence, a regular expression or nothing")
NAME = Rule(
    lambda x: x not in ("", ".", "..") and not set(x) & set("/\\"),
    "a name for the workdir runs/NAME, without / and \\",
)

RESNET = "resnet50"

# fmt: off
TABLE = (
    Key("name", "base", NAME, "names the default workdir, runs/NAME"),
    # jax.random.key takes 32 bits of a seed and drops the rest without a word.
    Key("seed", 0, within(0, 2**32), "initial weights, order, augmentation, splits"),
    Key("dtype", "auto", one_of("auto", "float32", "bfloat16"),
        "of activations; auto: float32 on the CPU, bfloat16 elsewhere"),

    Key("model.name", "cnn", one_of("cnn", RESNET, "hands"), "the network"),
    Key("model.hands", "mediapipe-hands", TEXT,
        "what finds the hands: that name, or a folder of its two files", model="hands"),
    Key("model.weights", "", TEXT, "pretrained: a file, a workdir or a published name"),
    Key("model.init", "keras", one_of("keras", "he"),
        "keras: glorot-uniform, +-0.05 in identity blocks; he: normal"),
    Key("model.width", 64, at_least(1), "channels of the stem", model=RESNET),
    Key("model.stage_sizes", (3, 4, 6, 3), BLOCKS, "blocks a stage", model=RESNET),
    Key("model.stride_on", "3x3", one_of("1x1", "3x3"),
        "the layer that strides: 1x1 (v1, Keras), 3x3 (v1.5)", model=RESNET),
    Key("model.pool_padding", 1, one_of(0, 1), "of the stem's max-pool", model=RESNET),
    Key("model.same_padding", False, SWITCH,
        "pad what strides as TensorFlow does, and Flax's example", model=RESNET),
    Key("model.conv_bias", False, SWITCH, "biases in convolutions", model=RESNET),
    Key("model.zero_init_last_scale", True, SWITCH,
        "each block starts as the identity", model=RESNET),
    Key("model.bn_momentum", 0.9, OPEN_FRACTION,
        "weight of the old running statistics", model=RESNET),
    Key("model.bn_epsilon", 1e-5, POSITIVE, "added to variances", model=RESNET),

    Key("data.source", "auto",
        one_of("auto", "signs", "folder", "digits", "ankara", "synthetic"),
        "auto: SIGNS, and synthetic hands where SIGNS cannot be had; digits: SIGNS and "
        "the Ankara digits"),
    Key("data.dir", "", TEXT, "where the images are; empty: the usual places"),
    Key("data.stream", False, SWITCH, "read a folder as it is needed (extra: stream)"),
    Key("data.image_size", 64, SIDE, "pixels a side"),
    Key("data.validation_fraction", 0.0, within(0, 1), "of the images, held out"),
    Key("data.test_fraction", 0.2, OPEN_FRACTION, "of a folder without a test/"),
    Key("data.group", "", GROUP,
        "what no split parts: sequence, of people who showed the classes in order, or "
        "an expression whose parentheses hold the person, as ^(\\w+)_ for anna_03.jpg"),
    Key("data.synthetic_train", 1080, at_least(1), "training images, source synthetic"),
    Key("data.synthetic_test", 120, at_least(1), "test images, source synthetic"),
    Key("data.synthetic_classes", 6, one_of(6, 10), "digits from 0, source synthetic"),
    Key("data.synthetic_count", 0, at_least(0), "synthetic hands to train on as well"),
    Key("data.synthetic_epoch_fraction", 1.0, SHARE, "of the epochs, with those hands"),
    Key("data.synthetic_pose_jitter", 0.0, FRACTION, "of synthetic hands' fingers"),
    Key("data.crop", 1.0, SHARE, "side kept of a photograph's largest centered square"),
    Key("data.interpolation", "bicubic", one_of("bilinear", "hamming", "bicubic"),
        "resizes photographs, antialiased"),
    Key("data.letterbox", False, SWITCH,
        "the whole photograph on black, not its centered square"),
    Key("data.mean", (0.0, 0.0, 0.0), MEAN, "subtracted from RGB in [0, 1]"),
    Key("data.std", (1.0, 1.0, 1.0), STD, "divides what is left"),

    Key("augment.flip", False, SWITCH, "mirror half of the images"),
    Key("augment.rotation", 0.0, within(0, 181), "degrees, up to this either way"),
    Key("augment.scale", 0.0, within(0, 2), "zoom by a factor of exp(+-scale)"),
    Key("augment.translation", 0.0, within(0, 1), "of the side, up to this either way"),
    Key("augment.perspective", 0.0, within(0, 0.5), "an edge nearer or farther"),
    Key("augment.brightness", 0.0, within(0, 1), "factor 1 +- brightness"),
    Key("augment.contrast", 0.0, within(0, 1), "factor 1 +- contrast about the mean"),
    Key("augment.saturation", 0.0, within(0, 1), "factor 1 +- saturation about gray"),
    Key("augment.background", 0.0, FRACTION, "of hands before gray walls, replaced"),
    Key("augment.gamma", 0.0, at_least(0), "power of exp(+-gamma)"),
    Key("augment.tint", 0.0, within(0, 1), "factor 1 +- tint of each channel"),
    Key("augment.lighting", 0.0, at_least(0), "factor 1 +- lighting from edge to edge"),
    Key("augment.blur", 0.0, FRACTION, "of a 3x3 blur, up to this added or taken away"),
    Key("augment.noise", 0.0, at_least(0), "amplitude of uniform noise"),
    Key("augment.greyscale", 0.0, FRACTION, "of the images, without color"),

    Key("train.epochs", 10, at_least(1), "passes over the training set"),
    Key("train.batch_size", 32, at_least(1), "images a step, over all devices"),
    Key("train.shuffle", True, SWITCH, "a new order each epoch"),
    Key("train.drop_remainder", True, SWITCH, "drop, not pad, the last partial batch"),
    Key("train.label_smoothing", 0.0, within(0, 1), "of a label, over all classes"),
    Key("train.outlier_fraction", 0.0, within(0, 1),
        "of a batch, out-of-distribution images instead (outlier exposure)"),
    Key("train.freeze_backbone", False, SWITCH, "train the head alone", model=RESNET),
    Key("train.recalibrate_batch_norm", False, SWITCH,
        "take its statistics anew after the last step", model=RESNET),

    Key("optimizer.name", "adam", one_of("sgd", "adam", "adamw"),
        "sgd: with Nesterov"),
    Key("optimizer.learning_rate", 1e-3, POSITIVE, "the peak"),
    Key("optimizer.schedule", "constant", one_of("constant", "cosine"), "cosine: to 0"),
    Key("optimizer.warmup_epochs", 0.0, at_least(0), "linear, from 0 to the peak"),
    Key("optimizer.layer_decay", 1.0, SHARE,
        "the learning rate's factor a stage further down", model=RESNET),
    Key("optimizer.head_epochs", 0.0, at_least(0),
        "at the start, in which only the head learns", model=RESNET),
    Key("optimizer.weight_decay", 0.0, at_least(0), "of kernels alone; sgd and adamw"),
    Key("optimizer.momentum", 0.9, within(0, 1), "sgd"),
    Key("optimizer.epsilon", 1e-7, POSITIVE, "adam and adamw"),

    Key("tta.flip", False, SWITCH, "mean logits of an image and its mirror image"),
    Key("tta.rotation", 0.0, at_least(0), "degrees: and rotated either way"),

    Key("run.eval_batch_size", 20, at_least(1), "images an evaluation step"),
    Key("run.checkpoint_every_epochs", 1, at_least(1), "and after the last one"),
    Key("run.tensorboard", False, SWITCH, "write event files too (extra: tensorboard)"),
)
KEYS = {key.name: key for key in TABLE}


class Conflict(NamedTuple):
    """A key whose value, where `found`, does not go with the others, and why."""

    key: str
    found: Callable[[Config], Any]
    why: str  # a format of the config's groups


CONFLICTS = (
    Conflict("optimizer.weight_decay",
        lambda c: c.optimizer.name not in ("adamw", "sgd") and c.optimizer.weight_decay,
        "which {optimizer.name} does not take: choose adamw or sgd, or set it to 0"),
    Conflict("optimizer.momentum",
        lambda c: c.optimizer.name != "sgd" and c.optimizer.momentum != 0.9,
        "which {optimizer.name} does not take: choose sgd, or set it to 0.9"),
    Conflict("optimizer.warmup_epochs",
        lambda c: c.optimizer.warmup_epochs > c.train.epochs,
        "more than config.train.epochs, {train.epochs}: give fewer, such as 0"),
    Conflict("optimizer.head_epochs",
        lambda c: c.optimizer.head_epochs > c.train.epochs,
        "more than config.train.epochs, {train.epochs}: give fewer, or train the head "
        "alone by --config.train.freeze_backbone=True"),
    Conflict("train.recalibrate_batch_norm",
        lambda c: c.train.recalibrate_batch_norm and c.train.freeze_backbone,
        "but config.train.freeze_backbone keeps the statistics: set one of them"),
    Conflict("tta.flip", lambda c: c.tta.flip and not c.augment.flip,
        "but config.augment.flip is False, so training never says that a mirror image "
        "shows its class: set both or neither"),
    Conflict("tta.rotation", lambda c: c.tta.rotation > c.augment.rotation,
        "but training rotates no image by more than config.augment.rotation: set it to "
        "at most {augment.rotation}"),
    Conflict("data.crop", lambda c: c.data.letterbox and c.data.crop != 1,
        "but config.data.letterbox takes the whole photograph: set one of them"),
    Conflict("data.group",
        lambda c: c.data.group and c.data.source not in ("folder", "digits", "ankara"),
        "which only folders of images take: set config.data.source to folder, digits "
        "or ankara, or leave it out"),
    Conflict("train.outlier_fraction",
        lambda c: c.train.outlier_fraction and not c.train.shuffle,
        "but in an order that never changes the images replaced are never learned: set "
        "config.train.shuffle=True or leave it out"),
    Conflict("train.outlier_fraction",
        lambda c: c.train.outlier_fraction and c.train.batch_size
        <= max(1, round(c.train.outlier_fraction * c.train.batch_size)),
        "which leaves no image in a batch of {train.batch_size}: lower it or raise "
        "config.train.batch_size"),
    Conflict("data.stream", lambda c: c.data.stream and c.data.source != "folder",
        "which only folders take: set config.data.source=folder or leave it out"),
    Conflict("data.synthetic_count",
        lambda c: c.data.synthetic_count and c.data.stream,
        "but with config.data.stream all images are on disk, and synthetic hands are "
        "not: set it to 0"),
)
# fmt: on


def default_config() -> Config:
    """All keys, with values that leave everything optional switched off."""
    config: dict[str, Any] = {}
    for key in TABLE:
        group, _, name = key.name.rpartition(".")
        (config.setdefault(group, {}) if group else config)[name] = key.default
    locked = Config(config)
    locked.lock()  # what is not in the table is no key, in a file either
    return locked


def check(config: Config) -> None:
    """Raises InputError naming the first key whose value is not legal."""
    for key in TABLE:
        if not key.allows(value := field(config, key.name)):
            raise InputError(f"config.{key.name} is {value!r}: expected {key.expected}")
    for conflict in CONFLICTS:
        if conflict.found(config):
            raise _refusal(config, conflict.key, conflict.why.format(**config))
    for key in TABLE:
        others = key.model and key.model != config.model.name
        if others and field(config, key.name) != key.default:
            why = f"which only {key.model} takes: leave it out for {config.model.name}"
            raise _refusal(config, key.name, why)
    for key in TABLE if config.model.name == "hands" else ():
        of_pixels = key.name.startswith(("augment.", "tta."))
        of_pixels &= key.name not in ("augment.rotation", "augment.noise")
        if of_pixels and field(config, key.name) != key.default:
            why = "which changes pixels: leave it out for hands, that learn landmarks"
            raise _refusal(config, key.name, why)


def check_batch_size(config: Config, train_size: int, device_count: int) -> None:
    """Raises InputError where the batch size does not go with images and devices."""
    batch_size, drop = config.train.batch_size, config.train.drop_remainder
    if batch_size % device_count:
        why = f"which does not divide over {device_count} devices: give a multiple of "
        raise _refusal(config, "train.batch_size", why + str(device_count))
    if drop and batch_size > train_size:
        why = f"but there are {train_size} training images: give at most that many"
        raise _refusal(config, "train.batch_size", why)
    if train_size % batch_size and not drop and config.model.name == "resnet50":
        why = (
            f"but BatchNorm would count the padding of the last batch ({train_size} "
            f"images in batches of {batch_size}): set it to True"
        )
        raise _refusal(config, "train.drop_remainder", why)


def _refusal(config: Config, name: str, why: str) -> InputError:
    return InputError(f"config.{name} is {field(config, name)!r}, {why}")


def field(config: Config, name: str) -> Any:
    """The value at a dotted name; InputError where the config has no such key."""
    try:
        return attrgetter(name)(config)
    except AttributeError as error:
        told = f"config.{name} is missing: begin with signjax.config.default_config()"
        raise InputError(told) from error


def from_stored(stored: Mapping[str, Any], where: str) -> Config:
    """The config that was written as JSON into `where`, a workdir's run.json.

    A key that has come since is at its default. Raises InputError where an earlier
    version with other keys wrote it, or a value is of another type.
    """
    config, given = default_config(), dict(_leaves(stored))
    wrong = [f"has {name}" for name in given if name not in KEYS]
    wrong += [f"lacks {x}" for x in config if x not in stored and x not in KEYS]
    if wrong:
        raise InputError(
            f"{where} was written by an earlier version, as its config {wrong[0]}: "
            "train again in another --workdir, or use that version"
        )
    for name, value in given.items():
        value, key = tuple(value) if isinstance(value, list) else value, KEYS[name]
        if not key.allows(value):
            told = f"config.{name} is {value!r}: expected {key.expected}"
            raise InputError(f"{where}: {told}")
        config.update_from_flattened_dict({name: value})
    return config


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
