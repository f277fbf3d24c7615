"""The HTML report that evaluation leaves: gathers what `reporting.report` renders."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from signjax import build, workdir
from signjax.data.dataset import Dataset
from signjax.errors import InputError
from signjax.modes.scoring import logits_of
from signjax.reporting import plots
from signjax.reporting.logs import Console, MetricsFile, write_text
from signjax.reporting.report import Mistake, Report, render
from signjax.training.calibration import Calibration
from signjax.training.evaluation import reliability, softmax
from signjax.training.occlusion import occlusion_maps

FILE = "report.html"

_WORST = 9


def write_report(
    path: Path,
    console: Console,
    *,
    directory: Path,
    trained: workdir.TrainedModel,
    data: Dataset,
    logits: np.ndarray,
    scores: Mapping[str, Any],
    numbers: Mapping[str, str],
    calibration: Calibration | None,
    audit: Callable[[], Sequence[str]],
) -> None:
    """Writes the page about a model's answers, logits [N, C], to the images of `data`.

    directory: the model's workdir. scores: as `evaluation.score`. numbers: heading ->
    text. audit: lines about the data, asked for if needed. Says where the page is, how
    to get what it needs, or why it cannot be written.
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
    network, run = trained.network, trained.run
    report = Report(
        title=f"{network.name}: accuracy {scores['accuracy']:.3f} on {scores['count']} "
        "images",
        numbers=numbers,
        scores=scores,
        reliability=curves,
        records=MetricsFile(directory / "metrics.jsonl").read(),
        mistakes=_worst(network, trained.state.variables, data, probabilities),
        audit=audit(),
        config=run.config.to_dict(),
        versions=workdir.versions(),
        data=run.data,
    )
    try:
        write_text(path, render(report))
    except InputError as error:  # the scores are told all the same
        console.warning(f"no report: {error}")
        return
    console.info(f"report: {path}")


def _worst(
    network: build.Network, variables: Any, data: Dataset, probabilities: np.ndarray
) -> list[Mistake]:
    """The wrong answers of highest confidence, with a map of where each comes from."""
    predicted = probabilities.argmax(axis=-1)
    confidence = probabilities.max(axis=-1)
    wrong = np.flatnonzero(predicted != data.labels)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:_WORST]
    if not len(wrong):
        return []
    maps = occlusion_maps(
        lambda images: logits_of(network, variables, images),
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
