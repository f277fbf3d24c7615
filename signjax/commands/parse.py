"""From the words of the command line to Options; a mistake is told in one line."""

import difflib
import importlib.util
import os
import re
from ast import literal_eval
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from signjax.commands.cli import FLAGS, MODES, Options
from signjax.config import KEYS, Config
from signjax.errors import InputError, listed
from signjax.runtime.bucket import SCHEME

_EXAMPLE = f"--config={FLAGS['config'].metadata['example']}"
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# What may lie in a bucket, besides this machine.
_IN_BUCKETS = ("workdir", "data", "weights", "config.data.dir", "config.model.weights")
_EXPECTED = {int: "a whole number, such as 5", bool: "True or False"}
_READ: dict[type, Callable[[str], Any]] = {
    str: os.path.expanduser,  # a shell leaves the ~ of --workdir=~/runs as it is
    int: int,
    float: float,
    bool: lambda text: {"true": True, "false": False}[text.lower()],
    tuple: lambda text: tuple(literal_eval(text)),
}


def parse(argv: Sequence[str]) -> Options:
    """The flags of a command line, argv[0] being the program's name.

    Raises InputError for unknown flags and keys, values of another type and config
    files that cannot be loaded.
    """
    values = flags.FlagValues()
    for name, flag in FLAGS.items():
        kind = str if name == "config" else type(flag.default)
        choices = flag.metadata["choices"]
        expected = " or ".join(choices) or _EXPECTED.get(kind, "")
        _define(values, name, kind, expected, choices)
    for key in KEYS.values():
        _define(values, f"config.{key.name}", type(key.default), key.expected)
    try:
        arguments = tuple(values(argv)[1:])
    except flags.UnrecognizedFlagError as error:
        raise InputError(_unknown(error.flagname, str(error.flagvalue))) from error
    except flags.Error as error:  # which ends with the flag
        name = str(error).split()[-1]
        raise InputError(f"{name}: its value is missing; write {name}=VALUE") from error
    given: dict[str, Any] = {x: values[x].value for x in values if values[x].present}
    overrides = {x: given.pop(x) for x in [*given] if x.startswith("config.")}
    if overrides and "config" not in given:
        mode, key = given.get("mode", FLAGS["mode"].default), next(iter(overrides))
        of_no_model = "workdir" not in given
        if of_no_model and mode not in FLAGS["config"].metadata["modes"]:
            raise InputError(f"--{key} means nothing to --mode={mode}: leave it out")
        raise InputError(
            f"--{key} changes the config of --config, which is missing: expected "
            f"{_EXAMPLE}; that of a --workdir cannot be changed"
        )
    if "config" in given:
        config = given["config"] = load_config(given["config"])
        for name, value in overrides.items():
            config.update_from_flattened_dict({name.removeprefix("config."): value})
    for argument in arguments:
        _require_path(argument, argument)
    chosen = tuple(name.removeprefix("config.") for name in overrides)
    options = Options(**given, arguments=arguments, chosen=chosen)
    if arguments and options.mode != "predict" and (near := _near(arguments[0], MODES)):
        raise InputError(f"{arguments[0]!r}: a mode is chosen by --mode={near}")
    return options


def load_config(given: str) -> Config:
    """The config of `path/to/file.py` or `path/to/file.py:variant`."""
    name, colon, variant = given.partition(":")
    path = Path(os.path.expanduser(name))
    if not path.is_file():
        files = {
            x.stem: x for at in (Path("configs"), path.parent) for x in at.glob("*.py")
        }
        near = _near(path.stem, files)
        raise InputError(
            f"--config={given}: {'a folder' if path.is_dir() else 'no such file'}"
            + (
                f" ({files[near]}{colon}{variant} is one)"
                if near
                else f"; expected a file, as {_EXAMPLE}"
            )
        )
    try:
        spec: Any = importlib.util.spec_from_file_location("config", path)
        if spec is None:
            raise InputError(f"no Python file; expected one, as {_EXAMPLE}")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        config = module.get_config(*([variant] if colon else []))
        if not isinstance(config, Config):
            raise InputError("its get_config() returns no config")
        return config
    except Exception as error:  # a config file is code and can raise anything
        raise InputError(f"--config={given}: {_in_a_line(error)}") from error


def _define(
    values: flags.FlagValues,
    name: str,
    kind: type,
    expected: str,
    choices: Sequence[str] = (),
) -> None:
    """Adds a flag of a type, whose mistakes are told in our words."""

    class Parser(flags.ArgumentParser):
        def parse(self, argument: str) -> Any:
            if not (name in _IN_BUCKETS and argument.startswith(SCHEME)):
                _require_path(argument, f"--{name}={argument}")
            if not choices or argument in choices:
                try:
                    return _READ[kind](argument)
                except (ValueError, KeyError, SyntaxError, TypeError):
                    pass
            near = _near(argument, choices)
            meant = f" ({near} is one)" if near else ""
            raise InputError(f"--{name}={argument}: expected {expected}{meant}")

    flag = flags.Flag(Parser(), None, name, None, "", boolean=kind is bool)
    flags.DEFINE_flag(flag, values)


def _require_path(value: str, told: str) -> None:
    """Raises InputError for s3://bucket/run and the like."""
    if _ADDRESS.match(value):
        flags = listed(f"--{name}" for name in _IN_BUCKETS)
        raise InputError(
            f"{told}: expected a path of this machine, not an address; mount the "
            "storage and name its folder, or copy it here. Of addresses only "
            f"{SCHEME}BUCKET/NAME serves, for {flags}"
        )


def _unknown(name: str, argument: str) -> str:
    """What is wrong with a flag that there is not, and which one was meant."""
    word = name.removeprefix("config.")
    if any(key.startswith(f"{word}.") for key in KEYS):
        return f"--{name}: a group of keys; set one, as --config.{word}.KEY=VALUE"
    meant = [f"config.{key}" for key in KEYS if f".{key}".endswith(f".{word}")]
    if not meant:
        names = {key.rpartition(".")[2]: f"config.{key}" for key in KEYS}
        names |= {key: f"config.{key}" for key in KEYS} | {flag: flag for flag in FLAGS}
        meant = [names[near] for near in [_near(word, names)] if near]
    _, equals, value = argument.partition("=")
    told = " or ".join(f"--{flag}{equals}{value}" for flag in meant)
    told = f" ({told} is one)" if told else ""
    return f"--{name}: no such flag{told}; --help and --help=config list all"


def _near(name: str, names: Iterable[str]) -> str:
    """The one of `names` that was meant; empty if none is like it."""
    return "".join(difflib.get_close_matches(name, [*names], n=1, cutoff=0.7))


def _in_a_line(error: Exception) -> str:
    """What a config file raised, ConfigDict's errors in our words."""
    text = str(error)
    last_parts = {key.name.rpartition(".")[2]: key for key in KEYS.values()}
    if unknown := re.search(r'Key "(\w+)" does not exist', text):
        near = _near(unknown[1], last_parts)
        meant = f" ({near} is one)" if near else ""
        return f"sets {unknown[1]}, which is no key{meant}; --help=config lists all"
    pattern = r"override field '(\w+)' \(reference\)\. (.*) is of original type"
    if wrong := re.search(pattern, text, re.DOTALL):
        expected = last_parts[wrong[1]].expected
        return f"sets {wrong[1]} to {wrong[2]!r}: expected {expected}"
    line = text.splitlines()[-1] if text else ""
    shown = isinstance(error, ValueError | InputError)
    return line if shown else f"{type(error).__name__}: {line}"
