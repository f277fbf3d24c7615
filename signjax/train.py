"""One run, from its config to its report; called again, it resumes."""

from collections.abc import Collection
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax

from signjax import workdir
from signjax.config import Config, check_batch_size
from signjax.data.load import (
    add_synthetic,
    hold_out_validation,
    load_splits,
    make_batches,
)
from signjax.evaluation.final import report_run
from signjax.evaluation.metrics import score_split
from signjax.experiment import Experiment, make_experiment
from signjax.loop import train_loop
from signjax.pretrained.load import settle_weights, start_from
from signjax.runtime.console import Console
from signjax.runtime.devices import describe_devices
from signjax.runtime.distributed import is_primary, require_same, sync_errors
from signjax.runtime.recorder import Recorder


def train(
    config: Config,
    directory: Path,
    devices: list[jax.Device],
    console: Console,
    chosen: Collection[str] = (),
) -> None:
    """Trains `config` in the workdir `directory` to the end, or to an interruption.

    devices: of all processes. chosen: keys given on the command line, which pretrained
    weights do not change. Raises SignjaxError with one line where it cannot go on.
    """
    config, weights = settle_weights(config, directory, chosen, devices, console)
    with sync_errors(), console.if_slow("reading the data"):
        splits = load_splits(config, console.warning)
        parts = hold_out_validation(config, splits)
        train_set = add_synthetic(config, parts.train)
        check_batch_size(config, len(train_set), len(devices))
        run = workdir.describe(config, splits, len(train_set))
    require_same("config and data", (config.to_dict(), run.data["sha256"]))
    experiment = make_experiment(config, len(run.classes), len(train_set), devices)
    # Pixels, but landmarks for a model of hands, which looks at nothing else.
    inputs = replace(train_set, images=experiment.view.inputs(train_set.images))
    batches = make_batches(config, inputs, experiment.mesh)
    with (
        workdir.create_or_resume(directory, run, console) as checkpoints,
        Recorder(directory, splits.source, console, config.run.tensorboard) as recorder,
    ):
        restored = checkpoints.restore(experiment.abstract_state())
        first_step = int(restored.step) if restored is not None else 0
        data = splits.describe(train_set, parts.validation)
        console.header(_header(experiment, directory, data, first_step))
        recorder.resume_after(first_step, first_step // experiment.steps_per_epoch)
        if restored is not None and first_step == experiment.total_steps:
            console.info("this run is finished; evaluating it")
            state = restored
        else:
            # Before the loop, so that the first epoch's rate is that of its steps, and
            # Ctrl-C, which has nothing to save yet, is obeyed at once.
            start = start_from(weights, experiment, run.classes, console)
            with console.if_slow("compiling the train step (kept for later runs)"):
                state, train_step = experiment.begin(restored, batches.shapes())
                batches.place()
            # Without validation images the best checkpoint is the test's choice.
            held_out = "validation" if parts.validation else "test"
            state = train_loop(
                start(state),
                experiment,
                batches,
                train_step=train_step,
                # BatchNorm is recalibrated without the synthetic hands.
                finish=partial(experiment.finish, images=parts.train.images),
                evaluate=partial(
                    score_split, experiment, held_out, parts.validation or splits.test
                ),
                best_metric=f"{held_out}_accuracy",
                checkpoint_every_epochs=config.run.checkpoint_every_epochs,
                checkpoints=checkpoints,
                recorder=recorder,
                console=console,
            )
        with sync_errors():
            if is_primary():
                trained = workdir.TrainedModel(run, experiment, state).localized()
                with console.if_slow("evaluating the run"):
                    report_run(directory, trained, parts, recorder.read(), console)


def _header(
    experiment: Experiment, directory: Path, data: dict[str, str], first_step: int
) -> dict[str, str]:
    """What is about to run, said before what takes time."""
    params = experiment.abstract_state().params
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    steps = f"{experiment.epochs} epochs of {experiment.steps_per_epoch} steps"
    if first_step:
        steps += f", resumed after step {first_step}"
    return {
        "workdir": str(directory),
        "device": describe_devices(experiment.devices),
        **data,
        "model": f"{type(experiment.model).__name__}, {experiment.dtype}",
        "parameters": f"{count:,} trainable",
        "steps": steps,
    }
