"""--mode=port: weights of another program -> a workdir that the other modes accept."""

import json

import numpy as np

from signjax import workdir
from signjax.commands.cli import Options
from signjax.errors import InputError
from signjax.evaluation.calibration import FILE as CALIBRATION_FILE
from signjax.evaluation.metrics import predict_logits
from signjax.experiment import Experiment, make_experiment
from signjax.pretrained.golden import known_output
from signjax.pretrained.load import (
    Weights,
    open_weights,
    ported_config,
    ported_state,
    refuse_unportable,
)
from signjax.pretrained.port import Ported, Variables, imagenet_classes
from signjax.runtime.bucket import as_path
from signjax.runtime.checkpoint import Checkpoints
from signjax.runtime.console import Console
from signjax.runtime.devices import enable_compilation_cache, require_devices


def run(options: Options) -> None:
    """Writes --workdir from --weights and prints what came from where."""
    directory = as_path(options.workdir)
    if (directory / "run.json").exists() and workdir.has_results(directory):
        raise InputError(f"--workdir {directory} holds a run already: give another")
    refuse_unportable(options.weights)
    enable_compilation_cache()
    console = Console()
    devices = require_devices(options.require_device)[:1]  # for no more than one image
    weights = open_weights(options.weights, devices=devices, warn=console.warning)
    ported = weights.ported
    config = ported_config(ported)
    classes = ported.classes or imagenet_classes()
    experiment = make_experiment(config, len(classes), 0, devices)
    variables = ported.variables
    if ported.classes is None:
        variables = _with_blank_head(variables, len(classes))
    run = workdir.Run(config, classes, _describe(weights), train_size=0)
    with workdir.lock(directory):
        workdir.record_run(directory, run)
        place = directory / "checkpoints"
        with Checkpoints(place, warn=console.warning) as checkpoints:
            checkpoints.save(0, ported_state(experiment, variables))
    _print(console, weights)
    if (as_path(options.weights) / CALIBRATION_FILE).exists():
        console.warning(
            f"{CALIBRATION_FILE} of {options.weights} is not ported: predict with that "
            "workdir to be told when the model is unsure"
        )
    if ported.classes is None:
        console.warning(
            "these weights have no classifier: train one, "
            f"--config.model.weights={directory}, before evaluate and predict"
        )
    _print_difference(console, experiment, ported)
    console.info(f"written to {directory}")


def _with_blank_head(variables: Variables, num_classes: int) -> Variables:
    head = {
        "kernel": np.zeros((2048, num_classes), np.float32),
        "bias": np.zeros(num_classes, np.float32),
    }
    return variables | {"params": variables["params"] | {"head": head}}


def _describe(weights: Weights) -> dict[str, object]:
    """What run.json says of a ported model's data: nothing was trained on here."""
    return {
        "source": "ported",
        "origin": weights.origin,
        "sha256": weights.sha256,
        "train_count": 0,
        "test_count": 0,
        "blank_head": weights.ported.classes is None,
    }


def _print(console: Console, weights: Weights) -> None:
    ported = weights.ported
    rows = [("", "ported", "folded", "new")]
    rows += [(row.part, *map(str, row[1:])) for row in ported.coverage]
    totals = np.sum([row[1:] for row in ported.coverage], axis=0)
    rows += [("total", *map(str, np.atleast_1d(totals)))] if ported.coverage else []
    console.info(f"weights from {weights.origin}; leaves:")
    for part, *counts in rows:
        console.info(f"{part:8}" + "".join(f"{count:>8}" for count in counts))
    console.info(f"network: {ported.network}, {json.dumps(ported.variant)}")
    console.info(f"images: {json.dumps(ported.preprocessing._asdict())}")
    for note in ported.notes:
        console.info(f"weights: {note}")


def _print_difference(console: Console, experiment: Experiment, ported: Ported) -> None:
    known = known_output(ported.variables)
    if known is None:
        console.info("no output of another program is known for these weights")
        return
    logits = predict_logits(
        experiment.eval_step, ported.variables, known.images, experiment.mesh.size
    )
    difference = np.abs(logits - known.logits).max() / np.abs(known.logits).max()
    console.info(
        f"largest difference to {known.program}: {difference:.1e} of the largest "
        f"logit, in {experiment.dtype}"
    )
