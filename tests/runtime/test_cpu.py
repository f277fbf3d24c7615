"""What prepare_cpu does to a process, seen from a process of its own."""

import os
import platform
import subprocess
import sys

import pytest

PAGES = 128 << 20 >> 12  # of 4096 bytes, in 128 MiB
GLIBC = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="glibc's malloc alone is set up"
)


def printed(code: str, **environment: str) -> str:
    """What the code prints in a process without malloc settings but these."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GLIBC_TUNABLES", "MALLOC_"))
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, "JAX_PLATFORMS": "cpu", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


# Page faults of filling 128 MiB that were filled and freed just before; in a thread,
# as XLA does: threads have heaps of their own that keep little.
FAULTS_OF_REUSE = """
import resource, threading
from signjax.runtime.cpu import prepare_cpu
prepare_cpu()

def fill():
    b"1" * (128 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"1" * (128 << 20)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

thread = threading.Thread(target=fill)
thread.start()
thread.join()
"""


@GLIBC
def test_freed_memory_is_kept_for_the_next_step() -> None:
    assert int(printed(FAULTS_OF_REUSE)) < PAGES / 100


@GLIBC
def test_what_a_compiler_freed_goes_back_to_the_system() -> None:
    code = """
from signjax.runtime.cpu import prepare_cpu, return_freed_memory
prepare_cpu()

def resident():
    return int(open("/proc/self/statm").read().split()[1])

small = [bytes(4000) for _ in range(1 << 15)]
last = bytes(4000)  # what is left lies above, so the heap cannot shrink
del small
before = resident()
return_freed_memory()
print(before - resident())
"""
    assert int(printed(code)) > 0.8 * PAGES


@GLIBC
def test_a_persons_own_malloc_settings_stay() -> None:
    own = printed(FAULTS_OF_REUSE, MALLOC_MMAP_THRESHOLD_="65536")
    assert int(own) > PAGES / 2


def test_a_step_is_over_when_the_next_one_starts() -> None:
    """Steps in flight would each hold memory of their own."""
    code = """
import jax
from signjax.runtime.cpu import prepare_cpu
prepare_cpu()
x = jax.numpy.ones((1500, 1500))
product = jax.jit(lambda x: x @ x)
product(x).block_until_ready()
print(product(x).is_ready())
"""
    assert printed(code) == "True\n"
