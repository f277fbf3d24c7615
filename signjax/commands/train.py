"""--mode=train: trains, evaluates and saves; run again, it resumes."""

from signjax.commands.cli import Options
from signjax.runtime.bucket import as_path
from signjax.runtime.console import Console
from signjax.runtime.devices import enable_compilation_cache, require_devices
from signjax.runtime.distributed import distributed_session, is_primary
from signjax.train import train


def run(options: Options) -> None:
    """Trains --config in its workdir to the end, or to where it is interrupted."""
    with distributed_session(options.distributed):
        enable_compilation_cache()
        devices = require_devices(options.require_device)
        console = Console(quiet=not is_primary())
        directory = as_path(options.workdir or f"runs/{options.config.name}")
        train(options.config, directory, devices, console, options.chosen)
