"""From argv to the values of all flags; a mistake is told in this project's words."""

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from signjax.config import default_config
from signjax.errors import InputError

_EXAMPLE = "expected a config file, as --config=configs/resnet.py"
_EXPECTED = {
    "int": "expected a whole number, such as 5",
    "float": "expected a number, such as 0.1",
    "bool": "expected True or False",
}


def read_flags(argv: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """(flag name -> value, the arguments after the flags) of a command line.

    Raises InputError for unknown flags and config keys, values of another type and
    config files that cannot be loaded.
    """
    try:
        arguments = flags.FLAGS(argv)[1:]
        values = flags.FLAGS.flag_values_dict()
        if values["config"] is not None:
            values["config"].lock()  # raises now if the file could not be loaded
    except Exception as error:  # a config file is code and can raise anything
        raise InputError(_explain(_given(argv), error)) from error
    return values, arguments


def _given(argv: Sequence[str]) -> dict[str, str]:
    """Flag name -> its value as written, after an `=` or as the next word."""
    given = {}
    for word, following in zip(argv, [*argv[1:], ""], strict=True):
        if match := re.fullmatch(r"--?([\w.]+)(=.*)?", word, re.DOTALL):
            given[match[1]] = following if match[2] is None else match[2][1:]
    return given


def _explain(given: dict[str, str], error: Exception) -> str:
    """One line on what is wrong; absl's and ml_collections' own quote Python."""
    if isinstance(error, flags.UnrecognizedFlagError):
        return _unknown_flag(error.flagname, given)
    file = given.get("config", "")
    if "config" in given and not Path(file.split(":")[0]).is_file():
        return f"--config={file}: no such file; {_EXAMPLE}"
    if unknown := [name for name in given if _is_unknown_key(name)]:
        return (
            f"--{unknown[0]}: a config has no such key"
            f"{_meant(unknown[0], _config_keys())}; signjax/config.py has them all"
        )
    illegal = re.match(r"flag --([\w.]+)=", str(error))
    if illegal and illegal[1] != "config":
        name = illegal[1]
        return f"--{name}={given.get(name, '')}: {_expected(name)}"
    if missing := re.match(r"Missing value for flag --([\w.]+)", str(error)):
        return f"--{missing[1]}: its value is missing; write --{missing[1]}=VALUE"
    if unknown := re.search(r'Key "(\w+)" does not exist', str(error)):
        names = [key.rpartition(".")[2] for key in _config_keys()]
        return (
            f"--config={file}: sets {unknown[1]}, but a config has no such key"
            f"{_meant(unknown[1], names, '')}; signjax/config.py has them all"
        )
    return f"--config={file}: {_last_line(error)}"


def _unknown_flag(name: str, given: dict[str, str]) -> str:
    if name.startswith("config.") and "config" not in given:
        return (
            f"--{name} changes the config of --config, which is missing: {_EXAMPLE}; "
            "that of a --workdir cannot be changed"
        )
    return f"--{name}: no such flag{_meant(name, flags.FLAGS)}; --help lists all flags"


def _is_unknown_key(name: str) -> bool:
    return name.startswith("config.") and name not in _config_keys()


def _config_keys(group: Any = None, prefix: str = "config.") -> dict[str, Any]:
    """Flag name -> default value of every key of a config, groups of keys included."""
    keys: dict[str, Any] = {}
    for key, value in (group or default_config()).items():
        keys[prefix + key] = value
        if isinstance(value, ConfigDict):
            keys |= _config_keys(value, f"{prefix}{key}.")
    return keys


def _meant(name: str, names: Iterable[str], dashes: str = "--") -> str:
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.7)
    return f" ({dashes}{near[0]} is one)" if near else ""


def _expected(name: str) -> str:
    flag = flags.FLAGS[name]
    if isinstance(flag, flags.EnumFlag):
        return f"expected {' or '.join(flag.parser.enum_values)}"
    if isinstance(_config_keys().get(name), ConfigDict):
        return f"it is a group of keys; set one of them, as --{name}.KEY=VALUE"
    return _EXPECTED.get(flag.flag_type(), f"expected a {flag.flag_type()}")


def _last_line(error: Exception) -> str:
    """Of an error in a config file, which ml_collections quotes inside its own."""
    line = str(error).replace("\\n", "\n").splitlines()[-1].strip(" '\"\\")
    kind = "" if isinstance(error, flags.Error) else f"{type(error).__name__}: "
    return (kind + line).removeprefix("ValueError: ")
