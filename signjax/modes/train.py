"""--mode=train: trains, evaluates and saves; run again, it resumes."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from signjax import build, processes, workdir
from signjax.config import Config
from signjax.data.dataset import Dataset, Splits
from signjax.data.stream import ImagesOnDisk, ReadAhead, require_grain
from signjax.errors import InputError
from signjax.modes.calibration import calibrate, describe
from signjax.modes.common import (
    describe_device,
    keep_compiled_programs,
    refuse_arguments,
    require_config,
    require_devices,
)
from signjax.modes.evaluate import report_own_test
from signjax.modes.options import Options
from signjax.modes.scoring import logits_of, score_images, score_logits
from signjax.reporting import plots
from signjax.reporting.logs import Console, MetricsFile, write_json
from signjax.reporting.tensorboard import TensorBoard
from signjax.training.checkpoint import Checkpoints
from signjax.training.loop import Loop, memory_advice
from signjax.training.state import TrainState
from signjax.training.step import replicated, share
from signjax.weights import open_weights


def run(options: Options) -> None:
    """Trains --config in its workdir to the end, or to where it is interrupted."""
    with processes.joined(options.distributed):
        _run(options)


@dataclass(frozen=True)
class Job:
    """What a run is made of, but for its state.

    train, validation: of the training split, what is learned from and what is held
    out. learned: train and the drawn hands. run: what run.json holds.
    """

    config: Config
    splits: Splits
    train: Dataset
    validation: Dataset | None
    learned: Dataset
    network: build.Network
    recipe: build.Recipe
    run: workdir.Run


def _run(options: Options) -> None:
    refuse_arguments(options)
    config = require_config(options)
    keep_compiled_programs()
    devices = require_devices(options)
    first = processes.is_first()
    console = Console(quiet=not first)
    directory = Path(options.workdir or build.default_workdir(config))
    with processes.together():
        job = _prepare(config, devices, console)
    sha256 = job.run.data["sha256"]
    processes.require_same("config and data", (config.to_dict(), sha256))
    recipe = job.recipe
    with (
        ExitStack() as stack,
        memory_advice(recipe.batch_size, job.network.image_size),
    ):
        with processes.together():
            if first:
                stack.enter_context(workdir.hold(directory))
                if replaced := workdir.begin(directory, job.run):
                    console.info(replaced)
        checkpoints = stack.enter_context(
            Checkpoints(directory / "checkpoints", warn=console.warning)
        )
        processes.require_same("checkpoints in --workdir", checkpoints.steps())
        state, first_step = _first_state(job, directory, checkpoints, console)
        metrics_file, tensorboard = None, None
        with processes.together():
            if first:
                metrics_file = MetricsFile(directory / "metrics.jsonl")
                metrics_file.truncate_after(first_step)
            if first and recipe.tensorboard:
                folder = directory / "tensorboard"
                tensorboard = TensorBoard(folder, first_step=first_step)
                stack.callback(tensorboard.close)
        if first_step == recipe.epochs * recipe.steps_per_epoch:
            console.info("this run is finished; evaluating it")
        else:
            train_step = _make_step(job, state, first_step, stack, console)
            loop = _make_loop(
                job, train_step, checkpoints, metrics_file, tensorboard, console
            )
            state = loop.run(state)
        with processes.together():
            if metrics_file:
                _conclude(console, directory, job, state, metrics_file.read())


def _prepare(config: Config, devices: list[jax.Device], console: Console) -> Job:
    """The data, the network and how it is trained, as the config has them."""
    splits = build.load_splits(config, console.warning)
    if isinstance(splits.train.images, ImagesOnDisk):
        _require_streaming()
    train, validation = build.hold_out_validation(config, splits.train)
    drawn = build.draw_extra(config, train.classes)
    learned = train if drawn is None else train.join(drawn)
    network = build.make_network(config, len(train.classes), devices)
    recipe = build.make_recipe(config, network, len(learned.labels))
    with console.if_slow("reading every image once, to tell the data by"):
        run = workdir.describe(config, splits, len(learned.labels))
    return Job(config, splits, train, validation, learned, network, recipe, run)


def _first_state(
    job: Job, directory: Path, checkpoints: Checkpoints, console: Console
) -> tuple[TrainState, int]:
    """The state to go on from and its step, of the last checkpoint if there is one."""
    abstract = build.abstract_state(job.config, job.network, job.recipe.optimizer)
    restored = checkpoints.restore(abstract)
    first_step = restored[1] if restored else 0
    # All that is known, before what takes time: weights, compilation, training.
    console.header(_header(job, directory, abstract, first_step))
    return restored or (_initial_state(job, console), 0)


def _make_step(
    job: Job, state: TrainState, first_step: int, stack: ExitStack, console: Console
) -> Callable[[TrainState, np.ndarray], Any]:
    """The compiled step on the job's images; `stack` closes what reads them."""
    network, recipe, learned = job.network, job.recipe, job.learned
    if not isinstance(learned.images, ImagesOnDisk):
        return _step_in_memory(network, recipe, learned, state, console)
    ahead = ReadAhead(
        learned.images, recipe.batches, epochs=recipe.epochs, first_step=first_step
    )
    stack.enter_context(closing(ahead))
    return _step_on_read(network, recipe, learned.labels, ahead, state, console)


def _make_loop(
    job: Job,
    train_step: Callable[[TrainState, np.ndarray], Any],
    checkpoints: Checkpoints,
    metrics_file: MetricsFile | None,
    tensorboard: TensorBoard | None,
    console: Console,
) -> Loop:
    recipe = job.recipe
    return Loop(
        train_step=train_step,
        batches=recipe.batches,
        finish=lambda state: recipe.finish(state, job.train.images),
        evaluate=_make_evaluate(job.network, job.splits.test, job.validation),
        best_metric=f"{'validation' if job.validation else 'test'}_accuracy",
        schedule=recipe.schedule,
        epochs=recipe.epochs,
        steps_per_epoch=recipe.steps_per_epoch,
        checkpoint_every_epochs=recipe.checkpoint_every_epochs,
        checkpoints=checkpoints,
        metrics_file=metrics_file,
        tensorboard=tensorboard,
        console=console,
        constants={"data": job.splits.source},
    )


def _on_own_devices(job: Job, state: TrainState) -> workdir.TrainedModel:
    """The trained model, to be used by this process without the others."""
    network = job.network
    if not processes.alone():
        classes = network.model.num_classes
        network = build.make_network(job.config, classes, jax.local_devices())
        state = jax.device_get(state)
    return workdir.TrainedModel(job.run, network, state, int(state.step))


def _initial_state(job: Job, console: Console) -> TrainState:
    """A new state, from pretrained weights if the config names some."""
    given, classes = job.recipe.weights, job.run.classes
    devices = job.network.mesh.devices.ravel().tolist()
    # First, as what is wrong with them is told before the compiler's wait.
    weights = (
        open_weights(given, devices=devices, warn=console.warning) if given else None
    )
    with console.if_slow("compiling the initial weights (kept for later runs)"):
        state = build.make_state(job.config, job.network, job.recipe)
    if weights is None:
        return state
    head = "theirs" if weights.ported.classes == classes else "new"
    console.info(f"weights from {given}; the classifier is {head}")
    return build.start_from(job.config, job.network, state, weights.ported, classes)


def _header(
    job: Job, directory: Path, state: TrainState, first_step: int
) -> dict[str, str]:
    """What is about to run; of `state` only the shapes are read."""
    splits, network, recipe = job.splits, job.network, job.recipe
    drawn = len(job.learned.labels) - len(job.train.labels)
    also = f"; {drawn} drawn hands to train on as well" if drawn else ""
    count = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    steps = f"{recipe.epochs} epochs of {recipe.steps_per_epoch} steps"
    if first_step:
        steps += f", resumed after step {first_step}"
    return {
        "workdir": str(directory),
        "device": describe_device(network.mesh.devices.ravel().tolist()),
        "data": f"{splits.source}: {splits.origin}; {len(splits.train.labels)} train, "
        f"{len(splits.test.labels)} test images, {len(splits.train.classes)} classes"
        f"{also}",
        "model": f"{network.name}, {network.dtype}",
        "parameters": f"{count:,} trainable",
        "steps": steps,
    }


def _require_streaming() -> None:
    """What reading images as they are needed asks for, before any is read."""
    if not processes.alone():
        raise InputError(
            "config.data.stream is True, which --distributed does not take, as each "
            "process would read all images: leave one of them out"
        )
    require_grain()


def _step_in_memory(
    network: build.Network,
    recipe: build.Recipe,
    train: Dataset,
    state: TrainState,
    console: Console,
) -> Callable[[TrainState, np.ndarray], Any]:
    """The train step on this data set, which moves to the devices once, here."""
    mesh = network.mesh
    data = processes.place((train.images, train.labels), replicated(mesh))
    step = _compile_step(network, recipe, state, data, console)
    return lambda state, indices: step(state, *data, share(mesh, indices), recipe.key)


def _step_on_read(
    network: build.Network,
    recipe: build.Recipe,
    labels: np.ndarray,
    ahead: ReadAhead,
    state: TrainState,
    console: Console,
) -> Callable[[TrainState, np.ndarray], Any]:
    """The same step on the batches of `ahead`, each a small data set, taken whole.

    `ahead` has them in the loop's order, so the loop's own indices are not needed.
    """
    size, side = recipe.batch_size, network.image_size
    blank = np.zeros((size, side, side, 3), np.uint8), np.zeros(size, np.int32)
    step = _compile_step(network, recipe, state, blank, console)
    places = np.arange(size, dtype=np.int32)

    def train_step(state: TrainState, _: np.ndarray) -> Any:
        indices, images = next(ahead)
        batch = np.where(indices < 0, -1, places)
        return step(state, images, labels[indices], batch, recipe.key)

    return train_step


def _compile_step(
    network: build.Network,
    recipe: build.Recipe,
    state: TrainState,
    data: tuple[Any, Any],
    console: Console,
) -> Any:
    """The train step on images and labels of such shapes.

    Compiled before the loop, so that the first epoch's rate is that of its steps and
    Ctrl-C, which has nothing to save yet, is obeyed at once.
    """
    with console.if_slow("compiling the train step (kept for later runs)"):
        jitted: Any = recipe.train_step
        batch = share(network.mesh, recipe.batches(0)[0])
        return jitted.lower(state, *data, batch, recipe.key).compile()


def _make_evaluate(
    network: build.Network, test: Dataset, validation: Dataset | None
) -> Callable[[TrainState], dict[str, float]]:
    """What an epoch's record says of held-out images: validation, else test."""
    name, split = ("validation", validation) if validation else ("test", test)

    def evaluate(state: TrainState) -> dict[str, float]:
        scores = score_images(network, state.variables, split)
        return {f"{name}_{key}": scores[key] for key in ("loss", "accuracy")}

    return evaluate


def _conclude(
    console: Console,
    directory: Path,
    job: Job,
    state: TrainState,
    records: list[dict[str, Any]],
) -> None:
    """Scores and calibrates the trained model and leaves all that tells of it."""
    trained = _on_own_devices(job, state)
    splits, validation = job.splits, job.validation
    network, variables = trained.network, trained.state.variables
    logits = logits_of(network, variables, splits.test.images)
    scores = {
        "train": score_images(network, variables, job.train),
        "test": score_logits(logits, splits.test),
    }
    _report(console, directory, trained, job.recipe, splits, scores, records)
    calibration = None
    if validation:
        calibration = calibrate(
            directory,
            network,
            variables,
            validation,
            step=trained.step,
            given_up=build.given_up(job.config),
        )
        console.info(f"calibration: {describe(calibration)}")
    report_own_test(console, directory, trained, splits, logits, calibration)


def _report(
    console: Console,
    directory: Path,
    trained: workdir.TrainedModel,
    recipe: build.Recipe,
    splits: Splits,
    scores: dict[str, dict[str, Any]],
    records: list[dict[str, Any]],
) -> None:
    """Prints the final scores and leaves result.json and the learning curves."""
    for name, split in scores.items():
        low, high = split["interval95"]
        console.info(
            f"{name:5} accuracy {split['accuracy']:.4f} (95% interval {low:.3f} to "
            f"{high:.3f}), loss {split['loss']:.4f}, {split['count']} "
            f"{splits.source} images"
        )
    if "leak_free" in scores["test"]:
        rest = scores["test"]["leak_free"]
        console.info(
            f"      accuracy {rest['accuracy']:.4f} on the {rest['count']} of them "
            "that are not in SIGNS' training set too"
        )
    write_json(
        directory / "result.json",
        {
            "config": trained.network.name,
            "seed": recipe.seed,
            "data": {"source": splits.source, "sha256": trained.run.data["sha256"]},
            "train_seconds": sum(record["seconds"] for record in records),
            "device": describe_device(jax.devices()),
            "versions": workdir.versions(),
            **scores,
        },
    )
    if not records:
        return  # metrics.jsonl was deleted
    if plots.available():
        path = directory / "learning_curves.png"
        plots.learning_curves(
            records, path, title=f"{trained.network.name} on {splits.source}"
        )
        console.info(f"learning curves: {path}")
    else:
        console.info(plots.HOW_TO_GET)
