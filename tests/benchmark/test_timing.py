"""Compiling cold and warm, samples and quartiles, the profile; of toy programs."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from signjax.benchmark import timing
from signjax.benchmark.programs import Program
from signjax.errors import RunError

SIZE = 128


class Counted:
    """A toy step that counts its calls: state, matrix -> state, a sum."""

    def __init__(self) -> None:
        self.calls = 0
        self.jitted = jax.jit(
            lambda state, matrix: (state @ matrix, state.sum()), donate_argnums=0
        )
        self.trace = self.jitted.trace

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        return self.jitted(*arguments)


def toy(function: Any, steps: int = 1) -> Program:
    matrix = np.eye(SIZE, dtype=np.float32)
    return Program(function, lambda call: (matrix,), steps=steps, images=steps)


def state() -> Any:
    return jnp.ones((SIZE, SIZE))


def test_the_second_compilation_is_found_in_the_cache() -> None:
    compilation = timing.compile_apart(toy(Counted()), state())
    assert compilation.cache_hit
    assert compilation.trace_seconds > 0
    assert compilation.compile_seconds > 0
    assert compilation.compile_seconds_warm > 0


def test_without_a_cache_no_hit_is_claimed() -> None:
    enabled = "jax_enable_compilation_cache"
    jax.config.update(enabled, False)
    try:
        assert not timing.compile_apart(toy(Counted()), state()).cache_hit
    finally:
        jax.config.update(enabled, True)


def test_the_users_own_cache_is_neither_read_nor_written(tmp_path: Path) -> None:
    name = "jax_compilation_cache_dir"
    before = getattr(jax.config, name)
    jax.config.update(name, str(tmp_path))
    try:
        timing.compile_apart(toy(Counted()), state())
        assert getattr(jax.config, name) == str(tmp_path)
        assert not any(tmp_path.iterdir())
    finally:
        jax.config.update(name, before)


def test_what_was_compiled_runs_and_its_memory_is_known() -> None:
    compilation = timing.compile_apart(toy(Counted()), state())
    result = compilation.ready.run(state(), 2)
    np.testing.assert_array_equal(result, np.ones((SIZE, SIZE)))
    matrix = 4 * SIZE**2
    # Two arguments; the result lies where the donated one was; and a sum.
    assert compilation.memory_bytes is not None
    assert 2 * matrix <= compilation.memory_bytes <= 3 * matrix + 64
    assert compilation.bytes_accessed and compilation.bytes_accessed >= 3 * matrix


def test_a_sample_is_of_one_step_and_warm_up_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a clock on which each call takes 40 ms, but the first three take 10 s."""
    function = Counted()

    def clock() -> float:
        return 10.0 * min(function.calls, 3) + 0.04 * max(function.calls - 3, 0)

    monkeypatch.setattr(timing.time, "perf_counter", clock)
    _, samples = timing.time_steps(toy(function, steps=4), state(), repeats=5)
    np.testing.assert_allclose(samples, 5 * [0.01])
    # Three calls fill the 100 ms of a sample, after three of warm-up and one to tell.
    assert function.calls == 3 + 1 + 5 * 3


def test_a_slow_program_is_called_once_a_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    function = Counted()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: 2.0 * function.calls)
    _, samples = timing.time_steps(toy(function), state(), repeats=4)
    assert samples == 4 * [2.0]
    assert function.calls == 3 + 1 + 4


@pytest.mark.parametrize("count", [1, 2, 5, 30])
def test_quartiles_are_numpys(count: int) -> None:
    samples = np.random.default_rng(count).gamma(2, 3, count).tolist()
    expected = {
        "median": np.median(samples),
        "p25": np.quantile(samples, 0.25),
        "p75": np.quantile(samples, 0.75),
        "n": count,
    }
    assert timing.quartiles(samples) == pytest.approx(expected)


def test_a_profile_is_written(tmp_path: Path) -> None:
    function = Counted()
    timing.profile(toy(function), state(), tmp_path / "trace")
    assert list((tmp_path / "trace").glob("**/*.xplane.pb"))
    assert function.calls > 0


def test_a_profiler_that_writes_nothing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Idle:
        def __init__(self, directory: Path) -> None: ...
        def __enter__(self) -> None: ...
        def __exit__(self, *_: Any) -> None: ...

    monkeypatch.setattr(jax.profiler, "trace", Idle)
    with pytest.raises(RunError, match="wrote nothing"):
        timing.profile(toy(Counted()), state(), tmp_path)
