"""--mode=evaluate: a trained model's scores on its own test split or on --data."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from signjax import build
from signjax.data import sources
from signjax.data.dataset import Dataset, Splits
from signjax.errors import InputError
from signjax.modes.audit import audit, audit_parts, count_pictures
from signjax.modes.audit import describe as describe_audit
from signjax.modes.calibration import read_calibration, reservation
from signjax.modes.common import open_model, refuse_arguments, require_workdir
from signjax.modes.options import Options
from signjax.modes.report import FILE as REPORT_FILE
from signjax.modes.report import write_report
from signjax.modes.scoring import logits_of, score_logits
from signjax.reporting.logs import Console, write_json
from signjax.training.calibration import Calibration
from signjax.training.evaluation import (
    answered,
    calibration_error,
    negative_log_likelihood,
)
from signjax.workdir import TrainedModel, count_trained_on

# Pictures that a report's audit compares in half a minute and half a gigabyte.
_MOST_AUDITED = 20_000
_MOST_PRINTED = 20  # classes


def run(options: Options) -> None:
    """Prints a table; writes it as JSON to --output, and a report as HTML."""
    refuse_arguments(options)
    _refuse_page(options.output)
    console = Console()
    directory = require_workdir(options)
    trained = open_model(options, console)
    data, source, look_over = _load(options, trained, console)
    data, left_out = match_classes(data, trained.run.classes)
    calibration = read_calibration(directory, trained.step, console.warning)
    logits = logits_of(trained.network, trained.state.variables, data.images)
    scores = _score(directory, trained, data, logits, calibration)
    scores |= {"data": source, "left_out": left_out}
    numbers = describe(scores)
    _print(console, numbers, scores)
    if options.output:
        write_json(Path(options.output), scores)
    write_report(
        _report_path(options, directory),
        console,
        directory=directory,
        trained=trained,
        data=data,
        logits=logits,
        scores=scores,
        numbers=numbers,
        calibration=calibration,
        audit=look_over,
    )


def report_own_test(
    console: Console,
    directory: Path,
    trained: TrainedModel,
    splits: Splits,
    logits: np.ndarray,
    calibration: Calibration | None,
) -> None:
    """Leaves the report that `run` leaves of a model's own test split.

    logits: float32 [N, C], of the test images.
    """
    data = splits.test
    scores = _score(directory, trained, data, logits, calibration)
    scores |= {"data": f"{splits.source} test", "left_out": {}}
    write_report(
        directory / REPORT_FILE,
        console,
        directory=directory,
        trained=trained,
        data=data,
        logits=logits,
        scores=scores,
        numbers=describe(scores),
        calibration=calibration,
        audit=lambda: _look_over_splits(trained, splits),
    )


def _score(
    directory: Path,
    trained: TrainedModel,
    data: Dataset,
    logits: np.ndarray,
    calibration: Calibration | None,
) -> dict[str, Any]:
    return score_logits(logits, data) | {
        "calibrated": calibration and score_calibrated(calibration, logits, data),
        "model": str(directory),
        "trained_on": trained.run.data["source"],
        "trained_on_count": count_trained_on(directory, data.images),
        "step": trained.step,
    }


def _look_over_splits(trained: TrainedModel, splits: Splits) -> Sequence[str]:
    def audited() -> dict[str, Any]:
        train, held_out = build.hold_out_validation(trained.run.config, splits.train)
        validation = {} if held_out is None else {"validation": held_out}
        parts = {"train": train, **validation, "test": splits.test}
        return audit_parts(splits.origin, parts)

    count = len(splits.train.labels) + len(splits.test.labels)
    return _look_over(lambda: count, audited)


def _look_over_data(path: str, console: Console) -> Sequence[str]:
    with console.if_slow("looking over the data for the report; the scores are above"):
        return _look_over(lambda: count_pictures(path), lambda: audit(path))


def _look_over(
    count: Callable[[], int], audited: Callable[[], dict[str, Any]]
) -> Sequence[str]:
    """The lines of an audit of `count` pictures; why not, if too many or it fails."""
    try:
        if count() <= _MOST_AUDITED:
            return describe_audit(audited())
    except (InputError, OSError) as error:  # a part that was not scored may be no data
        return [f"left out: {error}"]
    return [
        f"left out: it compares every two of {count()} pictures; --mode=audit "
        "--data=PATH does so on request"
    ]


def _refuse_page(output: str) -> None:
    if Path(output).suffix.lower() in (".html", ".htm"):
        json_file = Path(output).with_suffix(".json")
        raise InputError(
            f"--output={output}: the scores are JSON, and the page is written beside "
            f"them by their name: give --output={json_file}"
        )


def _report_path(options: Options, directory: Path) -> Path:
    """Beside a JSON file, as report_scores.html of scores.json; else in the workdir.

    There pages of the last and the best model, of its own test and of other data do
    not replace each other; that of --data=photos/test is report_photos_test.html.
    """
    output = Path(options.output)
    if output.is_file():
        stem = output.stem if output.suffix == ".json" else output.name
        return output.with_name(f"report_{stem}.html")
    page = Path(REPORT_FILE)
    parts = [page.stem]
    if options.best:
        parts.append("best")
    if options.data:
        data = Path(options.data).resolve()
        parts += [data.parent.name, data.name]
    return directory / f"{'_'.join(filter(None, parts))}{page.suffix}"


def _load(
    options: Options, trained: TrainedModel, console: Console
) -> tuple[Dataset, str, Callable[[], Sequence[str]]]:
    """The images to score, the words for where they came from, and their audit.

    The audit is a function, as only a report asks for it.
    """
    if options.data:
        network = trained.network
        path = Path(options.data)
        data = sources.load_labelled(path, network.image_size, network.framing)
        return (
            data,
            options.data,
            lambda: _look_over_data(options.data, console),
        )
    expected = trained.run.data
    if expected["source"] == "ported":
        raise InputError(
            "this model's weights were ported, so it has no test images of its own: "
            "give the images to score by --data"
        )
    try:
        splits = build.load_splits(
            trained.run.config, console.warning, source=expected["source"]
        )
    except InputError as error:
        raise InputError(
            f"{error} (these data the model was trained with; give the images to score "
            "by --data where they are gone)"
        ) from error
    if splits.sha256 != expected["sha256"]:
        raise InputError(
            f"the data found ({splits.source}: {splits.origin}) are not those this "
            f"model was trained with ({expected['source']}: {expected['origin']}), so "
            "its own test split cannot be told: give the images to score by --data"
        )
    source = f"{splits.source} test"
    return splits.test, source, lambda: _look_over_splits(trained, splits)


def match_classes(
    data: Dataset, classes: tuple[str, ...]
) -> tuple[Dataset, dict[str, int]]:
    """`data` relabelled to a model's classes by name, and what was left out.

    Images of classes that the model does not know are dropped and counted by class.
    Raises InputError where no class is known.
    """
    known = [name in classes for name in data.classes]
    if not any(known):
        raise InputError(
            f"the data's classes ({', '.join(data.classes)}) are none of the model's "
            f"({', '.join(classes)}): give data with at least one of them"
        )
    relabel = np.array([classes.index(c) if c in classes else -1 for c in data.classes])
    labels = relabel[data.labels]
    left_out = {
        name: int(np.sum(data.labels == label))
        for label, name in enumerate(data.classes)
        if not known[label]
    }
    kept = labels >= 0
    if not kept.any():
        raise InputError(
            f"no image of a class that the model knows ({', '.join(classes)}): give "
            "data with at least one"
        )
    images = data.take(np.flatnonzero(kept)).images
    return Dataset(images, labels[kept].astype(np.int32), classes), left_out


def score_calibrated(
    calibration: Calibration, logits: np.ndarray, data: Dataset
) -> dict[str, Any]:
    """How well a calibrated model knows what it knows, on logits [N, C] of `data`.

    temperature; loss and ece as in `score`, of the calibrated probabilities; answered:
    see `evaluation.answered`, null without a threshold; held_out: what it was fitted
    to.
    """
    probabilities = calibration.probabilities(logits)
    threshold = calibration.threshold
    scaled = logits / calibration.temperature
    return {
        "temperature": calibration.temperature,
        "loss": negative_log_likelihood(scaled, data.labels),
        "ece": calibration_error(probabilities, data.labels),
        "answered": None
        if threshold is None
        else answered(probabilities, data.labels, threshold),
        "held_out": calibration.to_json(),
    }


def describe(scores: dict[str, Any]) -> dict[str, str]:
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
        return {"unsure": reservation(None) or ""}
    numbers = {
        "calibrated": f"ece {calibrated['ece']:.4f}, loss {calibrated['loss']:.4f} at "
        f"temperature {calibrated['temperature']:.3f}"
    }
    if given := calibrated["answered"]:
        right = _share(given["accuracy"]).strip()
        numbers["answered"] = (
            f"{given['coverage']:.1%} of the images, those of confidence "
            f"{given['threshold']:.3f} or more; {right} of these rightly"
        )
    if missing := reservation(Calibration.from_json(calibrated["held_out"])):
        numbers["unsure"] = missing
    return numbers


def _print(console: Console, numbers: dict[str, str], scores: dict[str, Any]) -> None:
    for heading, text in numbers.items():
        console.info(f"{heading:9} {text}")
    classes = scores["classes"]
    width = max(5, *(len(name) + 1 for name in classes))
    # A line of more classes is wider than a window.
    whole = len(classes) <= _MOST_PRINTED
    heading = "".join(f"{name:>{width}}" for name in classes)
    console.info("")
    console.info(
        f"{'true':>{width}}  recall  precision" + f"  predicted as {heading}" * whole
    )
    for name, row in zip(classes, scores["confusion"], strict=True):
        of_class = scores["per_class"][name]
        line = (
            f"{name:>{width}}  {_share(of_class['recall'])}     "
            f"{_share(of_class['precision'])}"
        )
        counts = "".join(f"{count:>{width}}" for count in row)
        console.info(line + f"{'':15}{counts}" * whole)
    if not whole:
        console.info("what each is taken for is in the JSON that --output writes")


def _share(value: float | None) -> str:
    return "    -" if value is None else f"{value:.3f}"
