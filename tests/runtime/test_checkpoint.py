"""Checkpoints: what was saved comes back to the bit, or a line says why not."""

import math
import resource
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from signjax.errors import InputError, RunError
from signjax.runtime import checkpoint
from signjax.runtime.checkpoint import Checkpoints
from tests.helpers.checkpoints import (
    abstract,
    assert_same,
    fail,
    make_state,
    names,
    opened,
    restored_steps,
    save_all,
    start,
)


def test_nothing_is_created_before_the_first_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Checkpoints(Path("run/checkpoints"), warn=fail) as checkpoints:
        assert checkpoints.steps() == []
        for best in False, True:
            assert checkpoints.restore(abstract(make_state(0)), best=best) is None
        assert not Path("run").exists()
        checkpoints.save(1, make_state(1))
    assert Path("run/checkpoints/00000001").is_dir()


@pytest.mark.parametrize("spec", [PartitionSpec(), PartitionSpec("data")])
@pytest.mark.parametrize("device_count", [1, 8])
def test_state_may_be_donated_while_it_is_saved(
    tmp_path: Path, device_count: int, spec: PartitionSpec
) -> None:
    mesh = Mesh(jax.devices()[:device_count], "data")
    update = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
    state = {f"w{i}": jnp.full(400_000, float(i)) for i in range(4)}
    state = update(jax.device_put(state, NamedSharding(mesh, spec)))
    expected = jax.tree.map(np.array, state)
    with opened(tmp_path) as checkpoints:
        checkpoints.save(1, state)
        later = state
        for _ in range(5):
            later = update(later)
        jax.block_until_ready(later)
        assert_same(checkpoints.restore(abstract(later)), expected)


@pytest.mark.parametrize(
    ("accuracies", "kept", "best"),
    [
        ({1: 0.5, 2: 0.9, 3: None, 4: math.nan, 5: 0.6}, [5, 4, 2], 2),
        ({1: 0.7, 2: 0.7, 3: 0.1, 4: 0.2, 5: 0.3}, [5, 4, 2], 2),  # equal: the later
        ({1: None, 2: None, 3: None}, [3, 2], 3),
    ],
)
def test_keeps_the_latest_two_and_the_best_across_restarts(
    place: Path, accuracies: dict[int, float | None], kept: list[int], best: int
) -> None:
    for step, accuracy in accuracies.items():
        save_all(place, {step: accuracy})
    with opened(place) as checkpoints:
        assert checkpoints.steps() == kept
    assert names(place) == [f"{step:08}" for step in sorted(kept)]
    assert restored_steps(place) == (kept[0], best)


def test_a_step_saved_again_is_replaced(place: Path) -> None:
    save_all(place, {1: 0.9, 2: None})
    with opened(place) as checkpoints:
        for value in 1.0, 2.0, 3.0:
            checkpoints.save(2, {"w": jnp.float32(value)}, {"accuracy": 0.95})
        restored = checkpoints.restore(abstract({"w": jnp.float32(0)}), best=True)
        assert restored == {"w": 3.0}
        assert checkpoints.steps() == [2, 1]
    assert len(names(place)) == 2


def test_other_leaves_are_told_in_one_line(tmp_path: Path) -> None:
    other = {"a": jnp.zeros((3, 4)), "b": [jnp.zeros(2), jnp.float32(1)]}
    with opened(tmp_path) as checkpoints:
        checkpoints.save(1, {"a": jnp.zeros(3), "b": [jnp.zeros(2), jnp.int32(1)]})
        with pytest.raises(InputError) as caught:
            checkpoints.restore(abstract(other))
    message = str(caught.value)
    assert "00000001: saved from another model or optimizer: 2 of another " in message
    assert "a float32[3] instead of float32[3,4], b/1 int32[] instead of" in message
    assert "\n" not in message


@pytest.mark.parametrize("shape", ["4,4,3,8", "4, 4, 3, 8"])
def test_only_shapes_are_compared_not_how_they_were_written(
    shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"kernel": jnp.zeros((4, 4, 3, 8))}
    with opened(tmp_path) as checkpoints, monkeypatch.context() as earlier:
        written = {"kernel": f"float32[{shape}]"}
        earlier.setattr(checkpoint, "_describe_leaves", lambda tree: written)
        checkpoints.save(1, state)
    with opened(tmp_path) as checkpoints:
        assert_same(checkpoints.restore(abstract(state)), state)


def test_a_path_that_orbax_takes_for_a_pattern_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run.1./checkpoints: checkpoints cannot be k"):
        opened(tmp_path / "run[1]")


def test_a_save_that_cannot_begin_says_so(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("not a directory")
    with opened(tmp_path) as checkpoints:
        with pytest.raises(RunError, match="could not save the checkpoint"):
            checkpoints.save(1, make_state(1))


def test_a_save_that_finds_no_room_says_so_and_keeps_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_all(tmp_path, {1: None})
    usage = shutil.disk_usage(tmp_path)._replace(free=2**17)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with opened(tmp_path) as checkpoints:
        with pytest.raises(RunError, match="No space left on device.; check free"):
            checkpoints.save(2, make_state(2))
    assert restored_steps(tmp_path) == (1, 1)


def test_a_save_that_fails_in_the_background_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_all(tmp_path, {1: None})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(tmp_path) as checkpoints:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            checkpoints.save(2, {"w": jnp.zeros(100_000)})
            with pytest.raises(RunError, match="00000002: could not save") as caught:
                checkpoints.wait()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "\n" not in str(caught.value)
        assert caplog.records == [], "Orbax's tracebacks"
        assert checkpoints.steps() == [1]
    assert restored_steps(tmp_path) == (1, 1)


RESTORE_AND_SAVE_AGAIN = """
import sys
from pathlib import Path
import jax
from tests.helpers.checkpoints import abstract, assert_same, make_state, opened

assert jax.device_count() == 1
with opened(Path(sys.argv[1])) as checkpoints:
    state = checkpoints.restore(abstract(make_state(0)))
    assert_same(state, make_state(1))
    checkpoints.save(2, make_state(2))
"""


def test_restores_on_another_device_count(tmp_path: Path) -> None:
    mesh = Mesh(jax.devices(), "data")
    assert mesh.size == 8
    replicated = NamedSharding(mesh, PartitionSpec())
    state = jax.device_put(make_state(1), replicated)
    # One leaf in eight parts, to see that parts are put together again.
    state.params["Dense_0"]["kernel"] = jax.device_put(
        state.params["Dense_0"]["kernel"], NamedSharding(mesh, PartitionSpec("data"))
    )
    with opened(tmp_path) as checkpoints:
        checkpoints.save(1, state)
        checkpoints.wait()
        child = start(RESTORE_AND_SAVE_AGAIN, str(tmp_path), devices=1)
        _, errors = child.communicate(timeout=60)
        assert child.returncode == 0, errors
        assert errors == "", "nothing is logged below a warning"
        restored = checkpoints.restore(abstract(make_state(0), replicated))
    assert_same(restored, make_state(2))
    for leaf in jax.tree.leaves(restored):
        assert leaf.sharding == replicated
