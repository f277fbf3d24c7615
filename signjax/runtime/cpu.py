"""How the CPU is set up for training: settings of the process that change no result."""

import ctypes
import os
import platform

import jax

# glibc's parameters of mallopt(3), by malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_LARGEST = 2**31 - 1  # bytes; mallopt takes an int


def return_freed_memory() -> None:
    """Gives free memory back to the system: a compiler leaves about a GB of it.

    Otherwise it stays with the process, see `prepare_cpu`. The system clears what is
    taken again, so this is for the moment after a compilation, not for every step.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def prepare_cpu() -> None:
    """To be called once, before JAX is first asked for its devices.

    A step of the ResNet at batch 32 needs 0.5 GB between its operations. XLA:CPU asks
    for them anew in each step, and glibc returns them to the system after each, which
    then clears every page again. So freed memory is kept, beside a GPU too, as malloc
    must be set up before JAX looks for one; not where the person has set up malloc by
    GLIBC_TUNABLES or MALLOC_*. And steps run one at a time: Python would otherwise
    start some more meanwhile, each with memory of its own, and gain nothing, as they
    share the cores.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    own = any(name.startswith(("GLIBC_TUNABLES", "MALLOC_")) for name in os.environ)
    if platform.libc_ver()[0] == "glibc" and not own:
        libc = ctypes.CDLL(None)
        # Only the main heap can keep that much, so there is to be no other, and no
        # mapping outside it.
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, _LARGEST)
