"""What a person can ask for: the table of modes, the table of flags, a mode's start.

The modes are files beside this one, imported when asked for, as jax loads slowly.
"""

import os
import warnings
from dataclasses import dataclass, field, fields
from importlib import import_module
from typing import Any

from signjax.config import Config, check
from signjax.errors import InputError, memory_errors
from signjax.runtime.signals import end_at_once_when_signalled

MODES = {
    "train": "train --config, evaluate and save; run again, it resumes",
    "evaluate": "score the model of --workdir on its own test images or on --data",
    "predict": "label the images and folders that are named after the flags",
    "export": "write the model of --workdir for other programs into --output",
    "demo": "show the model of --workdir a camera, on a page of this machine",
    "port": "turn --weights of another program into a --workdir",
    "audit": "find duplicates, leaks, imbalance and odd images in --data",
    "summary": "list the layers and parameters of --config",
    "benchmark": "time the train step of --config and compare it with the hardware",
}
_ANY = " ".join(MODES)
_ON_DEVICES = "train evaluate predict export demo port summary benchmark"


def _flag(
    default: Any,
    text: str,
    modes: str,
    *,
    example: str = "",
    choices: tuple[str, ...] = (),
) -> Any:
    """A row of the table of flags; name and type are those of the field.

    text: its line of help. modes: those that read it, marked by ! where they need it.
    example: a value, for who left it out.
    """
    rows = {"text": text, "example": example, "choices": choices}
    rows["modes"] = modes.replace("!", "").split()
    rows["needed"] = [word[:-1] for word in modes.split() if word.endswith("!")]
    return field(default=default, metadata=rows)


# fmt: off
@dataclass(frozen=True)
class Options:
    """The flags as values; of one that was not given its default."""

    mode: str = _flag("train", "what to do", _ANY, choices=tuple(MODES))
    config: Config = _flag(None, "config file, with a variant after a colon",
        "train! summary! benchmark!", example="configs/resnet.py")
    workdir: str = _flag("",
        "of the run; by default train: runs/NAME, others: the recogniser in the box",
        "train evaluate! predict export demo port! audit", example="runs/resnet")
    data: str = _flag("", "h5 file of the SIGNS layout or folder of class folders",
        "evaluate export demo audit!", example="photos")
    output: str = _flag("", "file to write: JSON; evaluate: or CSV; export: a folder",
        "evaluate export! audit benchmark", example="exported")
    precision: str = _flag("float32", "of the weights in the files", "export",
        choices=("float32", "float16"))
    page: bool = _flag(False, "a page too, that shows it a camera in any browser",
        "export")
    weights: str = _flag("",
        "file, workdir or published name; but for port mediapipe-hands or its FOLDER",
        "port! predict export demo", example="keras-imagenet")
    best: bool = _flag(False, "the best checkpoint, not the last",
        "evaluate predict export demo audit")
    json: bool = _flag(False, "one JSON object a line", "predict")
    sheet: str = _flag("", "page.html or picture.png: answers and where it looked",
        "predict audit")
    sweep: str = _flag("", 'what to vary, as "batch_size=32,128 program=step"',
        "benchmark")
    repeats: int = _flag(30, "samples a row, 30 by default", "benchmark")
    topology: str = _flag("", "compile for chips that are not here, as v5e:2x4",
        "benchmark")
    compare: str = _flag("", "older JSON to compare with", "benchmark")
    trace: str = _flag("", "folder for a profile of each row", "benchmark")
    require_device: str = _flag("", "refuse all devices but cpu, gpu or tpu",
        _ON_DEVICES, choices=("cpu", "gpu", "tpu"))
    deterministic: bool = _flag(False, "the same bits from run to run on a GPU too",
        _ON_DEVICES)
    distributed: str = _flag("", "auto or HOST:PORT,COUNT,INDEX", "train")
    arguments: tuple[str, ...] = ()  # images and folders for predict
    chosen: tuple[str, ...] = ()  # the keys of the config that were given as flags
# fmt: on


FLAGS = {flag.name: flag for flag in fields(Options) if flag.metadata}


def run(options: Options) -> None:
    """Does what the mode says; raises SignjaxError with one line where it cannot."""
    _refuse_other_flags(options)
    if options.config is not None:
        check(options.config)
    end_at_once_when_signalled()
    # Two lines each, without the file's name, of images that it reads all the same.
    for category in (UserWarning, RuntimeWarning):
        warnings.filterwarnings("ignore", category=category, module="PIL")
    if options.deterministic:  # XLA reads it when the mode imports jax
        given = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{given} --xla_gpu_deterministic_ops=true"
    try:
        command = import_module(f"signjax.commands.{options.mode}")
    except ValueError as error:  # JAX reads its variables when it is imported
        raise InputError(f"a variable of the environment is wrong: {error}") from error
    try:
        with memory_errors():
            command.run(options)
    except OSError as error:
        if error.filename is None:  # no file's fault, as a closed pipe is
            raise
        raise InputError(f"{error.filename}: {error.strerror}") from error


def _refuse_other_flags(options: Options) -> None:
    """Raises InputError for a flag that the mode would pass over, or misses."""
    mode, arguments = options.mode, options.arguments
    for name, flag in FLAGS.items():
        given, row = getattr(options, name) != flag.default, flag.metadata
        if given and mode not in row["modes"]:
            advice = ", or use --config.data.dir" if name == "data" else ""
            raise InputError(
                f"--{name} means nothing to --mode={mode}: leave it out{advice}"
            )
        if not given and mode in row["needed"]:
            raise InputError(
                f"--{name} is missing: --mode={mode} needs it, such as "
                f"--{name}={row['example']}"
            )
    if arguments and mode != "predict":
        raise InputError(f"{arguments[0]!r}: --mode={mode} takes only flags")
    if mode == "predict" and not arguments:
        raise InputError(
            "no image is named: expected files or folders after the flags, as in "
            "--mode=predict photo.jpg"
        )
