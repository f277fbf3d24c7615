"""JAX's own switches; the cache of compiled programs, damaged or not to be kept."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import pytest

from signjax.runtime.devices import require_devices
from tests.helpers.command_line import ROOT
from tests.helpers.refusals import refused

PROGRAMS = """
import resource, sys
import jax
from signjax.runtime.devices import enable_compilation_cache
enable_compilation_cache()
if len(sys.argv) > 1:  # of a file, as a quota or a full disk would
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
def first(x): return x + 1
def second(x): return x * 3
print(float(jax.jit(first)(1.0)), float(jax.jit(second)(1.0)))
"""


def run(cache: Path, *most_bytes: str) -> list[str]:
    """The lines on stderr of a process that compiles two programs or loads them."""
    keep = {
        "SIGNJAX_CACHE": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAMS, *most_bytes],
        cwd=ROOT,
        env=os.environ | keep,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "2.0 3.0\n"
    return done.stderr.splitlines()


def test_damaged_programs_are_told_once_and_kept_anew(tmp_path: Path) -> None:
    assert run(tmp_path) == []
    entries = [*tmp_path.glob("compiled/jit_*")]
    assert len(entries) == 2
    for entry in entries:
        entry.write_bytes(entry.read_bytes()[:100])
    (line,) = run(tmp_path)
    assert f"{tmp_path}/compiled: a damaged program is compiled anew (" in line
    assert run(tmp_path) == []


def test_programs_that_cannot_be_kept_are_told_once(tmp_path: Path) -> None:
    (line,) = run(tmp_path, "100")
    assert f"{tmp_path}/compiled: compiled programs cannot be kept (" in line
    assert run(tmp_path) == []  # nothing cut short is left


@pytest.mark.parametrize(
    ("switch", "value"),
    [
        ("JAX_ENABLE_X64", True),
        ("JAX_DISABLE_JIT", True),
        ("JAX_DEFAULT_PRNG_IMPL", "rbg"),
        ("JAX_NUMPY_DTYPE_PROMOTION", "strict"),
    ],
)
def test_a_switch_of_jax_that_changes_the_bits_is_refused(
    switch: str, value: Any
) -> None:
    before = getattr(jax.config, switch.lower())
    jax.config.update(switch.lower(), value)
    try:
        with refused(f"{switch} is {value}, which changes what training computes"):
            require_devices(None)
    finally:
        jax.config.update(switch.lower(), before)
