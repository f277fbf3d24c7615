"""What a finished run leaves: result.json, calibration, learning curves, report."""

from pathlib import Path
from typing import Any

import jax

from signjax.data.dataset import Dataset, Splits
from signjax.data.load import hold_out_validation
from signjax.evaluation import plots
from signjax.evaluation.calibration import (
    ABSTAIN_FRACTION,
    calibrate,
    describe_calibration,
)
from signjax.evaluation.metrics import logits_of, score_images, score_logits
from signjax.evaluation.report import FILE, audit_splits, score_model, write_report
from signjax.runtime.console import Console
from signjax.runtime.devices import describe_devices
from signjax.runtime.files import write_json
from signjax.workdir import TrainedModel, versions


def report_run(
    directory: Path,
    trained: TrainedModel,
    splits: Splits,
    records: list[dict[str, Any]],
    console: Console,
) -> None:
    """Scores and calibrates the trained model and leaves all that tells of it.

    records: of metrics.jsonl, an epoch each.
    """
    config = trained.run.config
    train, validation = hold_out_validation(config, splits.train)
    experiment, variables = trained.experiment, trained.state.variables
    logits = logits_of(experiment, variables, splits.test.images)
    scores = {
        "train": score_images(experiment, variables, train),
        "test": score_logits(logits, splits.test),
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
    if records:  # none where metrics.jsonl was deleted
        _draw_curves(
            directory, f"{experiment.name} on {splits.source}", records, console
        )
    calibration = _calibrate(directory, trained, validation, console)
    scores = score_model(
        directory,
        trained,
        splits.test,
        logits,
        calibration,
        source=f"{splits.source} test",
        left_out={},
    )
    write_report(
        directory / FILE,
        console,
        directory=directory,
        trained=trained,
        data=splits.test,
        logits=logits,
        scores=scores,
        calibration=calibration,
        audit=lambda: audit_splits(trained, splits),
    )


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


def _draw_curves(
    directory: Path, title: str, records: list[dict[str, Any]], console: Console
) -> None:
    if not plots.available():
        console.info(plots.HOW_TO_GET)
        return
    path = directory / "learning_curves.png"
    plots.learning_curves(records, path, title=title)
    console.info(f"learning curves: {path}")


def _calibrate(
    directory: Path,
    trained: TrainedModel,
    validation: Dataset | None,
    console: Console,
):
    """The calibration by the held-out images, written into the workdir, if any are."""
    if validation is None:
        return None
    outliers = trained.run.config.train.outlier_fraction
    calibration = calibrate(
        directory,
        trained.experiment,
        trained.state.variables,
        validation,
        step=trained.step,
        abstain_fraction=ABSTAIN_FRACTION if outliers else 0.0,
    )
    console.info(f"calibration: {describe_calibration(calibration)}")
    return calibration
