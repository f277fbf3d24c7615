"""Seconds: of tracing, of compiling cold and warm, and of running; and a profile."""

import math
import tempfile
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

_CACHE_HIT = "/jax/compilation_cache/cache_hits"


class Compilation(NamedTuple):
    """What it took to get a program ready, and what it needs.

    trace_seconds: Python to StableHLO. compile_seconds: StableHLO to machine code with
    an empty persistent cache; compile_seconds_warm: once more, with what that left
    there. cache_hit: whether that was found and taken. memory_bytes: of a device, for
    arguments, results and all between. bytes_accessed: of a device, by XLA's count of
    what each of its operations reads and writes, in each call; it knows no caches, and
    counts the body of a loop once. None: XLA does not tell. ready: the program as the
    second compilation made it, which is what a second run of training executes.
    """

    trace_seconds: float
    compile_seconds: float
    compile_seconds_warm: float
    cache_hit: bool
    memory_bytes: int | None
    bytes_accessed: float | None
    ready: Program


def compile_apart(program: Program, state: TrainState) -> Compilation:
    """Traces and compiles a program twice, for a call with this state.

    All that JAX has compiled before in this process is dropped.
    """
    arguments = (state, *program.inputs(0))
    with _empty_persistent_cache():
        trace_seconds, cold_seconds, _, compiled = _compile(program, arguments)
        memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
        del compiled
        _, warm_seconds, cache_hit, compiled = _compile(program, arguments)
    return Compilation(
        trace_seconds,
        cold_seconds,
        warm_seconds,
        cache_hit,
        _memory_bytes(memory),
        (cost or {}).get("bytes accessed"),
        replace(program, function=compiled),
    )


def _compile(
    program: Program, arguments: tuple[Any, ...]
) -> tuple[float, float, bool, jax.stages.Compiled]:
    """(seconds to trace, seconds to compile, from the persistent cache?, result)."""
    jax.clear_caches()
    events: list[str] = []

    def listen(event: str, **_: Any) -> None:
        events.append(event)

    started = time.perf_counter()
    lowered = program.function.trace(*arguments).lower()
    traced = time.perf_counter()
    jax.monitoring.register_event_listener(listen)
    try:
        compiled = lowered.compile()
    finally:
        jax.monitoring.unregister_event_listener(listen)
    seconds = time.perf_counter() - traced
    return traced - started, seconds, _CACHE_HIT in events, compiled


@contextmanager
def _empty_persistent_cache() -> Iterator[None]:
    """A persistent compilation cache of its own that takes every program."""
    settings = {
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    with tempfile.TemporaryDirectory() as directory:
        settings["jax_compilation_cache_dir"] = directory
        before = {name: getattr(jax.config, name) for name in settings}
        try:
            _configure(settings)
            yield
        finally:
            _configure(before)


def _configure(settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()  # it keeps the directory that it saw first


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
    state = program.run(state, WARM_UP_CALLS)
    started = time.perf_counter()
    state = program.run(state, 1)
    calls = math.ceil(SAMPLE_SECONDS / (time.perf_counter() - started))
    samples = []
    for _ in range(repeats):
        started = time.perf_counter()
        state = program.run(state, calls)
        samples.append((time.perf_counter() - started) / (calls * program.steps))
    return state, samples


def quartiles(samples: Sequence[float]) -> dict[str, float]:
    """median, p25, p75 and n of at least one sample, in the samples' unit."""
    p25, median, p75 = np.percentile(samples, [25, 50, 75]).tolist()
    return {"median": median, "p25": p25, "p75": p75, "n": len(samples)}


def profile(program: Program, state: TrainState, directory: Path) -> TrainState:
    """The state after a few calls, whose profile (for xprof) is in `directory`.

    Raises RunError where the profiler wrote none.
    """
    with jax.profiler.trace(directory):
        state = program.run(state, PROFILED_CALLS)
    if not any(directory.glob("**/*.xplane.pb")):
        raise RunError(f"--trace: the profiler wrote nothing into {directory}")
    return state
