"""The flags of a mode as main.py reads them, all blank but those given."""

import dataclasses
from typing import Any

from signjax.commands import Options


def options(**values: Any) -> Options:
    names = [field.name for field in dataclasses.fields(Options)]
    blank = dict.fromkeys(names, "") | {"config": None, "repeats": 0}
    return Options.of(blank | values, values.get("arguments", ()))
