"""States to save, and what tests of checkpoints do with them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from signjax.runtime.bucket import BucketPath
from signjax.runtime.checkpoint import Checkpoints
from tests.helpers.command_line import ROOT


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
        for best in False, True:
            restored = checkpoints.restore(abstract(make_state(0)), best=best)
            assert restored is not None
            step = int(restored.step)
            assert_same(restored, make_state(step))
            found.append(step)
    return found[0], found[1]


def files_of(place: Path, step: int) -> dict[str, Path]:
    """The manifest of a checkpoint, and the largest file of its data."""
    folder = place / "checkpoints" / f"{step:08}"
    every = folder.files() if isinstance(folder, BucketPath) else folder.rglob("d/*")
    data = [file for file in every if file.parent.name == "d"]
    largest = max(data, key=lambda file: len(file.read_bytes()))
    return {"manifest": folder / "manifest.json", "data": largest}


def names(place: Path) -> list[str]:
    """The folders of checkpoints, and what is left of others."""
    folder = place / "checkpoints"
    every = folder.files() if isinstance(folder, BucketPath) else folder.iterdir()
    return sorted({path.relative_to(folder).parts[0] for path in every})


def start(script: str, *arguments: str, devices: int) -> subprocess.Popen[str]:
    """`script` in a process of its own, which can import this module."""
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(devices),
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
