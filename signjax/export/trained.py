"""A trained model as an export needs it: on the CPU, in float32, in plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from signjax.errors import InputError
from signjax.evaluation.calibration import Calibration
from signjax.pretrained.load import configured_preprocessing
from signjax.pretrained.published import Preprocessing
from signjax.workdir import TrainedModel

# The source of images that a model is checked on which has none of its own.
RENDERED = "synthetic hands"


@dataclass(frozen=True)
class Answering:
    """A network and all that its answer to a photograph depends on.

    model: computes in float32. variables: its own, numpy arrays. preprocessing: of the
    photograph. temperature: > 0, divides logits. threshold: of the confidence, below
    which it is unsure; 0 where it always answers.
    """

    model: nn.Module
    variables: Mapping[str, Any]
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    temperature: float = 1.0
    threshold: float = 0.0


def in_float32(trained: TrainedModel) -> TrainedModel:
    """The same on one CPU in float32, which an export is compared with."""
    config = trained.run.config.copy_and_resolve_references()
    config.dtype = "float32"
    run = replace(trained.run, config=config)
    try:
        devices = jax.devices("cpu")[:1]
    except RuntimeError as error:
        raise InputError(
            "an export is compared with the model on the CPU, which JAX_PLATFORMS "
            "leaves out: unset it, or add cpu to it"
        ) from error
    state = jax.device_get(trained.state)
    return TrainedModel(run, run.make_experiment(devices), state)


def pretrained_on(trained: TrainedModel) -> str:
    """What the pretrained weights that the run began from are called; or empty."""
    return Path(trained.run.config.model.weights).name


def synthetic_count(trained: TrainedModel) -> int:
    """How many synthetic hands the run learned from beside its images."""
    return trained.run.config.data.synthetic_count


def answering(trained: TrainedModel, calibration: Calibration | None) -> Answering:
    """What `trained`, in float32, and its calibration answer by.

    Raises InputError for a model of hands, whose finder an export has not.
    """
    if trained.experiment.view.hands:
        raise InputError(
            "--mode=export writes networks of pixels, and this model's hands are found "
            "by others: give the --workdir of a ResNet or CNN"
        )
    if trained.run.config.data.letterbox:
        raise InputError(
            "--mode=export writes what takes the centered square, and this model's "
            "photographs are letterboxed: train without --config.data.letterbox"
        )
    return Answering(
        model=trained.experiment.model,
        variables=jax.tree.map(np.asarray, trained.state.variables),
        preprocessing=configured_preprocessing(trained.run.config),
        classes=trained.run.classes,
        temperature=calibration.temperature if calibration else 1.0,
        threshold=(calibration and calibration.threshold) or 0.0,
    )
