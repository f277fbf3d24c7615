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
from signjax.errors import InputError

_CONFIG = FLAGS["config"].metadata["example"]
_EXPECTED = {int: "a whole number, such as 5", bool: "True or False"}


def parse(argv: Sequence[str]) -> Options:
    """The flags of a command line, argv[0] being the program's name.

    Raises InputError for unknown flags and keys, values of another type and config
    files that cannot be loaded.
    """
    values = flags.FlagValues()
    for name, flag in FLAGS.items():
        choices = flag.metadata["choices"]
        expected = " or ".join(choices) or _EXPECTED.get(type(flag.default), "")
        _define(
            values, name, "" if name == "config" else flag.default, expected, choices
        )
    for key in KEYS.values():
        _define(values, f"config.{key.name}", key.default, key.expected)
    try:
        arguments = tuple(values(argv)[1:])
    except flags.UnrecognizedFlagError as error:
        raise InputError(_unknown(error.flagname, str(error.flagvalue))) from error
    except flags.Error as error:  # which ends with the flag
        name = str(error).split()[-1]
        raise InputError(f"{name}: its value is missing; write {name}=VALUE") from error
    given: dict[str, Any] = {x: values[x].value for x in values if values[x].present}
    keys = {name: given.pop(name) for name in [*given] if name.startswith("config.")}
    if "config" in given:
        given["config"] = load_config(given["config"])
        for name, value in keys.items():
            given["config"].update_from_flattened_dict({name[len("config.") :]: value})
    elif keys:
        raise InputError(
            f"--{[*keys][0]} changes the config of --config, which is missing: "
            f"expected --config={_CONFIG}; that of a --workdir cannot be changed"
        )
    options = Options(**given, arguments=arguments)
    if arguments and options.mode != "predict" and (near := _near(arguments[0], MODES)):
        raise InputError(f"{arguments[0]!r}: a mode is chosen by --mode={near}")
    return options


def load_config(given: str) -> Config:
    """The config of `path/to/file.py` or `path/to/file.py:variant`."""
    name, colon, variant = given.partition(":")
    path = Path(os.path.expanduser(name))
    if not path.is_file():
        raise InputError(f"--config={given}: {_no_config(path)}")
    try:
        spec: Any = importlib.util.spec_from_file_location("config", path)
        if spec is None:
            raise InputError(f"{path.name} is no Python file; expected {_CONFIG}")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        config = module.get_config(*([variant] if colon else []))
        if not isinstance(config, Config):
            raise InputError("its get_config() returns no config: return config")
        return config
    except Exception as error:  # a config file is code and can raise anything
        raise InputError(f"--config={given}: {_of_config(error)}") from error


def _define(
    values: flags.FlagValues,
    name: str,
    default: Any,
    expected: str,
    choices: Sequence[str] = (),
) -> None:
    """Adds a flag of the default's type whose mistakes are told in our words."""
    read: dict[type, Callable[[str], Any]] = {
        str: os.path.expanduser,  # a shell leaves the ~ of --workdir=~/runs as it is
        bool: lambda text: {"true": True, "false": False}[text.lower()],
        tuple: lambda text: tuple(literal_eval(text)),
    }

    class Parser(flags.ArgumentParser):
        def parse(self, argument: str) -> Any:
            if choices and argument not in choices:
                near = _near(argument, choices)
                meant = f" ({near} is one)" if near else ""
                raise InputError(f"--{name}={argument}: expected {expected}{meant}")
            try:
                return read.get(type(default), type(default))(argument)
            except (ValueError, KeyError, SyntaxError, TypeError) as error:
                wrong = f"--{name}={argument}: expected {expected}"
                raise InputError(wrong) from error

    is_switch = isinstance(default, bool)
    flag = flags.Flag(Parser(), None, name, None, "", boolean=is_switch)
    flags.DEFINE_flag(flag, values)


def _near(name: str, names: Iterable[str]) -> str:
    return "".join(difflib.get_close_matches(name, [*names], n=1, cutoff=0.7))


def _unknown(name: str, value: str) -> str:
    """What is wrong with a flag that there is not, and which one was meant."""
    words = f"={value.partition('=')[2]}" if "=" in value else ""
    if name.startswith("config."):
        key = name.removeprefix("config.")
        if any(known.startswith(f"{key}.") for known in KEYS):
            return (
                f"--{name} is a group of keys: set one of them, as --{name}.KEY=VALUE"
            )
        near = _near(key, KEYS) or _key_of(key.rpartition(".")[2])
        meant = f" (--config.{near} is one)" if near else ""
        return (
            f"--{name}: a config has no such key{meant}; --help=config lists them all"
        )
    name = name.replace("-", "_")
    near = _near(name, FLAGS)
    if keys := [key for key in KEYS if f".{key}".endswith(f".{name}")]:
        near = f"{words} or --".join(f"config.{key}" for key in keys)
    elif not near and (key := _key_of(name)):
        near = f"config.{key}"
    if near.startswith("config."):
        return f"--{name}: no such flag; a key of the config is --{near}{words}"
    meant = f" (--{near} is one)" if near else ""
    return f"--{name}: no such flag{meant}; --help lists all flags"


def _key_of(name: str) -> str:
    """The config key whose last part is nearly `name`; empty if there is none."""
    last_parts = {key.rpartition(".")[2]: key for key in KEYS}
    return last_parts.get(_near(name, last_parts), "")


def _no_config(path: Path) -> str:
    example = f"expected a config file, as --config={_CONFIG}"
    if path.is_dir():
        inside = sorted(path.glob("[!_]*.py"))
        example = f"expected a file, as --config={inside[0]}" if inside else example
        return f"is a folder; {example}"
    beside = [
        str(x) for x in [*path.parent.glob("*.py"), *Path("configs").glob("*.py")]
    ]
    nearly = [path.with_suffix(".py"), Path("configs", path.name).with_suffix(".py")]
    found = [str(x) for x in nearly if x.is_file()] or [_near(str(path), beside)]
    return "no such file" + (f" ({found[0]} is one)" if found[0] else f"; {example}")


def _of_config(error: Exception) -> str:
    """One line of what a config file raised."""
    text = str(error)
    if unknown := re.search(r'Key "(\w+)" does not exist', text):
        near = _near(unknown[1], [part for key in KEYS for part in key.split(".")])
        meant = f" ({near} is one)" if near else ""
        return (
            f"sets {unknown[1]}, but a config has no such key{meant}; --help=config "
            "lists them all"
        )
    pattern = r"override field '(\w+)' \(reference\)\. (.*) is of original type"
    if wrong := re.search(pattern, text, re.DOTALL):
        keys = [key for key in KEYS.values() if key.name.split(".")[-1] == wrong[1]]
        expected = " or ".join(dict.fromkeys(key.expected for key in keys))
        return f"sets {wrong[1]} to {wrong[2]!r}: expected {expected}"
    line = text.splitlines()[-1] if text else ""
    shown = isinstance(error, ValueError | InputError)
    return line if shown else f"{type(error).__name__}: {line}"
