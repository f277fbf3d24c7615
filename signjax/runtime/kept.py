"""What is made once from the code as it is, and kept in the user's cache."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import flax
import jax
import jaxlib
import numpy as np
import optax

import signjax
from signjax.errors import SignjaxError
from signjax.runtime.files import cache_directory, write_bytes

_DIGEST = 32  # bytes of a SHA-256
_PACKAGES = [signjax, jax, flax, optax]  # which a trace runs through


def kept(kind: str, cache_key: Any, make: Callable[[], bytearray]) -> bytearray:
    """What make() returned before, in whatever process, or returns now.

    cache_key: what it depends on, by its repr, beside the code and JAX's switches; what
    was made by others is replaced. Where there is no cache, or JAX's own is off, it is
    made each time.
    """
    if not jax.config.values["jax_enable_compilation_cache"]:
        return make()
    name = hashlib.sha256(repr(cache_key).encode()).hexdigest()
    stamp = hashlib.sha256(_code().encode()).digest()
    with suppress(SignjaxError, OSError):  # no home, not yet
        found = (cache_directory() / kind / name).read_bytes()
        content = found[2 * _DIGEST :]
        if found[: 2 * _DIGEST] == stamp + hashlib.sha256(content).digest():
            return bytearray(content)
    content = make()
    with suppress(SignjaxError):
        digest = hashlib.sha256(content).digest()
        write_bytes(cache_directory() / kind / name, stamp + digest + content)
    return content


def _code() -> str:
    """The files that hold the code, by size and time, versions, and JAX's switches."""
    files = sorted(
        file
        for package in _PACKAGES
        for file in Path(package.__path__[0]).rglob("*.py")
    )
    stats = [(str(file), file.stat()) for file in files]
    stamps = [(name, found.st_size, found.st_mtime_ns) for name, found in stats]
    versions = jaxlib.version.__version__, np.__version__
    return repr((stamps, versions, sorted(jax.config.values.items())))
