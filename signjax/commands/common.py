"""What several commands begin with: a trained model, and its own data."""

import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from signjax.commands.cli import Options
from signjax.data.dataset import Dataset, Splits, describe_left_out
from signjax.data.load import load_splits
from signjax.data.parts import load_labelled
from signjax.errors import InputError
from signjax.runtime.bucket import as_path
from signjax.runtime.console import Console
from signjax.runtime.devices import enable_compilation_cache, require_devices
from signjax.workdir import (
    RECOGNISER,
    Run,
    TrainedModel,
    describe_change,
    load_trained,
    read,
)


def model_directory(options: Options) -> Path:
    """--workdir or, where a mode can do without, the recogniser in the box."""
    return as_path(options.workdir) if options.workdir else RECOGNISER


def open_model(options: Options, console: Console) -> TrainedModel:
    """The model of `model_directory`: its last checkpoint, or with --best its best.

    The recogniser in the box is named on stderr. Raises InputError where the model's
    classifier is blank.
    """
    directory = model_directory(options)
    if not options.workdir:
        print(
            "model: the recogniser in the box (digits 0 to 9; learned from the Ankara "
            "digits and synthetic hands); another: --workdir=DIR",
            file=sys.stderr,
        )
    if read(directory).blank_head:
        raise InputError(
            f"{directory} holds weights that came without a classifier, so it predicts "
            f"nothing yet: fine-tune it, --config.model.weights={directory}"
        )
    enable_compilation_cache()
    return load_trained(
        directory,
        devices=require_devices(options.require_device),
        warn=console.warning,
        best=options.best,
    )


def require_packages(extra: str, names: Sequence[str]) -> None:
    """Raises InputError where a package of an extra is missing."""
    if missing := [name for name in names if find_spec(name) is None]:
        raise InputError(
            f"{', '.join(missing)} is missing, of the extra {extra}: "
            f'pip install -c constraints.txt -e ".[{extra}]"'
        )


def load_given(options: Options, trained: TrainedModel, console: Console) -> Dataset:
    """`load_labelled` of --data, after telling what is left out."""
    made = trained.experiment
    data, left_out = load_labelled(options.data, made.image_size, made.crop_resize)
    if left_out:
        console.info(f"left out  {describe_left_out(left_out)}")
    return data


def load_own_splits(directory: Path, run: Run, warn: Callable[[str], None]) -> Splits:
    """The data that the run of the workdir `directory` was trained and tested with.

    Raises InputError where they are gone or changed, or the weights were ported.
    """
    expected = run.data
    if expected["source"] == "ported":
        raise InputError(
            "this model's weights were ported, so it has no test images of its own: "
            "give the images to score by --data"
        )
    try:
        splits = load_splits(run.config, warn, source=expected["source"])
    except InputError as error:
        raise InputError(
            f"{error} (these data the model was trained with; give the images to score "
            "by --data where they are gone)"
        ) from error
    sha256, keys = splits.fingerprint()
    if sha256 != expected["sha256"]:
        raise InputError(
            f"the data found ({splits.source}: {splits.origin}) are not those this "
            f"model was trained with ({expected['source']}: {expected['origin']}; "
            f"{describe_change(directory, keys)}), so its own test split "
            "cannot be told: give the images to score by --data"
        )
    return splits
