"""What a finished run leaves: result.json, calibration, learning curves, report."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from signjax.augment import augment
from signjax.data.dataset import Dataset, Splits
from signjax.evaluation import plots
from signjax.evaluation.calibration import ABSTAIN_FRACTION, describe_calibration, fit
from signjax.evaluation.calibration import FILE as CALIBRATION_FILE
from signjax.evaluation.metrics import logits_of, score_logits
from signjax.evaluation.report import FILE, audit_splits, write_report
from signjax.evaluation.scores import Evaluation
from signjax.runtime.console import Console
from signjax.runtime.devices import describe_devices
from signjax.runtime.files import write_json
from signjax.workdir import TrainedModel, versions

_AUGMENTED = 12  # images shown


def report_run(
    directory: Path,
    trained: TrainedModel,
    splits: Splits,
    records: list[dict[str, Any]],
    console: Console,
) -> None:
    """Scores and calibrates the trained model and leaves all that tells of it.

    splits: the run's own, with the images that were held out, if any, as `validation`.
    records: of metrics.jsonl, an epoch each.
    """
    config, experiment = trained.run.config, trained.experiment
    train, validation = splits.train, splits.validation
    variables, calibration = trained.state.variables, None
    if validation is not None:
        calibration = fit(
            logits_of(experiment, variables, validation.images),
            validation.labels,
            step=trained.step,
            abstain_fraction=ABSTAIN_FRACTION if config.train.outlier_fraction else 0.0,
        )
        write_json(directory / CALIBRATION_FILE, calibration.to_json())
        console.info(f"calibration: {describe_calibration(calibration)}")
    test = Evaluation(
        directory, trained, splits.test, f"{splits.source} test", calibration
    )
    scores = {
        "train": score_logits(logits_of(experiment, variables, train.images), train),
        "test": score_logits(test.logits, splits.test),
    }
    _print_scores(scores, splits.source, console)
    write_json(
        directory / "result.json",
        {
            "config": experiment.name,
            "seed": config.seed,
            "data": {"source": splits.source, "sha256": trained.run.data["sha256"]},
            "train_seconds": sum(record["seconds"] for record in records),
            "device": describe_devices(jax.devices()),
            "versions": versions(),
            **scores,
        },
    )
    if not plots.available():
        console.info(plots.HOW_TO_GET)
        return
    if records:  # none where metrics.jsonl was deleted
        path = directory / "learning_curves.png"
        plots.learning_curves(
            records, path, title=f"{experiment.name} on {splits.source}"
        )
        console.info(f"learning curves: {path}")
    write_report(
        directory / FILE,
        test,
        console,
        audit=lambda: audit_splits(splits),
        augmented=augmented_images(trained, train),
    )


def augmented_images(trained: TrainedModel, train: Dataset) -> list[np.ndarray]:
    """A few training images as a train step sees them, each uint8 [S, S, 3]."""
    config, hands = trained.run.config, trained.experiment.view.hands
    if hands:  # whose landmarks change, not pixels
        return hands.drawn(train.images[:_AUGMENTED])
    change = jax.jit(partial(augment, **config.augment))
    images = np.asarray(train.images[:_AUGMENTED], np.float32) / 255
    changed = np.asarray(change(images, trained.experiment.key))
    return list(np.clip(np.rint(255 * changed), 0, 255).astype(np.uint8))


def _print_scores(
    scores: dict[str, dict[str, Any]], source: str, console: Console
) -> None:
    for name, split in scores.items():
        low, high = split["interval95"]
        console.info(
            f"{name:5} accuracy {split['accuracy']:.4f} (95% interval {low:.3f} to "
            f"{high:.3f}), loss {split['loss']:.4f}, {split['count']} {source} images"
        )
    if "leak_free" in scores["test"]:
        rest = scores["test"]["leak_free"]
        console.info(
            f"      accuracy {rest['accuracy']:.4f} on the {rest['count']} of them "
            "that are not in SIGNS' training set too"
        )
