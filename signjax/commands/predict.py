"""--mode=predict: one line an image: path, label, confidence."""

import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from signjax.commands.cli import Options
from signjax.commands.common import model_directory, open_model
from signjax.commands.cut_out import cutter, palm_detector
from signjax.data.listing import list_images
from signjax.errors import InputError, printable
from signjax.evaluation.calibration import (
    Calibration,
    read_calibration,
    why_no_abstention,
)
from signjax.evaluation.metrics import predict_logits, softmax
from signjax.evaluation.sheet import check_sheet, write_sheet
from signjax.runtime.console import Console
from signjax.workdir import TrainedModel

NO_HAND = "no hand found"  # the reason of an answer where a model finds hands itself
_Loaded = TypeVar("_Loaded")


def run(options: Options) -> None:
    """Labels the images that the arguments name; goes on past a bad one.

    Raises InputError at the end if any was bad.
    """
    if options.sheet:
        check_sheet(options.sheet)
    console, directory = Console(results_only=True), model_directory(options)
    trained = open_model(options, console)
    if trained.run.data["source"] == "synthetic":
        console.warning("this model was trained on synthetic hands, not on photographs")
    if trained.experiment.view.hands:
        # Here, as it takes what stands in this file.
        from signjax.commands.predict_hands import predict_hands

        return predict_hands(options, trained, directory, console)
    experiment, size = trained.experiment, trained.experiment.mesh.size
    palm, device = palm_detector(options), experiment.mesh.devices.flat[0]
    photographs, loaded, bad = load_arguments(
        options.arguments,
        cutter(palm, device, experiment.image_size, experiment.crop_resize),
        console,
    )
    if photographs:
        # A photograph has an answer for each hand that was cut out of it.
        cuts = [cut for each in loaded for cut in each]
        images = np.stack([cut.image for cut in cuts])
        paths = [
            path for path, each in zip(photographs, loaded, strict=True) for _ in each
        ]
        logits_of = partial(
            predict_logits,
            experiment.eval_step,
            trained.state.variables,
            # Just enough for them, a multiple of the devices.
            batch_size=min(experiment.eval_batch_size, -(-len(paths) // size) * size),
        )
        with console.if_slow(f"images to answer: {len(paths)}"):
            logits = logits_of(images)
        answer(
            paths,
            logits,
            [{"box": cut.box} if palm else {} for cut in cuts],
            *(options, trained, directory, console),
            images=images,
            logits_of=logits_of,
        )
    refuse_bad(bad, len(photographs))


def answer(
    paths: Sequence[str],
    logits: np.ndarray,
    places: Sequence[dict[str, Any]],
    options: Options,
    trained: TrainedModel,
    directory: Path,
    console: Console,
    **shown: Any,
) -> None:
    """Prints a line for each path, as `answers` and its place have it; the sheet too.

    shown: what `write_sheet` takes of the images.
    """
    calibration = read_calibration(directory, trained.step, console.warning)
    if why := why_no_abstention(calibration):
        console.warning(why)
    found = answers(paths, logits, trained.run.classes, calibration)
    for each, place in zip(found, places, strict=True):
        each |= place
        console.info(json.dumps(each) if options.json else line_of(each))
    if options.sheet:
        write_sheet(
            Path(options.sheet),
            found,
            console=console,
            classes=trained.run.classes,
            model=directory.name,
            note=why or "",
            **shown,
        )
        if not options.json:
            console.info(f"sheet: {options.sheet}")


def refuse_bad(bad: int, read: int) -> None:
    """Raises InputError at the end where files were named on stderr."""
    if bad:
        raise InputError(
            f"{bad} could not be read, for the reasons above; {read} images were"
        )


def load_arguments(
    arguments: tuple[str, ...], load: Callable[[Path], _Loaded], console: Console
) -> tuple[list[str], list[_Loaded], int]:
    """(paths, what `load` makes of each, in threads, number of bad files and folders).

    These are named on stderr.
    """

    def attempt(path: Path) -> _Loaded | InputError:
        try:
            return load(path)
        except InputError as error:
            return error

    found, paths, loaded, bad = [], [], [], 0
    for argument in arguments:
        try:
            found += list_images(argument)
        except InputError as error:
            print(printable(error), file=sys.stderr)
            bad += 1
    total = len(found) + bad
    with (
        ThreadPoolExecutor() as pool,
        console.if_slow(lambda: f"images read: {len(loaded) + bad} of {total}"),
    ):
        for path, result in zip(found, pool.map(attempt, found), strict=True):
            if isinstance(result, InputError):
                print(printable(result), file=sys.stderr)
                bad += 1
            else:
                loaded.append(result)
                paths.append(str(path))
    return paths, loaded, bad


def answers(
    paths: Sequence[str],
    logits: np.ndarray,
    classes: tuple[str, ...],
    calibration: Calibration | None,
) -> list[dict[str, Any]]:
    """What --json prints of each image, from its logits, float [N, C].

    path; label, null where the confidence, the largest of the probabilities, is below
    the calibration's threshold; likeliest, that label whether sure or not; reason,
    why label is null; calibrated, whether the confidence was fitted to held-out images.
    """
    threshold = (calibration and calibration.threshold) or 0.0
    probabilities = calibration.probabilities if calibration else softmax
    found = []
    for path, row in zip(paths, probabilities(logits), strict=True):
        confidence = float(row.max())
        likeliest = classes[int(row.argmax())]
        sure = confidence >= threshold
        answer = {
            "path": path,
            "label": likeliest if sure else None,
            "likeliest": likeliest,
            "confidence": confidence,
            "reason": None if sure else f"confidence below {threshold:.3f}",
            "calibrated": calibration is not None,
            "probabilities": dict(zip(classes, row.tolist(), strict=True)),
        }
        found.append(answer)
    return found


def line_of(answer: dict[str, Any]) -> str:
    """An answer in a line for a person, with the place of its `box` if it has one."""
    path, label, confidence = (answer[k] for k in ("path", "label", "confidence"))
    if answer["reason"] == NO_HAND:
        return f"{path}  unsure  {NO_HAND}"
    line = f"{path}  {label or 'unsure'}  {confidence:.3f}"
    if label is None:
        line += f"  likeliest {answer['likeliest']}, {answer['reason']}"
    if "box" not in answer:
        return line
    if answer["box"] is None:
        return f"{line}  no hand found: of the middle of the picture"
    left, top, right, bottom = (round(x) for x in answer["box"])
    return f"{line}  at {left},{top} to {right},{bottom}"
