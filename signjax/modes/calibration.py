"""calibration.json of a workdir: fitted when training ends, used to predict."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from signjax import build
from signjax.data.dataset import Dataset
from signjax.errors import InputError
from signjax.modes.scoring import logits_of
from signjax.reporting.logs import read_json, write_json
from signjax.training.calibration import RISK, Calibration, fit

FILE = "calibration.json"

HOW_TO_GET = (
    "not calibrated: that is done to the last step of a run with images held out for "
    "it, as --config.data.validation_fraction=0.15"
)

_TOO_FEW = "too few held-out images, or too many labelled wrongly"


def calibrate(
    directory: Path,
    network: build.Network,
    variables: Any,
    validation: Dataset,
    *,
    step: int,
    given_up: float,
) -> Calibration:
    """Fits the model of `step` to the validation images and writes calibration.json.

    given_up: the share of these images to be unsure of, as `fit` has it.
    """
    calibration = fit(
        logits_of(network, variables, validation.images),
        validation.labels,
        step=step,
        given_up=given_up,
    )
    write_json(directory / FILE, calibration.to_json())
    return calibration


def read_calibration(
    directory: Path, step: int, warn: Callable[[str], None]
) -> Calibration | None:
    """What was fitted to the model of `step`, or None where nothing was.

    warn: is told where another step's model was calibrated. Raises InputError where
    the file is damaged.
    """
    path = directory / FILE
    if not path.exists():
        return None
    try:
        calibration = Calibration.from_json(read_json(path))
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path} is not what training writes ({error!r}): delete it, and the model "
            "is taken as not calibrated"
        ) from error
    if calibration.step != step:
        warn(
            f"{path} is of step {calibration.step}, and this is the model of step "
            f"{step}: it is taken as not calibrated"
        )
        return None
    return calibration


def reservation(calibration: Calibration | None) -> str | None:
    """Why answers are not to be trusted as `unsure` promises; None: they are."""
    if calibration is None:
        return f"never unsure, whatever a picture shows: {HOW_TO_GET}"
    if calibration.threshold is None:
        return f"never unsure, whatever a picture shows: {_TOO_FEW} to set a limit"
    if calibration.risk is None:
        return (
            f"answers may be wrong oftener than in {RISK:.0%}: {_TOO_FEW} to promise "
            "less"
        )
    return None


def describe(calibration: Calibration) -> str:
    """What was fitted, in a line for a person."""
    before, after = calibration.ece
    line = (
        f"temperature {calibration.temperature:.3f} by {calibration.count} held-out "
        f"images (their calibration error {before:.3f}, after {after:.3f})"
    )
    if calibration.threshold is not None:
        line += (
            f"; unsure below {calibration.threshold:.3f}, as of "
            f"{1 - calibration.answered:.1%} of them"
        )
    missing = reservation(calibration)
    return f"{line}; {missing}" if missing else line
