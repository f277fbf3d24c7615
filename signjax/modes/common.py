"""What the modes need before their own work: a device, a config, a workdir."""

import os
from pathlib import Path

import jax

from signjax.config import Config, check
from signjax.cpu import prepare_cpu
from signjax.data.download import cache_directory
from signjax.errors import InputError
from signjax.modes.options import Options
from signjax.processes import alone
from signjax.reporting.logs import Console
from signjax.workdir import TrainedModel, load_trained, read


def require_devices(options: Options) -> list[jax.Device]:
    """All devices, of every process, of the kind that --require_device names."""
    prepare_cpu()
    devices = _devices()
    found = devices[0].platform
    wanted = options.require_device
    if wanted and wanted != found:
        raise InputError(
            f"--require_device={wanted}, but JAX found only {found}: install jax for "
            f'it (pip install "signjax[{"cuda" if wanted == "gpu" else wanted}]") and '
            "see that the driver works, or leave the flag out"
        )
    return devices


def _devices() -> list[jax.Device]:
    try:
        return jax.devices()
    except (RuntimeError, AssertionError) as error:  # a plugin asserts its driver
        platforms = os.environ.get("JAX_PLATFORMS", "")
        raise InputError(
            f"JAX finds no device of those that JAX_PLATFORMS={platforms} names: "
            "install jax for it and see that the driver works, or unset JAX_PLATFORMS"
        ) from error


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
    keep_compiled_programs()
    return load_trained(
        directory,
        devices=require_devices(options),
        warn=console.warning,
        best=options.best,
    )


def refuse_arguments(options: Options) -> None:
    """Only predict takes arguments that are not flags."""
    if options.arguments:
        raise InputError(
            f"unexpected argument {options.arguments[0]!r}: this mode takes only flags"
        )


def keep_compiled_programs() -> None:
    """Lets later processes load what this one compiles, from the user's cache."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        directory = cache_directory() / "compiled"
        jax.config.update("jax_compilation_cache_dir", str(directory))
    # By default what compiles within a second is not kept, as most of the CNN does.
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def describe_device(devices: list[jax.Device]) -> str:
    """For people: how many devices of what kind, such as `1 x cpu`."""
    processes = "" if alone() else f" over {jax.process_count()} processes"
    return f"{len(devices)} x {devices[0].device_kind}{processes}"
