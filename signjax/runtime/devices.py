"""The devices that JAX finds, and the cache of the programs compiled for them."""

import os
import re
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax

from signjax.errors import InputError, RunError
from signjax.runtime.console import Console
from signjax.runtime.cpu import prepare_cpu
from signjax.runtime.distributed import single_process
from signjax.runtime.files import cache_directory

# JAX's own switches under which training would give other bits than it promises, and
# what each must be; all others work, such as JAX_DEBUG_NANS.
_SWITCHES = {
    "jax_enable_x64": False,
    "jax_disable_jit": False,
    "jax_numpy_dtype_promotion": "standard",
    "jax_default_prng_impl": "threefry2x32",
}
_CACHE_ERROR = re.compile(
    r"Error (reading|writing) persistent compilation cache entry for '(.+?)': "
    r"\w+: (.+)",
    re.DOTALL,
)


def require_devices(platform: str | None) -> list[jax.Device]:
    """All devices, of every process; of this kind (cpu, gpu, tpu) if one is named.

    Raises InputError where there is none, or a switch of JAX is one of `_SWITCHES`.
    """
    for name, needed in _SWITCHES.items():
        if (found := getattr(jax.config, name)) != needed:
            raise InputError(
                f"{name.upper()} is {found}, which changes what training computes: "
                f"expected {needed}; unset it"
            )
    prepare_cpu()
    devices = _devices()
    found = devices[0].platform
    if platform and platform != found:
        raise InputError(
            f"--require_device={platform}, but JAX found only {found}: install jax for "
            f'it (pip install "signjax[{"cuda" if platform == "gpu" else platform}]") '
            "and see that the driver works, or leave the flag out"
        )
    return devices


def _devices() -> list[jax.Device]:
    try:
        return jax.devices()
    except (RuntimeError, AssertionError) as error:  # a plugin asserts its driver
        older = "JAX_PLATFORM_NAME"  # which JAX reads too
        name = older if os.environ.get(older) else "JAX_PLATFORMS"
        raise InputError(
            f"JAX finds no device of those that {name}={os.environ.get(name, '')} "
            f"names: install jax for it and see that the driver works, or unset {name}"
        ) from error


def enable_compilation_cache() -> None:
    """Lets later processes load what this one compiles, from the user's cache."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        with suppress(RunError):  # no home: nothing is kept
            directory = cache_directory() / "compiled"
            jax.config.update("jax_compilation_cache_dir", str(directory))
    # By default what compiles within a second is not kept, as most of the CNN does.
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    _tell_of_cache_errors(Console())


def _tell_of_cache_errors(console: Console) -> None:
    """Says in one line what JAX warns of at every program that it cannot read or keep.

    JAX replaces no entry of its cache, as one that was cut short by a kill or on a full
    disk, so those of the program's name are removed, for it to be kept anew.
    """
    show, told = warnings.showwarning, set()

    def showwarning(message: Warning | str, *about: Any, **more: Any) -> None:
        if not (found := _CACHE_ERROR.fullmatch(str(message))):
            return show(message, *about, **more)
        action, program, reason = found.groups()
        directory = Path(jax.config.values["jax_compilation_cache_dir"])
        with suppress(OSError):
            for entry in directory.glob(f"{program}-*"):
                entry.unlink()
        if action not in told:
            told.add(action)
            does = {
                "reading": "a damaged program is compiled anew",
                "writing": "compiled programs cannot be kept",
            }
            console.warning(f"{directory}: {does[action]} ({reason})")

    warnings.showwarning = showwarning


def describe_devices(devices: list[jax.Device]) -> str:
    """For people: how many devices of what kind, such as `1 x cpu`."""
    processes = "" if single_process() else f" over {jax.process_count()} processes"
    return f"{len(devices)} x {devices[0].device_kind}{processes}"
