"""Programs whose traces are kept: the same results, traced again when they must be."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import signjax.runtime.kept
from signjax.runtime.distributed import make_mesh, replicated
from signjax.runtime.jit import compile_training, jit_inference, jit_training
from signjax.state import Metrics, TrainState

MESH = make_mesh(jax.devices()[:1])
KEY = jax.random.key(3)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIGNJAX_CACHE", str(tmp_path))
    return tmp_path / "traced"


def start() -> TrainState:
    params = {"kernel": jnp.linspace(-1, 1, 12).reshape(4, 3)}
    moments = {"kernel": jnp.zeros([4, 3])}
    state = TrainState(jnp.zeros([], jnp.int32), params, {}, moments, Metrics.zero())
    return jax.device_put(state, replicated(MESH))


BATCH = (np.arange(24, dtype=np.uint8).reshape(6, 4), np.arange(6, dtype=np.int32))
INDICES = np.asarray([4, 1], np.int32)


class Step:
    """A step that says how often it was traced."""

    def __init__(self) -> None:
        self.traces = 0

    def __call__(
        self, state: TrainState, images: Any, labels: Any, indices: Any, key: Any
    ) -> tuple[TrainState, Metrics]:
        self.traces += 1
        noise = jax.random.normal(jax.random.fold_in(key, state.step), [4, 3])
        moved = jnp.tanh(images[indices].T @ jnp.ones([2, 3]) / 7) + noise
        momentum: Any = state.opt_state
        moments = {"kernel": 0.9 * momentum["kernel"] + moved}
        params = {"kernel": state.params["kernel"] - 0.1 * moments["kernel"]}
        zero, loss = Metrics.zero(), jnp.exp(params["kernel"]).sum()
        metrics = zero.replace(loss_sum=loss, count=labels[indices].sum())
        state = state.replace(
            step=state.step + 1, params=params, opt_state=moments, metrics=metrics
        )
        return state, metrics

    def compile(self, cache_key: Any = "one") -> Any:
        jitted = jit_training(MESH, self)
        arguments = (start(), *BATCH, INDICES, KEY)
        return compile_training(MESH, jitted, arguments, cache_key=cache_key)


def test_a_kept_trace_gives_the_bits_of_a_new_one() -> None:
    wanted = jit_training(MESH, Step())(start(), *BATCH, INDICES, KEY)
    for step in (Step(), Step()):  # it makes the trace, it finds it
        given = start()
        found = step.compile()(given, *BATCH, INDICES, KEY)
        assert given.params["kernel"].is_deleted()  # its memory was given away
        jax.tree.map(np.testing.assert_array_equal, found, wanted)
        assert found[0].step.sharding == wanted[0].step.sharding
    assert step.traces == 0


def test_what_a_trace_depends_on_makes_a_new_one(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def traced(cache_key: Any = "one") -> int:
        step = Step()
        step.compile(cache_key)
        return step.traces

    assert [traced(), traced(), traced("two"), traced()] == [1, 0, 1, 0]
    # An edited file of the package, which need not be loaded yet.
    package = cache.parent / "package"
    package.mkdir()
    (package / "late.py").write_text("1")
    place = SimpleNamespace(__path__=[str(package)])
    monkeypatch.setattr(signjax.runtime.kept, "_PACKAGES", [place])
    assert [traced(), traced()] == [1, 0]
    os.utime(package / "late.py", ns=(0, 1))
    assert [traced(), traced()] == [1, 0]
    jax.config.update("jax_default_matmul_precision", "highest")
    try:
        assert traced() == 1
    finally:
        jax.config.update("jax_default_matmul_precision", None)
    for file in cache.iterdir():  # cut short, and not even as long as its header
        file.write_bytes(file.read_bytes()[:-1])
    assert [traced(), traced()] == [1, 0]
    for file in cache.iterdir():
        file.write_bytes(b"")
    assert [traced(), traced()] == [1, 0]


def test_without_a_cache_it_is_traced_each_time(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write_text("a file where the folder would be")
    for _ in range(2):
        step = Step()
        step.compile()
        assert step.traces == 1


def test_inference_keeps_the_trace_of_each_shape() -> None:
    traces = []

    def infer(variables: Any, images: Any) -> Any:
        traces.append(images.shape)
        return images.astype(jnp.float32) @ variables["kernel"]

    variables = {"kernel": jnp.ones([4, 3])}
    for _ in range(2):
        function = jit_inference(MESH, infer, cache_key="kernel")
        for count in (6, 2, 6):
            found = function(variables, BATCH[0][:count])
            np.testing.assert_array_equal(found, BATCH[0][:count] @ np.ones([4, 3]))
    assert traces == [(6, 4), (2, 4)]
