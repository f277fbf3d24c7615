"""What evaluate and predict begin with: the model of --workdir."""

from pathlib import Path

from signjax.commands.cli import Options
from signjax.errors import InputError
from signjax.runtime.console import Console
from signjax.runtime.devices import enable_compilation_cache, require_devices
from signjax.workdir import TrainedModel, load_trained, read


def open_model(options: Options, console: Console) -> TrainedModel:
    """The model of --workdir: its last checkpoint, or with --best its best.

    Raises InputError where its classifier is blank.
    """
    directory = Path(options.workdir)
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
