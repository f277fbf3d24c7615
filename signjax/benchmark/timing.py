"""Seconds: of tracing, of compiling and of running; and a profile."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from signjax.benchmark.programs import Program
from signjax.errors import RunError
from signjax.state import TrainState

WARM_UP_CALLS = 3  # a GPU records its command buffers in the second
SAMPLE_SECONDS = 0.1  # a sample is as many calls as take this long
PROFILED_CALLS = 3


class Compilation(NamedTuple):
    """What it took to get a program ready, and what it needs.

    trace_seconds: Python to StableHLO. compile_seconds: StableHLO to machine code, none
    of it from the persistent cache. memory_bytes: of a device, for arguments, results
    and all between. bytes_accessed: of a device, by XLA's count of what each of its
    operations reads and writes, in each call; it knows no caches, and counts the body
    of a loop once. None: XLA does not tell. ready: the compiled program.
    """

    trace_seconds: float
    compile_seconds: float
    memory_bytes: int | None
    bytes_accessed: float | None
    ready: Program


def compile_program(program: Program, state: TrainState) -> Compilation:
    """Traces and compiles a program for a call with this state.

    All that JAX has compiled before in this process is dropped.
    """
    jax.clear_caches()
    started = time.perf_counter()
    lowered = program.function.trace(state, *program.inputs(0)).lower()
    traced = time.perf_counter()
    with without_persistent_cache():
        compiled = lowered.compile()
    seconds = time.perf_counter() - traced
    accessed = (compiled.cost_analysis() or {}).get("bytes accessed")
    ready = replace(program, function=compiled)
    return Compilation(
        traced - started,
        seconds,
        _memory_bytes(compiled.memory_analysis()),
        accessed,
        ready,
    )


@contextmanager
def without_persistent_cache() -> Iterator[None]:
    """Within it nothing is taken from the user's persistent cache, or put there."""
    name = "jax_enable_compilation_cache"
    before = getattr(jax.config, name)
    try:
        jax.config.update(name, False)
        compilation_cache.reset_cache()  # else it stays as the first use found it
        yield
    finally:
        jax.config.update(name, before)
        compilation_cache.reset_cache()


def _memory_bytes(memory: Any) -> int | None:
    if memory is None:
        return None
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes  # donated arguments that hold results
        + memory.temp_size_in_bytes
    )


def time_steps(
    program: Program, state: TrainState, repeats: int
) -> tuple[TrainState, list[float]]:
    """The state after, and `repeats` samples of the seconds that one step takes.

    A sample is a row of calls that nothing waits between, as in training, and at its
    end a wait for all results. The first calls are dropped.
    """
    state = program.repeat(state, WARM_UP_CALLS)
    started = time.perf_counter()
    state = program.repeat(state, 1)
    calls = math.ceil(SAMPLE_SECONDS / (time.perf_counter() - started))
    samples = []
    for _ in range(repeats):
        started = time.perf_counter()
        state = program.repeat(state, calls)
        samples.append((time.perf_counter() - started) / (calls * program.steps))
    return state, samples


def quartiles(samples: Sequence[float]) -> dict[str, float]:
    """median, p25, p75 and n of at least one sample, in the samples' unit."""
    p25, median, p75 = np.percentile(samples, [25, 50, 75]).tolist()
    return {"median": median, "p25": p25, "p75": p75, "n": len(samples)}


def profile(program: Program, state: TrainState, directory: Path) -> TrainState:
    """The state after a few calls, whose profile (for xprof) is in `directory`.

    Each call is marked as a step; the step's named scopes are its parts.

    Raises RunError where the profiler wrote none.
    """
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0  # hundreds of thousands of events of JAX's own
    with jax.profiler.trace(directory, profiler_options=options):
        for call in range(PROFILED_CALLS):
            with jax.profiler.StepTraceAnnotation("train", step_num=call):
                state = program.repeat(state, 1)
    if not any(directory.glob("**/*.xplane.pb")):
        raise RunError(f"--trace: the profiler wrote nothing into {directory}")
    return state
