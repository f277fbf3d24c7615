"""What a workdir holds, and how a trained model is taken out of it again.

run.json: config, class names, data (source, origin, sha256, sizes), versions.
trained_on.json: what the training images are known again by. lock: empty; the process
that trains here holds it. The rest is told in docs/reference/workdir.md.
"""

import errno
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

import jax
from filelock import FileLock, Timeout

import signjax
from signjax.config import KEYS, Config, check, field, from_stored
from signjax.data.dataset import Splits
from signjax.data.duplicates import image_keys
from signjax.data.stream import Images, in_parts
from signjax.errors import InputError
from signjax.experiment import Experiment, make_experiment
from signjax.runtime.bucket import SCHEME, BucketPath
from signjax.runtime.checkpoint import Checkpoints
from signjax.runtime.console import Console
from signjax.runtime.distributed import (
    device_put_global,
    is_primary,
    replicated,
    require_same,
    single_process,
    sync_errors,
)
from signjax.runtime.files import MetricsFile, read_json, write_json
from signjax.runtime.kept import kept
from signjax.runtime.lease import LAPSE, in_use, lease
from signjax.runtime.packed import FILE as PACKED
from signjax.runtime.packed import read_packed
from signjax.state import Metrics, TrainState

# The recogniser in the box: a workdir whose one state is packed into a small file.
RECOGNISER = Path(__file__).parent / "recogniser"

# Of the config, beside what is under `run`.
NEUTRAL_KEYS = ("name", "data.dir", "data.source", "data.stream")
_TRAINED_ON = "trained_on.json"
_EPOCHS = "config.train.epochs"
_SHA256 = "data's sha256"
VERSIONS_OF = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


@dataclass(frozen=True)
class Run:
    """The contents of run.json. train_size: images trained on.

    image_keys: as `Splits.fingerprint`; those of a run that is read are in
    trained_on.json.
    """

    config: Config
    classes: tuple[str, ...]
    data: dict[str, Any]
    train_size: int
    image_keys: Mapping[str, Sequence[str]] = dataclass_field(default_factory=dict)

    @property
    def blank_head(self) -> bool:
        """Whether the weights were ported without a classifier and not trained."""
        return bool(self.data.get("blank_head"))

    def make_experiment(self, devices: list[jax.Device]) -> Experiment:
        """The experiment that this is the run of, on `devices`."""
        return make_experiment(self.config, len(self.classes), self.train_size, devices)


def describe(config: Config, splits: Splits, train_size: int) -> Run:
    """The record of a run that trains on train_size images of `splits`."""
    sha256, keys = splits.fingerprint()
    data = {
        "source": splits.source,
        "origin": splits.origin,
        "sha256": sha256,
        "train_count": len(splits.train.labels),
        "test_count": len(splits.test.labels),
    }
    return Run(config, splits.train.classes, data, train_size, keys)


@contextmanager
def create_or_resume(
    workdir: Path, run: Run, console: Console
) -> Iterator[Checkpoints]:
    """Opens the workdir of `run`, new or interrupted; gives its checkpoints.

    Of several processes the primary alone writes and locks. Raises InputError on all of
    them where another run or another process has it.
    """
    if isinstance(workdir, BucketPath) and run.config.run.tensorboard:
        raise InputError(
            f"config.run.tensorboard is True, but {workdir} is in a bucket, where no "
            "event files are written: leave it out; metrics.jsonl holds the same"
        )
    with ExitStack() as stack:
        waiting = f"opening --workdir; a killed process leaves it after {LAPSE:.0f} s"
        with sync_errors(), console.if_slow(waiting):
            if is_primary():
                stack.enter_context(lock(workdir))
                if replaced := record_run(workdir, run):
                    console.info(replaced)
        directory = workdir / "checkpoints"
        checkpoints = stack.enter_context(Checkpoints(directory, warn=console.warning))
        require_same("checkpoints in --workdir", checkpoints.steps())
        yield checkpoints


@contextmanager
def lock(workdir: Path) -> Iterator[None]:
    """Makes the directory and keeps it for this process while the block runs.

    Two processes that train in one place would remove each other's checkpoints. The
    lock goes with the process, however it ends; on a file system that has no locks
    nothing is kept. Raises InputError where another process holds it.
    """
    if isinstance(workdir, BucketPath):
        with lease(workdir / "lock"):
            yield
        return
    # Not filelock's substitute for missing locks, a file that would outlive a kill.
    held = FileLock(workdir / "lock", blocking=False, fallback_to_soft=False)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        held.acquire()
    except Timeout as error:
        raise in_use(workdir) from error
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise InputError(
                f"--workdir {workdir} cannot be written: {error.strerror}; expected a "
                "directory, new or of this run"
            ) from error
    try:
        yield
    finally:
        held.release()


def record_run(workdir: Path, run: Run) -> str:
    """Writes run.json, or checks that the one there is of the same run.

    A run may go on for more epochs. Another run that has saved nothing, not even one
    epoch's metrics, is replaced. The line returned says so, and is empty else. Raises
    InputError with the keys that differ, if any of them changes results.
    """
    path = workdir / "run.json"
    if not path.exists():
        _write(path, run)
        return ""
    before, now = _result_keys(read(workdir)), _result_keys(run)
    different = [key for key in now if now[key] != before[key]]
    told = {k: f"{k} was {before[k]!r} and is now {now[k]!r}" for k in different}
    if _SHA256 in told:
        told[_SHA256] = f"the data changed: {describe_change(workdir, run.image_keys)}"
    changed = "; ".join(told.values())
    longer = different == [_EPOCHS] and now[_EPOCHS] > before[_EPOCHS]
    if not changed or longer:
        # Where the data are now and how they are used is what evaluate goes by.
        write_json(path, read_json(path) | {"config": _stored_config(run.config)})
        schedule = "the learning rate follows the longer schedule from here on"
        return f"{workdir} goes on: {changed}; {schedule}" if longer else ""
    if has_results(workdir):
        raise InputError(
            f"{workdir} holds another run: {changed}. Give the old values to go on "
            "with it, or another --workdir to begin anew"
        )
    _write(path, run)
    return (
        f"{workdir} held another run, stopped before it saved anything, which this one "
        f"replaces: {changed}"
    )


def count_trained_on(workdir: Path, images: Images) -> int | None:
    """How many images, uint8 [N, H, W, 3], equal one that was trained on.

    None where the workdir does not say: that of ported weights, or of an old run.
    """
    known = _read_image_keys(workdir).get("train")
    keys = (key for part in in_parts(images) for key in image_keys(part))
    return None if known is None else sum(key in known for key in keys)


def _read_image_keys(workdir: Path) -> dict[str, Counter[str]]:
    path = workdir / _TRAINED_ON
    try:
        keys = read_json(path) if path.exists() else {}
        return {part: Counter(keys) for part, keys in keys.items()}
    except (AttributeError, TypeError) as error:
        raise InputError(f"{path} is not what training writes: delete it") from error


def describe_change(workdir: Path, image_keys: Mapping[str, Sequence[str]]) -> str:
    """How other images, known by these keys, differ from those of the run here."""
    before = sum(_read_image_keys(workdir).values(), Counter())
    now = sum(map(Counter, image_keys.values()), Counter())
    added, removed = (now - before).total(), (before - now).total()
    if not before or not (added or removed):
        return "they have other labels, classes, splits or order"
    return f"{added} images were added and {removed} removed"


def _write(path: Path, run: Run) -> None:
    if run.image_keys:
        keys = {part: sorted(keys) for part, keys in run.image_keys.items()}
        write_json(path.parent / _TRAINED_ON, keys)
    record = {
        "config": _stored_config(run.config),
        "classes": run.classes,
        "data": run.data,
        "train_size": run.train_size,
        "versions": versions(),
    }
    write_json(path, record)


def _stored_config(config: Config) -> dict[str, Any]:
    """The keys as run.json has them: the data are found from any directory."""
    stored = config.to_dict()
    directory = stored["data"]["dir"]
    if directory and not directory.startswith(SCHEME):
        stored["data"]["dir"] = os.path.abspath(os.path.expanduser(directory))
    return stored


def has_results(workdir: Path) -> bool:
    """Whether anything is there that took training: more than run.json and a lock."""
    saved = Checkpoints(workdir / "checkpoints", warn=lambda _: None).steps()
    records = MetricsFile(workdir / "metrics.jsonl").read()
    return bool(saved or records) or (workdir / "result.json").exists()


def _result_keys(run: Run) -> dict[str, Any]:
    """Name -> value of all that decides a run's result."""
    config = {
        f"config.{name}": field(run.config, name)
        for name in KEYS
        if name not in NEUTRAL_KEYS and not name.startswith("run.")
    }
    return config | {
        "data's source": run.data["source"],
        _SHA256: run.data["sha256"],
        "classes": run.classes,
    }


def read(workdir: Path) -> Run:
    """The run in a workdir; InputError where there is none."""
    path = workdir / "run.json"
    if not path.exists():
        raise InputError(
            f"--workdir {workdir} holds no run (no run.json): train one there first, "
            "or give the workdir of a trained model"
        )
    stored = read_json(path)
    try:
        if missing := {"source", "origin", "sha256"} - stored["data"].keys():
            raise KeyError(*sorted(missing))
        return Run(
            config=from_stored(stored["config"], str(path)),
            classes=tuple(stored["classes"]),
            data=stored["data"],
            train_size=stored["train_size"],
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is not what training writes ({error!r}): restore it, or train "
            "again in another --workdir"
        ) from error


def versions() -> dict[str, str]:
    """Package name -> installed version, of those that decide a result."""
    packages = {name: version(name) for name in VERSIONS_OF}
    return {"signjax": signjax.__version__, "python": python_version(), **packages}


@dataclass(frozen=True)
class TrainedModel:
    """A model with the state of a checkpoint, and what its outputs mean."""

    run: Run
    experiment: Experiment
    state: TrainState

    @property
    def step(self) -> int:
        return int(self.state.step)

    def localized(self) -> "TrainedModel":
        """The same, to be used by this process without the others."""
        if single_process():
            return self
        experiment = self.run.make_experiment(jax.local_devices())
        return replace(self, experiment=experiment, state=jax.device_get(self.state))


def load_trained(
    workdir: Path,
    *,
    devices: list[jax.Device],
    warn: Callable[[str], None],
    best: bool = False,
) -> TrainedModel:
    """The model of a workdir's latest checkpoint, or of its best.

    `RECOGNISER` as a workdir gives the recogniser that comes with the package.
    """
    run = read(workdir)
    check(run.config)
    experiment = run.make_experiment(devices)
    if not isinstance(workdir, BucketPath) and (workdir / PACKED).exists():
        if best:
            raise InputError(f"--best: {workdir} has one state alone: leave it out")
        return TrainedModel(run, experiment, _unpack(workdir / PACKED, experiment))
    with Checkpoints(workdir / "checkpoints", warn=warn) as checkpoints:
        state = checkpoints.restore(experiment.abstract_state(), best=best)
    if state is None:
        raise InputError(
            f"{workdir} holds no finished checkpoint yet: train it with "
            f"--config=... --workdir={workdir}"
        )
    return TrainedModel(run=run, experiment=experiment, state=state)


def _unpack(path: Path, experiment: Experiment) -> TrainState:
    """The packed state, to be asked and not to be trained: without an optimizer's."""
    variables, step = read_packed(path)

    def make() -> bytearray:  # takes longer than all else before an answer
        return _shapes(experiment.abstract_state().variables)

    if _shapes(variables) != kept("shapes", experiment.cache_key, make):
        raise InputError(f"{path} is not of the network that its run.json describes")
    state = TrainState(
        jax.numpy.int32(step), **variables, opt_state=(), metrics=Metrics.zero()
    )
    return device_put_global(state, replicated(experiment.mesh))


def _shapes(variables: Any) -> bytearray:
    shapes = jax.tree.map(lambda leaf: [*leaf.shape], variables)
    return bytearray(json.dumps(shapes, sort_keys=True).encode())
