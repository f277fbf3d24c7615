"""--mode=evaluate: a trained model's scores on its own test split or on --data."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from signjax.commands.cli import Options
from signjax.commands.common import load_given, load_own_splits, open_model
from signjax.data.dataset import Dataset, match_classes
from signjax.data.load import hold_out_validation
from signjax.errors import InputError
from signjax.evaluation.calibration import read_calibration
from signjax.evaluation.report import FILE as REPORT_FILE
from signjax.evaluation.report import Findings, audit_path, audit_splits, write_report
from signjax.evaluation.scores import Evaluation, format_share
from signjax.runtime.bucket import as_path
from signjax.runtime.console import Console
from signjax.runtime.files import write_json, write_text
from signjax.workdir import TrainedModel

_MOST_PRINTED = 20  # classes


def run(options: Options) -> None:
    """Prints a table; writes it to --output, and a report as HTML.

    The output is JSON, or, where its name ends in .csv, a row an image.
    """
    _refuse_page(options.output)
    console = Console()
    directory = as_path(options.workdir)
    trained = open_model(options, console)
    with console.if_slow("reading the data"):
        data, source, audit = _load(options, trained, console)
    data, left_out = match_classes(data, trained.run.classes)
    calibration = read_calibration(directory, trained.step, console.warning)
    evaluation = Evaluation(directory, trained, data, source, calibration, left_out)
    with console.if_slow(f"evaluating {len(data)} images"):
        scores = evaluation.scores
    for heading, text in evaluation.describe().items():
        console.info(f"{heading:9} {text}")
    _print_classes(console, scores)
    if Path(options.output).suffix.lower() == ".csv":
        write_text(options.output, evaluation.csv())
    elif options.output:
        write_json(options.output, scores)
    write_report(_report_path(options, directory), evaluation, console, audit=audit)


def _refuse_page(output: str) -> None:
    if Path(output).suffix.lower() in (".html", ".htm"):
        json_file = Path(output).with_suffix(".json")
        raise InputError(
            f"--output={output}: the scores are JSON or CSV, and the page is written "
            f"beside them by their name: give --output={json_file}"
        )


def _report_path(options: Options, directory: Path) -> Path:
    """Beside the output, as report_scores.html of scores.json; else in the workdir.

    There pages of the last and the best model, of its own test and of other data do
    not replace each other; that of --data=photos/test is report_photos_test.html.
    """
    output = Path(options.output)
    if output.is_file():
        stem = (
            output.stem if output.suffix.lower() in (".json", ".csv") else output.name
        )
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
) -> tuple[Dataset, str, Callable[[], Findings]]:
    """The images to score, the words for where they came from, and what audits them."""
    if options.data:
        data = load_given(options, trained, console)
        return data, options.data, partial(audit_path, options.data, console)
    splits = load_own_splits(as_path(options.workdir), trained.run, console.warning)
    config = trained.run.config
    return (
        splits.test,
        f"{splits.source} test",
        lambda: audit_splits(hold_out_validation(config, splits)),
    )


def _print_classes(console: Console, scores: dict[str, Any]) -> None:
    classes = scores["classes"]
    width = max(5, *(len(name) + 1 for name in classes))
    # A line of more classes is wider than a window.
    whole = len(classes) <= _MOST_PRINTED

    def columns(values: Iterable[object]) -> str:
        return "".join(f"{value:>{width}}" for value in values) * whole

    console.info("")
    heading = "  predicted as " * whole + columns(classes)
    console.info(f"{'true':>{width}}  recall  precision{heading}")
    for name, row in zip(classes, scores["confusion"], strict=True):
        of_class = scores["per_class"][name]
        recall, precision = (format_share(of_class[x]) for x in ("recall", "precision"))
        line = f"{name:>{width}}  {recall:>5}     {precision:>5}{'':15}{columns(row)}"
        console.info(line.rstrip())
    if not whole:
        console.info("what each is taken for is in the JSON that --output writes")
