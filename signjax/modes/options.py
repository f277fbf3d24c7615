"""What the command line says, as plain values."""

from dataclasses import dataclass

from ml_collections import ConfigDict


@dataclass(frozen=True)
class Options:
    """The flags of main.py; their texts there say what they mean."""

    config: ConfigDict | None
    workdir: str
    data: str
    output: str
    best: bool
    json: bool
    require_device: str
    arguments: tuple[str, ...]
