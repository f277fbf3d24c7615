"""One HTML page about a trained model, whole in itself: gathered, then rendered.

report.html.jinja holds its words. No folder of this machine is told, as the page is
made to be sent.
"""

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from signjax.data.audit import audit, describe_audit, find_image
from signjax.data.dataset import Dataset, Splits
from signjax.data.image import square_resize
from signjax.data.parts import Parts, open_parts
from signjax.errors import InputError, RunError
from signjax.evaluation import plots
from signjax.evaluation.metrics import coverage_curve, reliability, softmax
from signjax.evaluation.page import SHOWN, render
from signjax.evaluation.scores import Evaluation
from signjax.runtime.console import Console
from signjax.runtime.devices import describe_devices
from signjax.runtime.files import MetricsFile, cache_directory, read_json, write_text
from signjax.runtime.machine import git_commit
from signjax.workdir import versions

FILE = "report.html"

_WORST = 9  # mistakes shown
_FINDINGS = 6  # leaks, and odd images, shown
_MOST_CLASSES = 20  # of a confusion matrix; of more, the most frequent confusions
# Images that a report's audit compares in half a minute and half a gigabyte.
_MOST_AUDITED = 20_000


class Findings(NamedTuple):
    """What the page says of data. lines: in words, or why there are none.

    shown: a caption -> the images it is about, uint8 [S, S, 3].
    """

    lines: Sequence[str]
    shown: Mapping[str, Sequence[np.ndarray]] = MappingProxyType({})


def write_report(
    path: Path,
    evaluation: Evaluation,
    console: Console,
    *,
    audit: Callable[[], Findings],
    augmented: Sequence[np.ndarray] = (),
) -> None:
    """Writes the page about an evaluation.

    audit: of the data, asked for if needed. augmented: training images as the
    train step sees them, each uint8 [S, S, 3]. Says where the page is, how to get what
    it needs, or why it cannot be written.
    """
    if not plots.available():
        console.info(plots.HOW_TO_GET)
        return
    report = gather(evaluation, audit(), augmented)
    try:
        write_text(path, render("report", report))
    except InputError as error:  # the scores are told all the same
        console.warning(f"no report: {error}")
        return
    console.info(f"report: {path}")


def gather(
    evaluation: Evaluation, findings: Findings, augmented: Sequence[np.ndarray]
) -> dict[str, Any]:
    """All that the page says, by its template's names; no folder of this machine.

    facts, numbers: heading -> text. curves: of training, as <svg>; empty without
    metrics. accuracies: see `_accuracies`. confusions: see `confusion_list`.
    reliability: name -> points (confidence, accuracy). coverage: see `coverage_curve`.
    mistakes: see `_worst`. hands: whether they show box and landmarks. audit,
    findings: see `Findings`. config: as JSON.
    """
    directory, trained = evaluation.directory, evaluation.trained
    labels, run, scores = evaluation.data.labels, trained.run, evaluation.scores
    records = MetricsFile(directory / "metrics.jsonl").read()
    curves = {"as trained": softmax(evaluation.logits)}
    if evaluation.calibration:
        curves["calibrated"] = evaluation.probabilities
    hide = _folder_hider(evaluation)
    return {
        "title": f"{trained.experiment.name} on {hide(evaluation.source)}",
        "facts": hide(_facts(evaluation, records)),
        "numbers": hide(evaluation.describe()),
        "scores": scores,
        "curves": plots.learning_curves_svg(records) if records else "",
        "accuracies": _accuracies(directory, records),
        "augmented": augmented,
        "confusions": confusion_list(scores),
        "reliability": {
            name: [
                (row["confidence"], row["accuracy"])
                for row in reliability(probabilities, labels)
            ]
            for name, probabilities in curves.items()
        },
        "coverage": coverage_curve(evaluation.probabilities, labels),
        "mistakes": _worst(evaluation),
        "hands": trained.experiment.view.hands is not None,
        "audit": hide(list(findings.lines)),
        "findings": {hide(name): shown for name, shown in findings.shown.items()},
        "config": json.dumps(hide(run.config.to_dict()), indent=1),
        "versions": versions(),
        "data": hide(run.data),
    }


def _facts(
    evaluation: Evaluation, records: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    trained = evaluation.trained
    run = trained.run
    seconds = round(sum(record["seconds"] for record in records))
    facts = {
        "scored": f"{evaluation.source}: {len(evaluation.data)} images",
        "trained on": f"{run.data['source']}: {run.train_size} images",
        "device": describe_devices(trained.experiment.devices),
        "training took": f"{seconds // 60} min {seconds % 60} s" if seconds else "",
        "written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "program": f"signjax {versions()['signjax']}, commit {git_commit() or '-'}",
        "command": shlex.join(["python", *sys.argv]),
    }
    return {heading: text for heading, text in facts.items() if text}


def _accuracies(
    directory: Path, records: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """last_epoch: while it trained; train and test: of the finished run's model."""
    result = directory / "result.json"
    if not result.exists() or not records:
        return {}
    scores = read_json(result)
    finished = {split: scores[split]["accuracy"] for split in ("train", "test")}
    return {"last_epoch": records[-1]["train_accuracy"]} | finished


def confusion_list(scores: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """(true, predicted, count), the most frequent first; empty for a few classes."""
    classes, counts = scores["classes"], np.array(scores["confusion"])
    if len(classes) <= _MOST_CLASSES:
        return []
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:_MOST_CLASSES]
    places = zip(*np.unravel_index(order, counts.shape), strict=True)
    return [(classes[i], classes[j], int(counts[i, j])) for i, j in places]


def _worst(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The wrong answers of highest confidence, and where each comes from.

    Of each: name; image, uint8 [S, S, 3], as the network saw it; looked, the same with
    where it looked, see `Evaluation.looked`; true and predicted class; confidence,
    of that label, and likelihood, of the true.
    """
    data, probabilities = evaluation.data, evaluation.probabilities
    predicted = probabilities.argmax(axis=-1)
    confidence = probabilities.max(axis=-1)
    wrong = np.flatnonzero(predicted != data.labels)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:_WORST]
    if not len(wrong):
        return []
    images = data.images[wrong]
    looked = evaluation.looked(images, predicted[wrong])
    return [
        {
            "name": data.names[i] if data.names else f"image {i}",
            "image": image,
            "looked": shown,
            "true": data.classes[data.labels[i]],
            "predicted": data.classes[predicted[i]],
            "confidence": float(confidence[i]),
            "likelihood": float(probabilities[i, data.labels[i]]),
        }
        for i, image, shown in zip(wrong, images, looked, strict=True)
    ]


def _folder_hider(evaluation: Evaluation) -> Callable[[Any], Any]:
    """A function that takes the folders out of the paths in texts, however nested."""
    named = [evaluation.directory, evaluation.source, "here"]
    named += [evaluation.trained.run.data["origin"], os.path.expanduser("~/file")]
    with suppress(RunError):  # no home
        named.append(cache_directory())
    parents = {str(Path(path).parent) for path in named}
    parents |= {str(Path(path).resolve().parent) for path in named}
    # With spaces in it only a known folder can be told from the words around it.
    known = sorted((p for p in parents if len(p) > 1), key=len, reverse=True)
    folders = re.compile(
        "|".join(
            [*(re.escape(p + os.sep) for p in known), r"(?<![^\s='\"(])(gs:/)?[/~]\S*/"]
        )
    )

    def hide(value: Any) -> Any:
        if isinstance(value, str):
            return folders.sub("", value)
        if isinstance(value, Mapping):
            return {key: hide(item) for key, item in value.items()}
        return [hide(item) for item in value] if isinstance(value, list) else value

    return hide


def audit_splits(splits: Splits) -> Findings:
    """An audit of a run's own data."""
    names = ("train", "validation", "test")
    found = {name: getattr(splits, name) for name in names}
    parts = {name: part for name, part in found.items() if part is not None}
    return _audited(splits.origin, lambda: Parts(parts, splits.left_out))


def audit_path(path: str, console: Console) -> Findings:
    """An audit of the data at `path`."""
    with console.if_slow("looking over the data for the report; the scores are above"):
        return _audited(path, lambda: open_parts(path, nested=True))


def _audited(origin: str, open_data: Callable[[], Parts]) -> Findings:
    try:
        splits, left_out = open_data()
        if (count := sum(map(len, splits.values()))) <= _MOST_AUDITED:
            report = audit(origin, splits, left_out)
            return Findings(describe_audit(report), _to_look_at(report, splits))
    except (InputError, OSError) as error:  # a part that was not scored may be no data
        return Findings([f"left out: {error}"])
    return Findings(
        [
            f"left out: it compares every two of {count} images; --mode=audit "
            "--data=PATH does so on request"
        ]
    )


def _to_look_at(
    report: Mapping[str, Any], splits: Mapping[str, Dataset]
) -> dict[str, list[np.ndarray]]:
    """The first leaks between splits and the first odd images: caption -> images."""
    leaked = {name for names in report["copies"]["leaked"].values() for name in names}
    leaks = [group[:3] for group in report["copies"]["sets"] if leaked & set(group)]
    named = {" = ".join(group): group for group in leaks[:_FINDINGS]}
    for name, reasons in list(report["odd"].items())[:_FINDINGS]:
        named[f"{name}: {', '.join(reasons)}"] = [name]
    return {
        caption: [
            square_resize(Image.fromarray(find_image(splits, name)), SHOWN)
            for name in names
        ]
        for caption, names in named.items()
    }
