"""What a person can ask for, a file each, imported when asked, as jax loads slowly.

Beside these: command_line.py and options.py (flags), and what several of them share.
"""

import os
import warnings
from collections.abc import Mapping
from importlib import import_module

from signjax.commands.flags import read_flags
from signjax.commands.options import Options
from signjax.errors import InputError, RunError
from signjax.runtime.signals import end_at_once_when_signalled

__all__ = ["MODES", "READS", "Options", "help_text", "read_flags", "run"]

MODES = {
    "train": "train --config, evaluate and save; run again, it resumes",
    "evaluate": "score the model of --workdir on its own test images or on --data",
    "predict": "label the images and folders that are named after the flags",
    "port": "turn --weights of another program into a --workdir",
    "audit": "find copies, leaks, imbalance and odd pictures in --data",
    "summary": "list the layers and parameters of --config",
    "benchmark": "time the train step of --config and compare it with the hardware",
}


_DEVICE = {"require_device", "deterministic"}
# The flags that each mode reads; another one would be passed over in silence.
READS = {
    "train": {"config", "workdir", "distributed"} | _DEVICE,
    "evaluate": {"workdir", "data", "output", "best"} | _DEVICE,
    "predict": {"workdir", "best", "json"} | _DEVICE,
    "port": {"weights", "workdir"} | _DEVICE,
    "audit": {"data", "output"},
    "summary": {"config"} | _DEVICE,
    "benchmark": {"config", "output", "sweep", "repeats", "compare", "trace"} | _DEVICE,
}


def run(mode: str, options: Options) -> None:
    """Does what `mode` says; raises SignjaxError with one line where it cannot."""
    if mode not in MODES:
        raise InputError(f"--mode={mode}: expected one of {', '.join(MODES)}")
    for name in set.union(*READS.values()) - READS[mode]:
        if getattr(options, name):
            raise InputError(
                f"--{name} means nothing to --mode={mode}: leave it out"
                + (", or use --config.data.dir" if name == "data" else "")
            )
    end_at_once_when_signalled()
    # Two lines each, without the file's name, of pictures that it reads all the same.
    for category in (UserWarning, RuntimeWarning):
        warnings.filterwarnings("ignore", category=category, module="PIL")
    if options.deterministic:  # XLA reads it when the mode imports jax
        given = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{given} --xla_gpu_deterministic_ops=true"
    try:
        import_module(f"signjax.commands.{mode}").run(options)
    except (MemoryError, RuntimeError) as error:  # of numpy; of XLA, by its text
        text = str(error)
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in text:
            raise
        raise RunError(
            f"out of memory ({text.partition(chr(10))[0]}): lower "
            "config.data.image_size, config.train.batch_size or the number of images"
        ) from error
    except OSError as error:
        if error.filename is None:  # no file's fault, as a closed pipe is
            raise
        raise InputError(f"{error.filename}: {error.strerror}") from error


def help_text(introduction: str, flags: Mapping[str, str]) -> str:
    """What --help prints: an introduction, the modes, the flags and their texts."""
    return f"""{introduction}
modes (--mode=train if not given):
{_columns(MODES)}

flags:
{_columns({f"--{name}": text for name, text in flags.items()})}

Any key of a config is overridden by its name, --config.train.epochs=5; a variant
follows a colon, --config=configs/resnet.py:seed. signjax/config.py explains them."""


def _columns(rows: Mapping[str, str]) -> str:
    width = max(map(len, rows))
    return "\n".join(f"  {name:{width}}  {text}" for name, text in rows.items())
