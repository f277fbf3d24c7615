"""Checkpoints: what was saved comes back to the bit, or a line says why not."""

import itertools
import math
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import struct
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from signjax.errors import InputError, RunError
from signjax.training.checkpoint import Checkpoints


@struct.dataclass
class State:
    step: jax.Array
    params: dict[str, Any]
    opt_state: optax.OptState
    extra: dict[str, jax.Array]


def make_state(step: int, *, size: int = 6) -> State:
    """A state whose every value follows from `step`, with the dtypes that occur."""
    generator = np.random.default_rng(step)
    params = {
        "Dense_0": {
            "kernel": jnp.asarray(generator.standard_normal((8, size), np.float32)),
            "bias": jnp.asarray(generator.standard_normal(8), jnp.bfloat16),
        }
    }
    # A masked transform and a chain leave empty nodes in the tree, as in training.
    optimizer = optax.chain(
        optax.add_decayed_weights(
            1e-4, mask={"Dense_0": {"kernel": True, "bias": False}}
        ),
        optax.adam(1e-3),
    )
    return State(
        step=jnp.int32(step),
        params=params,
        opt_state=optimizer.init(params),
        extra={
            "key": jax.random.key_data(jax.random.key(step)),
            "nan": jnp.float32(np.nan),
        },
    )


def abstract(state: Any, sharding: jax.sharding.Sharding | None = None) -> Any:
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(
            x.shape, x.dtype, sharding=sharding or x.sharding
        ),
        state,
    )


def assert_same(found: Any, expected: Any) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def fail(message: str) -> None:
    raise AssertionError(f"unexpected warning: {message}")


def opened(directory: Path, warn: Callable[[str], None] = fail) -> Checkpoints:
    return Checkpoints(directory / "checkpoints", warn=warn)


def save_all(directory: Path, accuracies: dict[int, float | None]) -> None:
    with opened(directory) as checkpoints:
        for step, accuracy in accuracies.items():
            metrics = None if accuracy is None else {"accuracy": accuracy}
            checkpoints.save(step, make_state(step), metrics)


def restored_steps(directory: Path) -> tuple[int, int]:
    """Steps of the latest and of the best, with their content checked."""
    found = []
    with opened(directory) as checkpoints:
        for restore in checkpoints.restore, checkpoints.restore_best:
            restored = restore(abstract(make_state(0)))
            assert restored is not None
            assert_same(restored[0], make_state(restored[1]))
            found.append(restored[1])
    return found[0], found[1]


def test_round_trip_is_bit_equal(tmp_path: Path) -> None:
    state = make_state(3)
    with opened(tmp_path) as checkpoints:
        checkpoints.save(3, state)
        restored = checkpoints.restore(abstract(state))
    assert restored is not None
    assert_same(restored[0], state)
    assert restored[1] == 3


def test_nothing_is_created_before_the_first_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Checkpoints(Path("run/checkpoints"), warn=fail) as checkpoints:
        assert checkpoints.steps() == []
        assert checkpoints.restore(abstract(make_state(0))) is None
        assert checkpoints.restore_best(abstract(make_state(0))) is None
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
        restored = checkpoints.restore(abstract(later))
    assert restored is not None
    assert_same(restored[0], expected)


def test_keeps_the_latest_two_and_the_best(tmp_path: Path) -> None:
    save_all(tmp_path, {1: 0.5, 2: 0.9, 3: None, 4: math.nan, 5: 0.6})
    with opened(tmp_path) as checkpoints:
        assert checkpoints.steps() == [5, 4, 2]
    assert len(list((tmp_path / "checkpoints").iterdir())) == 3
    assert restored_steps(tmp_path) == (5, 2)


def test_of_equally_good_ones_the_later_is_best_across_restarts(tmp_path: Path) -> None:
    save_all(tmp_path, {1: 0.7, 2: 0.7, 3: 0.1})
    save_all(tmp_path, {4: 0.2, 5: 0.3})
    assert restored_steps(tmp_path) == (5, 2)


def test_without_accuracies_the_latest_is_best(tmp_path: Path) -> None:
    save_all(tmp_path, {1: None, 2: None})
    assert restored_steps(tmp_path) == (2, 2)


def test_a_step_saved_again_is_replaced(tmp_path: Path) -> None:
    save_all(tmp_path, {1: 0.9, 2: None})
    with opened(tmp_path) as checkpoints:
        for value in 1.0, 2.0, 3.0:
            checkpoints.save(2, {"w": jnp.float32(value)}, {"accuracy": 0.95})
        restored = checkpoints.restore_best(abstract({"w": jnp.float32(0)}))
        assert restored is not None
        assert (float(restored[0]["w"]), restored[1]) == (3.0, 2)
        assert checkpoints.steps() == [2, 1]
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def change_a_digit(file: Path) -> None:
    """Leaves a manifest that reads well, of another network."""
    file.write_text(file.read_text().replace("float32[8,6]", "float32[8,7]"))


def largest_file(checkpoint: Path) -> Path:
    return max((f for f in checkpoint.rglob("d/*")), key=lambda f: f.stat().st_size)


@pytest.mark.parametrize(
    ("harm", "which"),
    [
        *itertools.product([Path.unlink, truncate, flip_a_bit], ["data", "manifest"]),
        (change_a_digit, "manifest"),
    ],
)
def test_a_damaged_newest_is_named_passed_over_and_replaced(
    tmp_path: Path, harm: Callable[[Path], None], which: str
) -> None:
    save_all(tmp_path, {1: 0.5, 2: 0.9})
    newest = tmp_path / "checkpoints/00000002"
    harm(largest_file(newest) if which == "data" else newest / "manifest.json")
    warnings: list[str] = []
    with opened(tmp_path, warnings.append) as checkpoints:
        restored = checkpoints.restore(abstract(make_state(0)))
        assert restored is not None
        assert_same(restored[0], make_state(1))
        assert restored[1] == 1
        [warning] = warnings
        assert str(newest) in warning
        assert "damaged" in warning
        assert "\n" not in warning
        assert newest.exists()
        checkpoints.save(2, make_state(2), {"accuracy": 0.9})
    assert restored_steps(tmp_path) == (2, 2)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


def test_a_damaged_one_is_not_kept_in_place_of_an_intact_one(tmp_path: Path) -> None:
    save_all(tmp_path, {1: None, 2: None})
    truncate(largest_file(tmp_path / "checkpoints/00000002"))
    with opened(tmp_path, lambda _: None) as checkpoints:
        checkpoints.restore(abstract(make_state(0)))
        checkpoints.save(3, make_state(3))
        checkpoints.wait()
        assert checkpoints.steps() == [3, 1]


def test_a_damaged_best_gives_way_to_the_next_best(tmp_path: Path) -> None:
    save_all(tmp_path, {1: 0.9, 2: 0.8, 3: 0.1})
    truncate(largest_file(tmp_path / "checkpoints/00000001"))
    warnings: list[str] = []
    with opened(tmp_path, warnings.append) as checkpoints:
        restored = checkpoints.restore_best(abstract(make_state(0)))
    assert restored is not None
    assert restored[1] == 2
    assert len(warnings) == 1


def test_all_damaged_is_an_error_and_leaves_them_in_place(tmp_path: Path) -> None:
    save_all(tmp_path, {1: None, 2: None})
    for step in 1, 2:
        truncate(largest_file(tmp_path / f"checkpoints/0000000{step}"))
    with opened(tmp_path, lambda _: None) as checkpoints:
        with pytest.raises(InputError, match="damaged .00000002, 00000001."):
            checkpoints.restore(abstract(make_state(0)))
        assert checkpoints.steps() == [2, 1]


def test_a_removal_cut_short_leaves_no_checkpoint_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove_one_file(path: Path) -> None:
        largest_file(path).unlink()
        raise OSError("stopped here")

    save_all(tmp_path, {1: None, 2: None})
    with opened(tmp_path) as checkpoints:
        with monkeypatch.context() as patch:
            patch.setattr("shutil.rmtree", remove_one_file)
            checkpoints.save(3, make_state(3))
            with pytest.raises(RunError, match="stopped here"):
                checkpoints.wait()
        assert checkpoints.steps() == [3, 2]
        checkpoints.save(4, make_state(4))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "00000003",
        "00000004",
    ]


def test_a_save_cut_short_is_no_checkpoint(tmp_path: Path) -> None:
    save_all(tmp_path, {1: None})
    leftover = tmp_path / "checkpoints/00000009.tmp/state.orbax-checkpoint-tmp"
    leftover.mkdir(parents=True)
    with opened(tmp_path) as checkpoints:
        assert checkpoints.steps() == [1]
        assert leftover.exists(), (
            "another process may be writing: reading removes nothing"
        )
        checkpoints.save(2, make_state(2))
        checkpoints.wait()
        assert not leftover.parent.exists()
    assert restored_steps(tmp_path) == (2, 2)


def test_all_is_on_disk_before_it_has_its_name_and_before_others_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a power cut only the order of calls can be seen: flush, rename, flush, go."""
    directory = tmp_path / "checkpoints"
    save_all(tmp_path, {1: None, 2: None})
    events: list[tuple[str, int]] = []

    def note(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(path: Any, *arguments: Any) -> Any:
            events.append((name, os.stat(path).st_ino))
            return call(path, *arguments)

        return noted

    monkeypatch.setattr(os, "fsync", note("flush", os.fsync))
    monkeypatch.setattr(Path, "rename", note("rename", Path.rename))
    monkeypatch.setattr("shutil.rmtree", note("remove", shutil.rmtree))
    save_all(tmp_path, {3: None})
    newest = directory / "00000003"
    kinds = [kind for kind, _ in events]
    named = events.index(("rename", newest.stat().st_ino))
    before = {inode for kind, inode in events[:named] if kind == "flush"}
    assert {path.stat().st_ino for path in [newest, *newest.rglob("*")]} <= before
    after = events[named + 1 : kinds.index("remove")]
    for above in directory, tmp_path:
        assert ("flush", above.stat().st_ino) in after


def test_other_leaves_are_all_listed_in_one_line(tmp_path: Path) -> None:
    with opened(tmp_path) as checkpoints:
        saved = {
            "a": jnp.zeros(3),
            "b": [jnp.zeros(2), jnp.int32(1)],
            "old": jnp.zeros(()),
        }
        checkpoints.save(1, saved)
        other = {
            "a": jnp.zeros(4),
            "b": [jnp.zeros(2), jnp.float32(1)],
            "new": jnp.zeros(5),
        }
        with pytest.raises(InputError) as caught:
            checkpoints.restore(abstract(other))
    message = str(caught.value)
    assert "00000001" in message
    assert "missing: new float32[5];" in message
    assert "unexpected: old float32[];" in message
    assert "a float32[3] instead of float32[4]" in message
    assert "b/1 int32[] instead of float32[]" in message
    assert "b/0" not in message
    assert "\n" not in message


def test_a_save_that_cannot_begin_says_so(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("not a directory")
    with opened(tmp_path) as checkpoints:
        with pytest.raises(RunError, match="could not save the checkpoint"):
            checkpoints.save(1, make_state(1))


def test_a_save_that_fails_in_the_background_says_so(tmp_path: Path) -> None:
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
        assert checkpoints.steps() == [1]
    assert restored_steps(tmp_path) == (1, 1)


def start(script: str, *arguments: str, devices: int) -> subprocess.Popen[str]:
    tests = Path(__file__).parent
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(devices),
        "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)]),
    }
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


RESTORE_AND_SAVE_AGAIN = """
import sys
from pathlib import Path
import jax
from absl import logging
from test_checkpoint import abstract, assert_same, make_state, opened

logging.use_absl_handler()
logging.set_verbosity(logging.INFO)
assert jax.device_count() == 1
with opened(Path(sys.argv[1])) as checkpoints:
    state, step = checkpoints.restore(abstract(make_state(0)))
    assert_same(state, make_state(1))
    checkpoints.save(step + 1, make_state(step + 1))
"""


def test_restores_on_another_device_count(tmp_path: Path) -> None:
    devices = jax.devices()
    assert len(devices) == 8
    mesh = Mesh(devices, "data")
    replicated = NamedSharding(mesh, PartitionSpec())
    state = jax.device_put(make_state(1), replicated)
    # One leaf in eight parts, to see that parts are put together again.
    state.params["Dense_0"]["kernel"] = jax.device_put(
        state.params["Dense_0"]["kernel"], NamedSharding(mesh, PartitionSpec("data"))
    )
    with opened(tmp_path) as checkpoints:
        checkpoints.save(1, state)
        checkpoints.wait()
        # With absl's INFO level on, as absl.app sets it, to see that Orbax is quiet.
        child = start(RESTORE_AND_SAVE_AGAIN, str(tmp_path), devices=1)
        _, errors = child.communicate(timeout=60)
        assert child.returncode == 0, errors
        assert errors == "", "nothing is logged below a warning"
        restored = checkpoints.restore(abstract(make_state(0), replicated))
    assert restored is not None
    assert_same(restored[0], make_state(2))
    for leaf in jax.tree.leaves(restored[0]):
        assert leaf.sharding == replicated


SAVE_UNTIL_KILLED = """
import sys
from pathlib import Path
from test_checkpoint import abstract, assert_same, make_state, opened

size = 50_000
with opened(Path(sys.argv[1])) as checkpoints:
    restored = checkpoints.restore(abstract(make_state(0, size=size)))
    step = 0
    if restored is not None:
        state, step = restored
        assert_same(state, make_state(step, size=size))
    while True:
        step += 1
        checkpoints.save(step, make_state(step, size=size), {"accuracy": step % 7})
        print(step, flush=True)
"""


def test_sigkill_at_any_moment_leaves_complete_checkpoints(tmp_path: Path) -> None:
    directory = tmp_path / "checkpoints"
    expected = abstract(make_state(0, size=50_000))
    moments = random.Random(0)
    cut_short = reached = 0
    for _ in range(3):
        child = start(SAVE_UNTIL_KILLED, str(tmp_path), devices=1)
        assert child.stdout is not None
        first = child.stdout.readline()
        assert first, child.communicate()[1]
        assert int(first) > reached, "resumed from the latest complete checkpoint"
        child.stdout.readline()  # the second save began, so the first is complete
        time.sleep(moments.uniform(0.1, 0.6))
        child.kill()
        errors = child.communicate()[1]
        assert child.returncode == -signal.SIGKILL, errors
        names = [path.name for path in directory.iterdir()]
        cut_short += any(name.endswith(".tmp") for name in names)
        # Latest two, best, the one just completed, and one begun or being removed.
        assert len(names) <= 5
        with opened(tmp_path) as checkpoints:
            for restore in checkpoints.restore, checkpoints.restore_best:
                restored = restore(expected)
                assert restored is not None
                assert_same(restored[0], make_state(restored[1], size=50_000))
            reached = checkpoints.steps()[0]
    assert cut_short, "no kill fell inside a save"
