"""Compiling, samples and quartiles, the profile; of toy programs."""

from contextlib import nullcontext
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


def test_compiling_neither_reads_nor_writes_the_users_cache(tmp_path: Path) -> None:
    name = "jax_compilation_cache_dir"
    before, made = getattr(jax.config, name), state()
    jax.config.update(name, str(tmp_path))
    try:
        compilation = timing.compile_program(toy(Counted()), made)
        assert compilation.trace_seconds > 0 and compilation.compile_seconds > 0
        assert not any(tmp_path.iterdir())
        assert jax.config.jax_enable_compilation_cache
    finally:
        jax.config.update(name, before)


def test_what_was_compiled_runs_and_its_memory_is_known() -> None:
    compilation = timing.compile_program(toy(Counted()), state())
    result = compilation.ready.repeat(state(), 2)
    np.testing.assert_array_equal(result, np.ones((SIZE, SIZE)))
    matrix = 4 * SIZE**2
    # Two arguments; the result lies where the donated one was; and a sum.
    assert compilation.memory_bytes is not None
    assert 2 * matrix <= compilation.memory_bytes <= 3 * matrix + 64
    assert compilation.bytes_accessed and compilation.bytes_accessed >= 3 * matrix


@pytest.mark.parametrize(("seconds", "calls"), [(0.04, 3), (2.0, 1)])
def test_a_sample_is_of_one_step_and_warm_up_is_dropped(
    monkeypatch: pytest.MonkeyPatch, seconds: float, calls: int
) -> None:
    """By a clock on which each call takes as long, but the first three take 10 s."""
    function = Counted()

    def clock() -> float:
        return 10.0 * min(function.calls, 3) + seconds * max(function.calls - 3, 0)

    monkeypatch.setattr(timing.time, "perf_counter", clock)
    _, samples = timing.time_steps(toy(function, steps=4), state(), repeats=5)
    np.testing.assert_allclose(samples, 5 * [seconds / 4])
    # A sample fills 100 ms, after three calls of warm-up and one to tell.
    assert function.calls == 3 + 1 + 5 * calls


@pytest.mark.parametrize("count", [1, 2, 30])
def test_quartiles_are_numpys(count: int) -> None:
    samples = np.random.default_rng(count).gamma(2, 3, count)
    found = timing.quartiles(samples.tolist())
    low, middle, high = np.quantile(samples, [0.25, 0.5, 0.75])
    expected = {"p25": low, "median": middle, "p75": high, "n": count}
    assert found == pytest.approx(expected)


def test_a_profile_is_written(tmp_path: Path) -> None:
    function = Counted()
    timing.profile(toy(function), state(), tmp_path / "trace")
    (profile,) = (tmp_path / "trace").glob("**/*.xplane.pb")
    assert b"step_num" in profile.read_bytes()
    assert function.calls == timing.PROFILED_CALLS


def test_a_profiler_that_writes_nothing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jax.profiler, "trace", lambda *_, **__: nullcontext())
    with pytest.raises(RunError, match="wrote nothing"):
        timing.profile(toy(Counted()), state(), tmp_path)
