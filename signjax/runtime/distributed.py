"""Several processes that run as one program, on one machine or many.

Each runs the same command line, and jax.distributed joins them. An operation over all
devices ends only when every process takes part in it, so whatever one process alone
meets with, a refused workdir or a full disk, is told to the others before they go on.
With a single process nothing here communicates or costs anything.
"""

import hashlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, Sharding

from signjax.errors import (
    InputError,
    RunError,
    SignjaxError,
    memory_errors,
    printable,
)

# Seconds that a process which ends waits for the others to end too; then it ends them.
LAST_WAIT = 60


def single_process() -> bool:
    """Whether this process is the only one."""
    return jax.process_count() == 1


def is_primary() -> bool:
    """Whether this is process 0, which alone writes files and talks to people."""
    return jax.process_index() == 0


@contextmanager
def distributed_session(where: str) -> Iterator[None]:
    """Makes this process one of those that `where` names, before any use of a device.

    where: "" for a process alone; auto, for what the cluster's environment says;
    HOST:PORT,COUNT,INDEX for COUNT processes of which this is number INDEX, counted
    from 0, and number 0 listens at HOST:PORT. Raises InputError for other values and
    where auto finds no cluster, RunError where the processes do not find each other.
    """
    if not where:
        yield
        return
    address, count, index = (None, None, None) if where == "auto" else _parse(where)
    try:
        jax.distributed.initialize(
            address, count, index, shutdown_timeout_seconds=LAST_WAIT
        )
    except ValueError as error:
        raise InputError(
            f"--distributed={where}: no cluster found in the environment ({error}): "
            "give --distributed=HOST:PORT,COUNT,INDEX"
        ) from error
    except RuntimeError as error:
        line = str(error).splitlines()[0]
        raise RunError(
            f"--distributed={where}: the processes did not find each other ({line})"
        ) from error
    try:
        with memory_errors():
            yield
    except SignjaxError:
        raise  # all processes do: see `sync_errors`
    except Exception:
        # At exit JAX would wait for processes that wait for this one.
        traceback.print_exc()
        os._exit(1)


def _parse(where: str) -> tuple[str, int, int]:
    match = re.fullmatch(r"(\S+:(\d+)),(\d+),(\d+)", where)
    if match and int(match[2]) < 65536 and int(match[4]) < int(match[3]):
        return match[1], int(match[3]), int(match[4])
    raise InputError(
        f"--distributed={where}: expected auto, or HOST:PORT,COUNT,INDEX with INDEX "
        "from 0 to COUNT - 1, as --distributed=node0:8476,4,1"
    )


@contextmanager
def sync_errors() -> Iterator[None]:
    """Goes on past the block when all processes have; raises on all if one did.

    The block must not use what other processes take part in. Of an error in it, a
    SignjaxError, the others raise one with the same exit status.
    """
    if single_process():
        yield
        return
    failure: SignjaxError | None = None
    try:
        yield
    except SignjaxError as error:
        failure = error
    statuses = multihost_utils.process_allgather(
        np.int32(failure.exit_status if failure else 0)
    )
    if failure:
        raise failure
    for index, status in enumerate(statuses):
        if status:
            kind = InputError if status == InputError.exit_status else RunError
            raise kind(f"process {index} cannot go on; its own message says why")


@contextmanager
def own_errors() -> Iterator[None]:
    """Ends this process where a SignjaxError in the block is its own, and says why.

    For work whose errors cost too much to be told at each step: the others wait for
    what this process no longer takes part in, until JAX ends them.
    """
    try:
        yield
    except SignjaxError as error:
        if single_process():
            raise
        print(f"error: {printable(error)}", file=sys.stderr, flush=True)
        os._exit(error.exit_status)


def require_same(what: str, value: Any) -> None:
    """Raises InputError on all processes where `value` is not the same on each.

    what: how people call it. value: anything whose repr tells it from another.
    """
    if single_process():
        return
    digest = hashlib.sha256(repr(value).encode()).digest()
    digests = multihost_utils.process_allgather(np.frombuffer(digest, np.uint8))
    different = np.flatnonzero((digests != digests[0]).any(axis=1))
    if different.size:
        raise InputError(
            f"{what}: process {different[0]} has another than process 0; give all "
            "processes the same command line, data and file system"
        )


def device_put_global(tree: Any, sharding: Sharding) -> Any:
    """Arrays of the host, the same on every process, on the devices of `sharding`.

    jax.device_put, but for several processes: there it would have each device gather
    the arrays of all processes, to compare them.
    """
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)
    return jax.tree.map(
        lambda leaf: jax.make_array_from_callback(
            np.shape(leaf), sharding, np.asarray(leaf).__getitem__
        ),
        tree,
    )


def make_mesh(devices: list[jax.Device]) -> Mesh:
    """All devices along one axis, `data`."""
    return Mesh(np.array(devices), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """A copy on each device."""
    return NamedSharding(mesh, PartitionSpec())


def batched(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """This axis split over the devices."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, "data"))


def shard_batch(mesh: Mesh, batch: np.ndarray) -> np.ndarray | jax.Array:
    """A batch that every process holds whole, as a jitted step takes it.

    batch: [B, ...], B a multiple of the mesh's size. Of several processes each moves
    what its own devices need; one alone leaves it to jit, which is the faster way.
    """
    return device_put_global(batch, batched(mesh)) if mesh.is_multi_process else batch


def replicate(mesh: Mesh, array: np.ndarray) -> np.ndarray | jax.Array:
    """What every process holds whole, as a jitted step takes it on each device."""
    return (
        device_put_global(array, replicated(mesh)) if mesh.is_multi_process else array
    )


def own_rows(mesh: Mesh, size: int) -> np.ndarray:
    """Which rows of a batch of that size this process is to read: int [M], rising."""
    spans = batched(mesh).addressable_devices_indices_map((size,)).values()
    return np.unique([np.arange(size)[span] for span in spans])


def gather_rows(mesh: Mesh, rows: np.ndarray, size: int) -> np.ndarray | jax.Array:
    """A batch as a jitted step takes it whole, of which each process has `own_rows`."""
    if not mesh.is_multi_process:
        return rows
    shape = (size, *rows.shape[1:])
    split = jax.make_array_from_process_local_data(batched(mesh), rows, shape)
    return _on_each_device(mesh)(split)


@cache
def _on_each_device(mesh: Mesh) -> Callable[[jax.Array], jax.Array]:
    return jax.jit(lambda x: x, out_shardings=replicated(mesh))
