"""The points of a sweep: a config on devices, and which of its programs to run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import jax

from signjax.config import Config, check, check_batch_size, default_config
from signjax.errors import InputError
from signjax.experiment import Experiment, make_experiment
from signjax.models.cnn import CNN

CLASSES, TRAIN_SIZE = 6, 1080  # of SIGNS
PROGRAMS = ("step", "bare", "epoch")
DTYPES = ("float32", "bfloat16")
AXES = ("device_count", "dtype", "batch_size", "train_size", "program")


@dataclass(frozen=True)
class SweepPoint:
    """One combination of a sweep: a config, on devices, and what to run of it.

    program: `step`, as training runs it; `bare`, without augmentation; `epoch`, all
    steps of an epoch in one call. train_size: how many images lie on the devices.
    head_alone: whether only the classifier is trained.
    """

    config: Config
    program: str
    experiment: Experiment
    batch_size: int
    train_size: int
    head_alone: bool

    @property
    def devices(self) -> list[jax.Device]:
        return self.experiment.devices


def parse_sweep(text: str) -> dict[str, list[Any]]:
    """'batch_size=32,128 program=step' -> axis -> values; InputError if it is wrong."""
    sweep: dict[str, list[Any]] = {}
    for part in text.split():
        axis, equals, values = part.partition("=")
        if axis not in AXES or not equals or axis in sweep:
            raise InputError(
                f"--sweep: {part!r} is not an axis ({', '.join(AXES)}), each once, and "
                'its values after =, as --sweep="batch_size=32,128 program=step"'
            )
        sweep[axis] = [_parse(axis, value) for value in values.split(",")]
        if len(set(sweep[axis])) < len(sweep[axis]):
            raise InputError(f"--sweep: {part!r} has a value twice: give each once")
    return sweep


def _parse(axis: str, value: str) -> Any:
    legal = {"program": PROGRAMS, "dtype": DTYPES}.get(axis)
    if legal is None and value.isdecimal() and int(value) > 0:
        return int(value)
    if legal is None or value not in legal:
        expected = " or ".join(legal) if legal else "a whole number above 0"
        raise InputError(f"--sweep: {axis} {value!r}: expected {expected}")
    return value


def plan(
    config: Config,
    sweep: Mapping[str, Sequence[Any]],
    devices: list[jax.Device],
) -> Iterator[SweepPoint]:
    """All combinations of a sweep; an axis left out has what training would take.

    Programs left out: all, but no epoch of a ResNet on the CPU, where a loop may keep
    XLA from its faster operations.
    """
    as_trained = {
        "device_count": len(devices),
        "dtype": config.dtype,
        "batch_size": config.train.batch_size,
        "train_size": None,
    }
    axes = [sweep.get(axis, [value]) for axis, value in as_trained.items()]
    for count, dtype, batch_size, train_size in product(*axes):
        if count > len(devices):
            raise InputError(
                f"--sweep=device_count: {count} are asked for and there are "
                f"{len(devices)} devices"
            )
        train_size = train_size or max(TRAIN_SIZE, batch_size)
        for program in sweep.get("program", PROGRAMS):
            varied = vary(config, dtype, batch_size, augmented=program != "bare")
            check_batch_size(varied, train_size, count)
            experiment = make_experiment(varied, CLASSES, train_size, devices[:count])
            if experiment.view.hands:
                raise InputError(
                    f"--mode=benchmark times networks of pixels, and {config.name} "
                    "learns landmarks, in seconds: give another --config"
                )
            small = devices[0].platform != "cpu" or isinstance(experiment.model, CNN)
            if program != "epoch" or small or "program" in sweep:
                yield SweepPoint(
                    varied,
                    program,
                    experiment,
                    batch_size,
                    train_size,
                    head_alone=config.train.freeze_backbone,
                )


def vary(config: Config, dtype: str, batch_size: int, *, augmented: bool) -> Config:
    """A copy with this dtype and batch size; not augmented: images stay as they are.

    Raises InputError where the values do not go together.
    """
    varied = config.copy_and_resolve_references()
    varied.dtype = dtype
    varied.train.batch_size = batch_size
    if not augmented:
        varied.augment = default_config().augment
        varied.tta = default_config().tta
        varied.train.outlier_fraction = 0.0
    check(varied)
    return varied
