"""A trained network in one small file: its variables as float16, and their step."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from signjax.errors import InputError
from signjax.runtime.files import write_bytes

FILE = "model.safetensors"


def write_packed(path: Path, variables: Mapping[str, Any], step: int) -> None:
    """Writes a model's variables, a tree of float32 arrays, each rounded to float16.

    Raises ValueError where a value does not fit, or a BatchNorm variance becomes 0.
    """
    arrays = {}
    for name, leaf in flatten_dict(variables, sep="/").items():
        arrays[name] = np.asarray(leaf, np.float32).astype(np.float16)
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} has values that float16 cannot hold")
        if name.endswith("/var") and not arrays[name].all():
            raise ValueError(f"{name} has variances that are 0 in float16")
    write_bytes(path, save(arrays, metadata={"step": str(step)}))


def read_packed(path: Path) -> tuple[dict[str, Any], int]:
    """The variables, a tree of float32 arrays, and their step.

    Raises InputError where the file is not what `write_packed` writes.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {
                name: file.get_tensor(name).astype(np.float32) for name in file.keys()
            }
            return unflatten_dict(arrays, sep="/"), int(file.metadata()["step"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is not a packed model ({error!r}): install signjax again"
        ) from error
