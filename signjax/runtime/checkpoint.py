"""Checkpoints of a run on disk: the newest few and the best, each verified when read.

A checkpoint is a folder named after its step, holding the arrays as Orbax writes them
(its v1 API, used here only) and a manifest::

    00000120/
      manifest.json    metrics, every leaf's dtype and shape, every file's CRC-32
      state/           Orbax

It is written under another name and published (`files.publish`) once it is whole, so a
folder with a checkpoint's name is complete, however the process or the machine ended.
In a bucket, where nothing is renamed, the manifest comes last and goes first, and what
has none is no checkpoint.
The CRCs are there because Orbax reads a flipped bit back without complaint; why its own
Checkpointer does not serve is told in docs/lab-notebook.md.

One process writes; others may read meanwhile. Of several that train together all call
`save`, `wait` and `restore`, on a file system that all of them see.
"""

import errno
import json
import math
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax

from signjax.errors import InputError, RunError, SignjaxError, leaf_differences
from signjax.runtime.bucket import BucketPath, remove
from signjax.runtime.distributed import is_primary, sync_errors
from signjax.runtime.files import UNFINISHED, beside, on_disk, publish, unpublish

PyTree = Any

_MANIFEST = "manifest.json"
_STATE = "state"
# What reading a file that is not as it was written raises.
_DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError)
_NEWEST = 2  # so many are kept, should the last one be damaged
# A step saved a second time is written beside the first, as STEP.1, and only then is
# the first removed: there is no moment without a checkpoint of that step.
_NAME = re.compile(r"(\d{8,})(?:\.(\d+))?")


class Checkpoints(AbstractContextManager["Checkpoints"]):
    """The checkpoints in one folder, saved in the background.

    Kept are the two newest steps and the one with the highest finite
    `metrics["accuracy"]` (of equals the later). One more exists while it is written.
    """

    def __init__(self, directory: Path, *, warn: Callable[[str], None]) -> None:
        """Touches nothing on disk. warn: takes a line on each damaged checkpoint.

        Raises InputError where Orbax would write what nobody can read.
        """
        self._directory = directory.resolve()
        if "[" in str(self._directory):  # it takes the path for a pattern
            raise InputError(
                f"{directory}: checkpoints cannot be kept at a path with [ in it; "
                "give another"
            )
        # What goes into a bucket is made on each process's own disk.
        self._shared = not isinstance(self._directory, BucketPath)
        self._warn = warn
        self._damaged: set[Path] = set()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None  # the save under way

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """As `wait`, but alone: other processes may not be leaving."""
        pending, self._pending = self._pending, None
        with self._writer:
            if pending is not None:
                pending.result()

    def wait(self) -> None:
        """Returns when the last save is on disk; raises RunError if it failed."""
        pending, self._pending = self._pending, None
        if pending is not None:
            with sync_errors():
                pending.result()

    def save(
        self, step: int, state: PyTree, metrics: dict[str, float] | None = None
    ) -> None:
        """Starts to save `state`, a pytree of jax arrays, as the checkpoint of `step`.

        Waits for the save before it, copies `state` to the host and returns: its
        buffers may then be donated. All that concerns files happens in the background.
        Raises RunError if this save cannot begin or the one before it failed.
        """
        self.wait()
        before = [saved.round for saved in self._latest_first() if saved.step == step]
        name = f"{step:08d}.{before[0] + 1}" if before else f"{step:08d}"
        path = self._directory / name
        unfinished = beside(path) / (name + UNFINISHED)
        leaves = _describe_leaves(state)
        with sync_errors(), _save_errors(path):
            if is_primary():
                for leftover in unfinished.parent.glob(f"*{UNFINISHED}"):
                    shutil.rmtree(leftover)
                for folder in self._incomplete():
                    remove(folder)
                unfinished.mkdir(parents=True)
                _require_room(unfinished, state)
        with _save_errors(path), _orbax(self._shared) as ocp:
            written = ocp.save_async(unfinished / _STATE, state)

        def finish() -> None:
            # Orbax reports a full disk as ValueError or OSError, by the file written.
            with _save_errors(path):
                written.result()
                if is_primary():
                    if isinstance(path, BucketPath):
                        _remove_empty_files(unfinished)
                    _write_manifest(unfinished, metrics or {}, leaves)
                    publish(unfinished, path)
                    self._remove_superseded()

        self._pending = self._writer.submit(finish)

    def steps(self) -> list[int]:
        """Steps that have a complete checkpoint, the latest first."""
        return list(dict.fromkeys(saved.step for saved in self._latest_first()))

    def restore(self, abstract_state: PyTree, *, best: bool = False) -> PyTree | None:
        """The state of the latest intact checkpoint, or None if there is none.

        abstract_state: the tree to fill, of jax.ShapeDtypeStruct with shardings. Their
            devices need not be those, nor as many as those, that saved.
        best: that of the highest accuracy instead, of equals the later; those without
            a finite accuracy come last.
        Raises InputError if every checkpoint is damaged, or if its leaves are others.
        """
        self.wait()
        for folder in self._incomplete():
            self._warn(
                f"{folder} is passed over: it has no {_MANIFEST}, as its save or "
                "removal is under way or was cut short"
            )
        candidates = self._latest_first()
        if best:
            candidates.sort(key=_accuracy, reverse=True)
        for _, _, path in candidates:
            with on_disk(path) as folder:
                try:
                    manifest = _read_manifest(folder)
                    for name, crc in manifest["files"].items():
                        if not (crc or self._shared):
                            continue  # empty, and not every copy into a bucket has it
                        _require_same_crc(name, _crc_of_file(folder / name), crc)
                except _DAMAGE as damage:
                    if path not in self._complete():  # another that trains removed it
                        return self.restore(abstract_state, best=best)
                    self._damaged.add(path)
                    self._warn(f"{path} is damaged and passed over: {damage}")
                    continue
                # Earlier versions wrote a space between the sides of a shape.
                leaves = {k: v.replace(" ", "") for k, v in manifest["leaves"].items()}
                different = leaf_differences(
                    leaves,
                    _describe_leaves(abstract_state),
                    mismatched="of another shape or dtype",
                )
                if different:
                    raise InputError(
                        f"{path}: saved from another model or optimizer: {different}; "
                        "use the config it was trained with, or another workdir"
                    )
                try:
                    with _orbax(self._shared) as ocp:
                        return ocp.load(folder / _STATE, abstract_state)
                except Exception:
                    if path in self._complete():
                        raise
                    return self.restore(abstract_state, best=best)
        if not candidates:
            return None
        names = ", ".join(saved.path.name for saved in candidates)
        raise InputError(
            f"{self._directory}: every checkpoint is damaged ({names}); "
            "put back a copy, or delete this directory to start anew"
        )

    def _latest_first(self) -> list["_Saved"]:
        named = ((_NAME.fullmatch(p.name), p) for p in self._complete())
        found = [_Saved(int(m[1]), int(m[2] or 0), path) for m, path in named if m]
        return sorted(found, reverse=True)

    def _complete(self) -> list[Path]:
        """The folders that are whole, checkpoints and others."""
        place = self._directory
        if isinstance(place, BucketPath):
            return [file.parent for file in place.files() if file.name == _MANIFEST]
        return [*place.iterdir()] if place.is_dir() else []

    def _incomplete(self) -> list[BucketPath]:
        """What saves and removals that were cut short have left in a bucket."""
        if not isinstance(place := self._directory, BucketPath):
            return []
        parts = (file.relative_to(place).parts[0] for file in place.files())
        return sorted({place / part for part in parts} - {*self._complete()})

    def _remove_superseded(self) -> None:
        everything = self._latest_first()
        newest_of_step: dict[int, _Saved] = {}
        for saved in everything:
            if saved.path not in self._damaged:
                newest_of_step.setdefault(saved.step, saved)
        current = list(newest_of_step.values())
        kept = {*current[:_NEWEST], max(current, key=_accuracy)}
        for saved in everything:
            if saved not in kept:
                unpublish(saved.path)


class _Saved(NamedTuple):
    step: int
    round: int  # how often this step had been saved before
    path: Path


def _accuracy(saved: _Saved) -> float:
    """What checkpoints are ranked by: -inf if unknown or not finite."""
    try:
        accuracy = _read_manifest(saved.path)["metrics"].get("accuracy", math.nan)
    except _DAMAGE:
        accuracy = math.nan
    return accuracy if math.isfinite(accuracy) else -math.inf


def _write_manifest(
    directory: Path, metrics: dict[str, float], leaves: dict[str, str]
) -> None:
    files = [path for path in directory.rglob("*") if path.is_file()]
    manifest: dict[str, Any] = {
        "metrics": {name: float(value) for name, value in metrics.items()},
        "leaves": leaves,
        "files": {f.relative_to(directory).as_posix(): _crc_of_file(f) for f in files},
    }
    manifest["crc"] = zlib.crc32(json.dumps(manifest).encode())
    (directory / _MANIFEST).write_text(json.dumps(manifest, indent=1))


def _read_manifest(directory: Path) -> dict[str, Any]:
    manifest = json.loads((directory / _MANIFEST).read_text())
    crc = manifest.pop("crc")
    _require_same_crc(_MANIFEST, zlib.crc32(json.dumps(manifest).encode()), crc)
    return manifest


def _remove_empty_files(directory: Path) -> None:
    """Orbax reads without them, and emulators of buckets do not take them."""
    for path in directory.rglob("*"):
        if path.is_file() and not path.stat().st_size:
            path.unlink()


def _require_same_crc(name: str, found: int, written: int) -> None:
    if found != written:
        raise ValueError(f"{name} is not what was written, its CRC-32 differs")


def _crc_of_file(file: Path) -> int:
    crc = 0
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc


def _describe_leaves(tree: PyTree) -> dict[str, str]:
    """Leaf path -> dtype and shape, such as {"params/head/bias": "float32[6]"}."""
    name = partial(jax.tree_util.keystr, simple=True, separator="/")
    leaves = jax.tree.leaves_with_path(tree)
    return {
        name(path): f"{leaf.dtype}{[*leaf.shape]}".replace(" ", "")
        for path, leaf in leaves
    }


def _require_room(directory: Path, state: PyTree) -> None:
    """Raises OSError where a checkpoint does not fit on the disk.

    Asked beforehand, as of Orbax's threads, which would all meet the full disk, some
    print a traceback whatever is done about it.
    """
    leaves = jax.tree.leaves(state)
    # What it writes beside the arrays, somewhat more than was seen.
    room = sum(leaf.nbytes for leaf in leaves) + 2_000 * len(leaves) + 2**17
    if shutil.disk_usage(directory).free < room:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def _save_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except SignjaxError:
        raise
    except Exception as error:
        # Of Orbax's, which name the same file three times, what the system said.
        text = (str(error) or repr(error)).splitlines()[0].rpartition(": ")[2]
        reason = (isinstance(error, OSError) and error.strerror) or text
        raise RunError(
            f"{path}: could not save the checkpoint ({reason}); "
            "check free space and permissions, then run the same command to resume"
        ) from error


@contextmanager
def _orbax(shared: bool) -> Iterator[Any]:
    """Orbax's v1 API, with this module's options; imported here as it takes 0.3 s.

    shared: whether all processes see the folder; else the first one's has it all.
    """
    from absl import logging
    from orbax.checkpoint import v1 as ocp

    # What fails is raised; Orbax's threads would print it, each with a traceback.
    logging.set_verbosity(logging.FATAL)
    options = ocp.Context()
    # Compression takes 8 percent off float32 weights, for twice the CPU time.
    options.array.saving.use_compression = False
    # Each device has all of the state, so the first writes it, not each a part.
    options.array.saving.use_replica_parallel = False
    if not shared:
        # Processes would wait for the folder that the first one makes for it.
        options.array.saving.array_metadata_store = None
    with options:
        yield ocp
