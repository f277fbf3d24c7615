"""What the modes need before their own work: a device, a config, a workdir."""

from pathlib import Path

from signjax.commands.options import Options
from signjax.config import Config, check
from signjax.errors import InputError
from signjax.runtime.console import Console
from signjax.runtime.devices import enable_compilation_cache, require_devices
from signjax.workdir import TrainedModel, load_trained, read


def require_config(options: Options) -> Config:
    """The checked config of --config."""
    if options.config is None:
        raise InputError(
            "--config is missing: expected a config file such as "
            "--config=configs/resnet.py"
        )
    check(options.config)
    return options.config


def require_workdir(options: Options) -> Path:
    """The directory of --workdir."""
    if not options.workdir:
        raise InputError(
            "--workdir is missing: expected the directory of a trained model, such as "
            "--workdir=runs/resnet"
        )
    return Path(options.workdir)


def open_model(options: Options, console: Console) -> TrainedModel:
    """The model of --workdir: its last checkpoint, or with --best its best.

    Raises InputError where its classifier is blank.
    """
    directory = require_workdir(options)
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


def refuse_arguments(options: Options) -> None:
    """Only predict takes arguments that are not flags."""
    if options.arguments:
        raise InputError(
            f"unexpected argument {options.arguments[0]!r}: this mode takes only flags"
        )
