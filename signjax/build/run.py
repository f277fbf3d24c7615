"""What a run is called, and what it keeps of the config."""

import os
from typing import Any

from signjax.config import Config


def default_workdir(config: Config) -> str:
    """Where a run goes when the person names no place."""
    return f"runs/{config.name}"


def to_be_stored(config: Config) -> dict[str, Any]:
    """The keys as run.json has them: the data are found from any directory."""
    stored = config.to_dict()
    if directory := stored["data"]["dir"]:
        stored["data"]["dir"] = os.path.abspath(os.path.expanduser(directory))
    return stored
