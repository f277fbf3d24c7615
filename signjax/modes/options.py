"""What the command line says, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from signjax.config import Config


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
        return cls(**{name: values[name] for name in names}, arguments=tuple(arguments))
