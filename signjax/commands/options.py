"""What the command line says, as plain values."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from signjax.config import Config

_PATHS = ("workdir", "data", "output", "weights", "compare", "trace")


@dataclass(frozen=True)
class Options:
    """The flags of main.py; their texts there say what they mean."""

    config: Config | None
    workdir: str
    data: str
    output: str
    weights: str
    best: bool
    json: bool
    require_device: str | None
    deterministic: bool
    distributed: str
    sweep: str
    repeats: int
    compare: str
    trace: str
    arguments: tuple[str, ...]

    @classmethod
    def of(cls, values: Mapping[str, Any], arguments: Sequence[str]) -> "Options":
        """From the values of all flags, by name, and the arguments after them."""
        names = [field.name for field in fields(cls) if field.name != "arguments"]
        # A shell leaves the ~ of --workdir=~/runs as it is.
        at_home = {name: os.path.expanduser(values[name]) for name in _PATHS}
        given = {name: values[name] for name in names} | at_home
        return cls(**given, arguments=tuple(arguments))
