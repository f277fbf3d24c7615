"""The scores of a model, in words and as the HTML report that evaluation leaves."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from signjax.data.audit import audit, audit_parts, count_pictures, describe_audit
from signjax.data.dataset import Dataset, Splits
from signjax.data.load import hold_out_validation
from signjax.errors import InputError
from signjax.evaluation import plots
from signjax.evaluation.calibration import Calibration, why_no_abstention
from signjax.evaluation.metrics import (
    calibration_error,
    logits_of,
    negative_log_likelihood,
    reliability,
    score_logits,
    selective_accuracy,
    softmax,
)
from signjax.evaluation.occlusion import occlusion_maps
from signjax.evaluation.page import Mistake, Report, render
from signjax.experiment import Experiment
from signjax.runtime.console import Console
from signjax.runtime.files import MetricsFile, write_text
from signjax.workdir import TrainedModel, count_trained_on, versions

FILE = "report.html"

_WORST = 9
# Images that a report's audit compares in half a minute and half a gigabyte.
_MOST_AUDITED = 20_000


def score_model(
    directory: Path,
    trained: TrainedModel,
    data: Dataset,
    logits: np.ndarray,
    calibration: Calibration | None,
    *,
    source: str,
    left_out: Mapping[str, int],
) -> dict[str, Any]:
    """What evaluation says of a model's logits, [N, C], of `data`, as plain numbers.

    `score_logits` and where model and data come from. source: the data's, in words.
    left_out: images that were not scored, by class. calibrated: see
    `score_calibrated`, null where the model is not.
    """
    return score_logits(logits, data) | {
        "calibrated": calibration and score_calibrated(calibration, logits, data),
        "model": str(directory),
        "trained_on": trained.run.data["source"],
        "trained_on_count": count_trained_on(directory, data.images),
        "step": trained.step,
        "data": source,
        "left_out": dict(left_out),
    }


def score_calibrated(
    calibration: Calibration, logits: np.ndarray, data: Dataset
) -> dict[str, Any]:
    """How well a calibrated model knows what it knows, on logits [N, C] of `data`.

    temperature; loss and ece as in `score`, of the calibrated probabilities; selective:
    see `selective_accuracy`, null without a threshold; held_out: what it was fitted
    to.
    """
    probabilities = calibration.probabilities(logits)
    threshold = calibration.threshold
    scaled = logits / calibration.temperature
    return {
        "temperature": calibration.temperature,
        "loss": negative_log_likelihood(scaled, data.labels),
        "ece": calibration_error(probabilities, data.labels),
        "selective": None
        if threshold is None
        else selective_accuracy(probabilities, data.labels, threshold),
        "held_out": calibration.to_json(),
    }


def describe_scores(scores: dict[str, Any]) -> dict[str, str]:
    """The scores but for the table of classes: heading -> text."""
    low, high = scores["interval95"]
    numbers = {
        "model": f"{scores['model']}, step {scores['step']}",
        "data": f"{scores['data']}: {scores['count']} images",
    }
    if scores["trained_on"] == "synthetic":
        numbers["model"] += ", trained on synthetic hands"
    if scores["left_out"]:
        names = ", ".join(scores["left_out"])
        count = sum(scores["left_out"].values())
        numbers["left out"] = f"{count} images of classes not known: {names}"
    if scores["trained_on_count"]:
        numbers["KNOWN"] = (
            f"{scores['trained_on_count']} of the images were trained on, or held out "
            "for validation: of these the scores say nothing about new ones"
        )
    numbers["accuracy"] = (
        f"{scores['accuracy']:.4f}, 95% interval {low:.3f} to {high:.3f}"
    )
    if "leak_free" in scores:
        rest = scores["leak_free"]
        numbers["leak-free"] = (
            f"{rest['accuracy']:.4f} on the {rest['count']} images that are not in "
            "SIGNS' training set too"
        )
    numbers["loss"] = f"{scores['loss']:.4f}"
    numbers["ece"] = f"{scores['ece']:.4f}, the expected calibration error"
    return numbers | _describe_calibrated(scores["calibrated"])


def _describe_calibrated(calibrated: dict[str, Any] | None) -> dict[str, str]:
    if not calibrated:
        return {"abstains": why_no_abstention(None) or ""}
    numbers = {
        "calibrated": f"ece {calibrated['ece']:.4f}, loss {calibrated['loss']:.4f} at "
        f"temperature {calibrated['temperature']:.3f}"
    }
    if given := calibrated["selective"]:
        right = format_share(given["accuracy"]).strip()
        numbers["coverage"] = (
            f"{given['coverage']:.1%} of the images, those of confidence "
            f"{given['threshold']:.3f} or more; selective accuracy {right}"
        )
    if missing := why_no_abstention(Calibration.from_json(calibrated["held_out"])):
        numbers["abstains"] = missing
    return numbers


def format_share(value: float | None) -> str:
    return "    -" if value is None else f"{value:.3f}"


def audit_splits(trained: TrainedModel, splits: Splits) -> Sequence[str]:
    """The lines of an audit of a run's own data; why not, if it cannot be had."""

    def audited() -> dict[str, Any]:
        train, held_out = hold_out_validation(trained.run.config, splits.train)
        validation = {} if held_out is None else {"validation": held_out}
        parts = {"train": train, **validation, "test": splits.test}
        return audit_parts(splits.origin, parts)

    return _audited(lambda: len(splits.train) + len(splits.test), audited)


def audit_path(path: str, console: Console) -> Sequence[str]:
    """The lines of an audit of the data at `path`; why not, if it cannot be had."""
    with console.if_slow("looking over the data for the report; the scores are above"):
        return _audited(lambda: count_pictures(path), lambda: audit(path))


def _audited(
    count: Callable[[], int], audited: Callable[[], dict[str, Any]]
) -> Sequence[str]:
    try:
        if count() <= _MOST_AUDITED:
            return describe_audit(audited())
    except (InputError, OSError) as error:  # a part that was not scored may be no data
        return [f"left out: {error}"]
    return [
        f"left out: it compares every two of {count()} pictures; --mode=audit "
        "--data=PATH does so on request"
    ]


def write_report(
    path: Path,
    console: Console,
    *,
    directory: Path,
    trained: TrainedModel,
    data: Dataset,
    logits: np.ndarray,
    scores: Mapping[str, Any],
    calibration: Calibration | None,
    audit: Callable[[], Sequence[str]],
) -> None:
    """Writes the page about a model's answers, logits [N, C], to the images of `data`.

    directory: the model's workdir. scores: as `score_model`. audit: lines about the
    data, asked for if needed. Says where the page is, how to get what it needs, or why
    it cannot be written.
    """
    if not plots.available():
        console.info('no report: pip install "signjax[plots]" lets it be drawn')
        return
    probabilities = (
        calibration.probabilities(logits) if calibration else softmax(logits)
    )
    curves = {"as trained": reliability(softmax(logits), data.labels)}
    if calibration:
        curves["calibrated"] = reliability(probabilities, data.labels)
    experiment, run = trained.experiment, trained.run
    report = Report(
        title=f"{experiment.name}: accuracy {scores['accuracy']:.3f} on "
        f"{scores['count']} images",
        numbers=describe_scores(scores),
        scores=scores,
        reliability=curves,
        records=MetricsFile(directory / "metrics.jsonl").read(),
        mistakes=_worst(experiment, trained.state.variables, data, probabilities),
        audit=audit(),
        config=run.config.to_dict(),
        versions=versions(),
        data=run.data,
    )
    try:
        write_text(path, render(report))
    except InputError as error:  # the scores are told all the same
        console.warning(f"no report: {error}")
        return
    console.info(f"report: {path}")


def _worst(
    experiment: Experiment, variables: Any, data: Dataset, probabilities: np.ndarray
) -> list[Mistake]:
    """The wrong answers of highest confidence, with a map of where each comes from."""
    predicted = probabilities.argmax(axis=-1)
    confidence = probabilities.max(axis=-1)
    wrong = np.flatnonzero(predicted != data.labels)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:_WORST]
    if not len(wrong):
        return []
    maps = occlusion_maps(
        lambda images: logits_of(experiment, variables, images),
        data.images[wrong],
        predicted[wrong],
    )
    return [
        Mistake(
            image=data.images[i],
            heat=heat,
            true=data.classes[data.labels[i]],
            predicted=data.classes[predicted[i]],
            confidence=float(confidence[i]),
            likelihood=float(probabilities[i, data.labels[i]]),
        )
        for i, heat in zip(wrong, maps, strict=True)
    ]
