"""--mode=train: trains, evaluates and saves; run again, it resumes."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import numpy as np

from signjax import build, workdir
from signjax.config import Config
from signjax.data.dataset import Dataset, Splits
from signjax.modes.common import (
    describe_device,
    keep_compiled_programs,
    refuse_arguments,
    require_config,
    require_devices,
    score_images,
)
from signjax.modes.options import Options
from signjax.reporting import plots
from signjax.reporting.logs import Console, MetricsFile, write_json
from signjax.reporting.tensorboard import TensorBoard
from signjax.training.checkpoint import Checkpoints
from signjax.training.loop import Loop, memory_advice
from signjax.training.state import TrainState
from signjax.training.step import replicated
from signjax.weights import open_weights


def run(options: Options) -> None:
    """Trains --config in its workdir to the end, or to where it is interrupted."""
    refuse_arguments(options)
    config = require_config(options)
    keep_compiled_programs()
    devices = require_devices(options)
    console = Console()
    directory = Path(options.workdir or build.default_workdir(config)).expanduser()

    splits = build.load_splits(config, console.warning)
    train, validation = build.hold_out_validation(config, splits.train)
    drawn = build.draw_extra(config, train.classes)
    everything = train if drawn is None else train.join(drawn)
    network = build.make_network(config, len(train.classes), devices)
    recipe = build.make_recipe(config, network, len(everything.labels))
    workdir.begin(directory, workdir.describe(config, splits, len(everything.labels)))

    with (
        Checkpoints(directory / "checkpoints", warn=console.warning) as checkpoints,
        memory_advice(recipe.batch_size, network.image_size),
        ExitStack() as stack,
    ):
        abstract = build.abstract_state(config, network, recipe.optimizer)
        restored = checkpoints.restore(abstract)
        if restored:
            state, _ = restored
        else:
            state = _initial_state(config, network, recipe, console)
        first_step = int(state.step)
        metrics_file = MetricsFile(directory / "metrics.jsonl")
        metrics_file.truncate_after(first_step)
        tensorboard = None
        if recipe.tensorboard:
            tensorboard = TensorBoard(directory / "tensorboard", first_step=first_step)
            stack.callback(tensorboard.close)
        console.header(_header(directory, splits, network, recipe, state))
        loop = Loop(
            train_step=_bind_data(network, recipe, everything),
            batches=recipe.batches,
            finish=lambda state: recipe.finish(state, train.images),
            evaluate=_make_evaluate(network, splits.test, validation),
            best_metric="validation_accuracy" if validation else "test_accuracy",
            schedule=recipe.schedule,
            epochs=recipe.epochs,
            steps_per_epoch=recipe.steps_per_epoch,
            batch_size=recipe.batch_size,
            checkpoint_every_epochs=recipe.checkpoint_every_epochs,
            checkpoints=checkpoints,
            metrics_file=metrics_file,
            tensorboard=tensorboard,
            console=console,
            constants={"data": splits.source},
        )
        if first_step == loop.total_steps:
            console.info("this run is finished; evaluating it")
        state = loop.run(state)
        scores = {
            "train": score_images(network, state.variables, train),
            "test": score_images(network, state.variables, splits.test),
        }
    _report(console, directory, network, recipe, splits, scores, metrics_file.read())


def _initial_state(
    config: Config, network: build.Network, recipe: build.Recipe, console: Console
) -> TrainState:
    """A new state, from pretrained weights if the config names some."""
    state = build.make_state(config, network, recipe)
    if not recipe.weights:
        return state
    devices = network.mesh.devices.ravel().tolist()
    weights = open_weights(recipe.weights, devices=devices, warn=console.warning)
    return build.start_from(config, network, state, weights.ported)


def _header(
    directory: Path,
    splits: Splits,
    network: build.Network,
    recipe: build.Recipe,
    state: TrainState,
) -> dict[str, str]:
    count = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    steps = f"{recipe.epochs} epochs of {recipe.steps_per_epoch} steps"
    if done := int(state.step):
        steps += f", resumed after step {done}"
    return {
        "workdir": str(directory),
        "device": describe_device(network.mesh.devices.ravel().tolist()),
        "data": f"{splits.source}: {splits.origin}; {len(splits.train.labels)} train, "
        f"{len(splits.test.labels)} test images, {len(splits.train.classes)} classes",
        "model": f"{network.name}, {network.dtype}",
        "parameters": f"{count:,} trainable",
        "steps": steps,
    }


def _bind_data(
    network: build.Network, recipe: build.Recipe, train: Dataset
) -> Callable[[TrainState, np.ndarray], Any]:
    """The train step on this data set, which moves to the devices once, here."""
    images, labels = jax.device_put(
        (train.images, train.labels), replicated(network.mesh)
    )
    return lambda state, indices: recipe.train_step(
        state, images, labels, indices, recipe.key
    )


def _make_evaluate(
    network: build.Network, test: Dataset, validation: Dataset | None
) -> Callable[[TrainState], dict[str, float]]:
    """What an epoch's record says of held-out images: validation, else test."""
    name, split = ("validation", validation) if validation else ("test", test)

    def evaluate(state: TrainState) -> dict[str, float]:
        scores = score_images(network, state.variables, split)
        return {f"{name}_{key}": scores[key] for key in ("loss", "accuracy")}

    return evaluate


def _report(
    console: Console,
    directory: Path,
    network: build.Network,
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
            "that are not in the training set too"
        )
    write_json(
        directory / "result.json",
        {
            "config": network.name,
            "seed": recipe.seed,
            "data": {"source": splits.source, "sha256": splits.sha256},
            "train_seconds": sum(record["seconds"] for record in records),
            "device": describe_device(network.mesh.devices.ravel().tolist()),
            "versions": workdir.versions(),
            **scores,
        },
    )
    if not records:
        return  # metrics.jsonl was deleted
    if plots.available():
        path = directory / "learning_curves.png"
        plots.learning_curves(records, path, title=f"{network.name} on {splits.source}")
        console.info(f"learning curves: {path}")
    else:
        console.info(plots.HOW_TO_GET)
