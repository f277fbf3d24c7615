"""Checkpoints of a run on disk: the newest few and the best, each verified when read.

A checkpoint is a directory named after its step, holding the arrays as Orbax writes
them (its v1 API, used here only) and a manifest::

    00000120/
      manifest.json    metrics, every leaf's dtype and shape, every file's CRC-32
      state/           Orbax

It is written under another name, flushed to the disk file by file, and renamed once it
is whole, so a directory with a checkpoint's name is complete, however the process or
the machine ended; the ones it replaces are removed only after that name is on the disk
too. When `wait` returns, the state outlives a power cut, as far as the disk keeps what
it reports as flushed, and so do the files beside the checkpoints that were flushed
before it (metrics.jsonl, run.json). The CRCs are there because
Orbax reads a flipped bit or a zeroed block of array data back without complaint.

One process writes a directory; others may read it meanwhile. Of several that train
together all call `save`, `wait` and the restores, on a file system that all of them
see, and the first writes.
"""

import json
import logging
import math
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Self

import jax

from signjax.errors import InputError, RunError
from signjax.runtime.distributed import is_primary, sync_errors

PyTree = Any

_MANIFEST = "manifest.json"
_STATE = "state"
_UNFINISHED = ".tmp"
_NEWEST = 2  # so many are kept, should the last one be damaged
# A step saved a second time is written beside the first, as STEP.1, and only then is
# the first removed: there is no moment without a checkpoint of that step.
_NAME = re.compile(r"(\d{8,})(?:\.(\d+))?")


class Checkpoints:
    """The checkpoints in one directory, saved in the background.

    Kept are the two newest steps and the one with the highest finite
    `metrics["accuracy"]` (of equals the later). One more exists while it is written.
    """

    def __init__(self, directory: Path, *, warn: Callable[[str], None]) -> None:
        """Touches nothing on disk: the first `save` creates `directory`.

        `warn` is called with one line for each damaged checkpoint that is passed over.
        """
        self._directory = directory.resolve()
        self._warn = warn
        self._damaged: set[Path] = set()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Waits for a save under way; raises RunError if it failed.

        Other processes are not told of it, as by `wait`: this one may be leaving alone.
        """
        pending, self._pending = self._pending, None
        try:
            if pending is not None:
                pending.result()
        finally:
            self._writer.shutdown()

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
        buffers may then be donated. Files, removal of checkpoints no longer kept, and
        replacement of an earlier checkpoint of the same step happen in the background.

        Raises RunError if this save cannot begin or the one before it failed.
        """
        self.wait()
        path = self._unused_path(step)
        unfinished = _unfinished(path)
        manifest = {
            "metrics": {key: float(value) for key, value in (metrics or {}).items()},
            "leaves": _describe_leaves(state),
        }
        try:
            with sync_errors():
                self._begin(path)
            with _orbax() as ocp:
                written = ocp.save_async(unfinished / _STATE, state)
        except OSError as error:
            raise _save_failed(path, error) from error

        def finish() -> None:
            # Orbax reports a full disk as ValueError or OSError, by the file written.
            try:
                written.result()
                if not is_primary():
                    return
                _write_manifest(unfinished, manifest)
                _flush_tree(unfinished)
                unfinished.rename(path)
                # The new name, and the names in the directory above, this one's too.
                _flush(self._directory)
                _flush(self._directory.parent)
                self._remove_superseded()
            except Exception as error:
                raise _save_failed(path, error) from error

        self._pending = self._writer.submit(finish)

    def steps(self) -> list[int]:
        """Steps that have a complete checkpoint, the latest first."""
        return list(dict.fromkeys(saved.step for saved in self._latest_first()))

    def restore(self, abstract_state: PyTree) -> PyTree | None:
        """The state of the latest intact checkpoint, or None if there is none.

        abstract_state: the tree to fill, of jax.ShapeDtypeStruct with shardings. Their
            devices need not be those, nor as many as those, that saved.

        Raises InputError if every checkpoint is damaged, or if the saved leaves are
        not those of `abstract_state`.
        """
        self.wait()
        return self._restore_first_intact(self._latest_first(), abstract_state)

    def restore_best(self, abstract_state: PyTree) -> PyTree | None:
        """As `restore`, for the highest accuracy, of equals the later.

        Checkpoints without a finite accuracy come after all that have one.
        """
        self.wait()
        best_first = sorted(self._latest_first(), key=_accuracy, reverse=True)
        return self._restore_first_intact(best_first, abstract_state)

    def _latest_first(self) -> list["_Saved"]:
        if not self._directory.is_dir():
            return []
        named = ((_NAME.fullmatch(p.name), p) for p in self._directory.iterdir())
        found = [_Saved(int(m[1]), int(m[2] or 0), path) for m, path in named if m]
        return sorted(found, reverse=True)

    def _unused_path(self, step: int) -> Path:
        rounds = [saved.round for saved in self._latest_first() if saved.step == step]
        name = f"{step:08d}"
        return self._directory / (f"{name}.{max(rounds) + 1}" if rounds else name)

    def _restore_first_intact(
        self, candidates: list["_Saved"], abstract_state: PyTree
    ) -> PyTree | None:
        if not candidates:
            return None
        for saved in candidates:
            try:
                manifest = _verified_manifest(saved.path)
            except _Damaged as damage:
                self._damaged.add(saved.path)
                self._warn(f"{saved.path} is damaged and passed over: {damage}")
            else:
                return _load(saved.path, manifest, abstract_state)
        names = ", ".join(saved.path.name for saved in candidates)
        raise InputError(
            f"{self._directory}: every checkpoint is damaged ({names}); "
            "put back a copy, or delete this directory to start anew"
        )

    def _begin(self, path: Path) -> None:
        """Removes what is unfinished and makes room for the checkpoint `path`."""
        if not is_primary():
            return
        try:
            for unfinished in self._directory.glob(f"*{_UNFINISHED}"):
                shutil.rmtree(unfinished)
            _unfinished(path).mkdir(parents=True)
        except OSError as error:
            raise _save_failed(path, error) from error

    def _remove_superseded(self) -> None:
        everything = self._latest_first()
        intact = [saved for saved in everything if saved.path not in self._damaged]
        newest_of_step: dict[int, _Saved] = {}
        for saved in intact:
            newest_of_step.setdefault(saved.step, saved)
        current = list(newest_of_step.values())
        kept = {*current[:_NEWEST], max(current, key=_accuracy)}
        for saved in everything:
            if saved not in kept:
                # Renamed first: a removal cut short must not look like a checkpoint.
                shutil.rmtree(saved.path.rename(_unfinished(saved.path)))


class _Saved(NamedTuple):
    """A complete checkpoint. round: how often this step had been saved before."""

    step: int
    round: int
    path: Path


class _Damaged(Exception):
    """A checkpoint's files are not those that were written; the message says how."""


def _unfinished(path: Path) -> Path:
    return path.with_name(path.name + _UNFINISHED)


def _accuracy(saved: _Saved) -> float:
    """What checkpoints are ranked by: -inf if unknown or not finite."""
    try:
        accuracy = _read_manifest(saved.path)["metrics"].get("accuracy", math.nan)
    except _Damaged:
        accuracy = math.nan
    return accuracy if math.isfinite(accuracy) else -math.inf


def _write_manifest(directory: Path, manifest: dict[str, Any]) -> None:
    files = {
        file.relative_to(directory).as_posix(): _crc_of_file(file)
        for file in sorted(directory.rglob("*"))
        if file.is_file()
    }
    whole = {**manifest, "files": files}
    text = json.dumps({"crc": _crc_of_json(whole), **whole}, indent=1)
    (directory / _MANIFEST).write_text(text)


def _flush_tree(directory: Path) -> None:
    """Returns when the files and directories in and below `directory` are on disk."""
    for path in directory.rglob("*"):
        _flush(path)
    _flush(directory)


def _flush(path: Path) -> None:
    if path.is_dir() and os.name != "posix":
        return  # Windows opens no directories
    file = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / _MANIFEST).read_text())
        crc = manifest.pop("crc")
    except OSError as error:
        raise _Damaged(f"{_MANIFEST}: {error.strerror}") from error
    except (ValueError, LookupError) as error:
        raise _Damaged(f"{_MANIFEST}: {error}") from error
    if crc != _crc_of_json(manifest):
        raise _Damaged(f"{_MANIFEST}: not what was written, its CRC-32 differs")
    return manifest


def _crc_of_json(value: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(value).encode())


def _verified_manifest(path: Path) -> dict[str, Any]:
    manifest = _read_manifest(path)
    for name, crc in manifest["files"].items():
        try:
            found = _crc_of_file(path / name)
        except OSError as error:
            raise _Damaged(f"{name}: {error.strerror}") from error
        if found != crc:
            raise _Damaged(f"{name}: not what was written, its CRC-32 differs")
    return manifest


def _crc_of_file(file: Path) -> int:
    crc = 0
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc


def _describe_leaves(tree: PyTree) -> dict[str, str]:
    """Leaf path -> dtype and shape, such as {"params/Dense_0/bias": "float32[6]"}."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): (
            f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
        )
        for path, leaf in jax.tree.leaves_with_path(tree)
    }


def _load(path: Path, manifest: dict[str, Any], abstract_state: PyTree) -> PyTree:
    _check_same_leaves(path, manifest["leaves"], _describe_leaves(abstract_state))
    with _orbax() as ocp:
        return ocp.load(path / _STATE, abstract_state)


def _check_same_leaves(
    path: Path, saved: dict[str, str], expected: dict[str, str]
) -> None:
    missing = [f"{key} {expected[key]}" for key in expected.keys() - saved.keys()]
    unexpected = [f"{key} {saved[key]}" for key in saved.keys() - expected.keys()]
    mismatched = [
        f"{key} {saved[key]} instead of {expected[key]}"
        for key in expected.keys() & saved.keys()
        if saved[key] != expected[key]
    ]
    problems = {
        "missing": missing,
        "unexpected": unexpected,
        "of another shape or dtype": mismatched,
    }
    listed = [
        f"{kind}: {', '.join(sorted(keys))}" for kind, keys in problems.items() if keys
    ]
    if listed:
        raise InputError(
            f"{path}: saved from another model or optimizer; {'; '.join(listed)}; "
            "use the config it was trained with, or another workdir"
        )


def _save_failed(path: Path, error: Exception) -> RunError:
    reason = (str(error) or repr(error)).splitlines()[0]
    return RunError(
        f"{path}: could not save the checkpoint ({reason}); "
        "check free space and permissions, then run the same command to resume"
    )


@contextmanager
def _orbax() -> Iterator[ModuleType]:
    """Orbax's v1 API, in a context with this module's options.

    Imported here because it takes 0.2 to 0.4 s (2 cores), which only a mode that
    reads or writes checkpoints should pay.
    """
    from orbax.checkpoint import v1 as ocp

    logging.getLogger("absl").addFilter(_is_no_orbax_chatter)
    options = ocp.Context()
    # Compression takes 8 percent off float32 weights, for twice the CPU time.
    options.array.saving.use_compression = False
    # Each device has all of the state, so the first writes it, not each a part.
    options.array.saving.use_replica_parallel = False
    with options:
        yield ocp


def _is_no_orbax_chatter(record: logging.LogRecord) -> bool:
    """Lets pass all but the dozens of INFO lines that Orbax logs for a save."""
    return record.levelno >= logging.WARNING or "orbax" not in record.pathname
