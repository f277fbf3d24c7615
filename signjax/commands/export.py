"""--mode=export: a trained model for other programs, checked, in a folder."""

from pathlib import Path
from shlex import quote
from typing import Any

import jax
import numpy as np

from signjax.commands.cli import Options
from signjax.commands.common import (
    load_given,
    load_own_splits,
    model_directory,
    open_model,
    require_packages,
)
from signjax.commands.cut_out import palm_detector
from signjax.data.dataset import Dataset, match_classes
from signjax.data.image import resize_images
from signjax.errors import InputError, RunError
from signjax.evaluation.calibration import read_calibration, why_no_abstention
from signjax.evaluation.scores import Evaluation
from signjax.export.trained import RENDERED, in_float32
from signjax.runtime.bucket import as_path
from signjax.runtime.console import Console
from signjax.runtime.files import new_folder
from signjax.runtime.machine import core_count, processor
from signjax.synthetic.render import render_hands
from signjax.workdir import TrainedModel

PACKAGES = ("onnx", "onnxruntime", "flatbuffers")
_RENDERED_COUNT = 32


def run(options: Options) -> None:
    """Writes --output, or nothing where the export answers otherwise than signjax."""
    require_packages("export", PACKAGES)
    from signjax.export.page import onnxruntime_web, write_page
    from signjax.export.write import write_card, write_export, write_palm

    if options.weights and not options.page:
        raise InputError(
            f"--weights={options.weights} is for the page alone: add --page, or leave "
            "it out"
        )
    console = Console()
    with new_folder(Path(options.output).resolve()) as directory:
        tarball = onnxruntime_web() if options.page else None
        evaluation = evaluation_to_export(options, console)
        palm = palm_detector(options) if options.page else None
        with console.if_slow("writing and checking the model"):
            record = write_export(directory, evaluation, options.precision)
            checked = [describe_check(record["checked"])]
            if palm:
                difference = write_palm(directory, palm, evaluation.data.images[:3])
                checked.append(f"palm.onnx {difference:.1e} of the largest value")
        if tarball is not None:
            write_page(directory, tarball)
        write_card(directory, record)
        with console.if_slow("timing it"):
            speed = _describe_speed(directory, evaluation)
        sizes = [
            f"{path.name} {path.stat().st_size / 1e6:.2f} MB"
            for path in sorted(directory.glob("model.*"))
            + sorted(directory.glob("palm.*"))
        ]
    console.header(
        {
            "model": f"{record['name']}, {record['network']}, {record['precision']}",
            "checked": "; ".join(checked),
            "speed": speed,
            "written": f"{options.output}: {', '.join(sizes)}",
        }
    )
    if options.page:
        folder = quote(options.output)
        console.info(f"to see the page: python -m http.server --directory {folder}")


def evaluation_to_export(options: Options, console: Console) -> Evaluation:
    """The model in float32 on the CPU, with images to check it on."""
    directory = model_directory(options)
    trained = in_float32(open_model(options, console))
    calibration = read_calibration(directory, trained.step, console.warning)
    if why := why_no_abstention(calibration):
        console.warning(why)
    with console.if_slow("reading the data"):
        data, source = _images(options, trained, console)
        data, left_out = match_classes(data, trained.run.classes)
    return Evaluation(directory, trained, data, source, calibration, left_out)


def _images(
    options: Options, trained: TrainedModel, console: Console
) -> tuple[Dataset, str]:
    """The images to check on and where they are from: --data, or its own test split.

    Where there are none, synthetic hands, after telling so.
    """
    experiment, run = trained.experiment, trained.run
    if options.data:
        return load_given(options, trained, console), Path(options.data).name
    try:
        if not options.workdir:
            raise InputError("the package comes without the photographs of its tests")
        splits = load_own_splits(as_path(options.workdir), run, console.warning)
        return splits.test, f"{splits.source} test"
    except (InputError, RunError) as error:
        console.warning(f"checked on {RENDERED}, and no scores are told: {error}")
    digits = np.arange(_RENDERED_COUNT) % 10
    # Large ones take minutes to render, and show no more.
    hands = np.asarray(render_hands(jax.random.key(0), digits, size=64))
    images = resize_images(hands, experiment.image_size)
    labels = np.zeros(_RENDERED_COUNT, np.int32)
    return Dataset(images, labels, run.classes), RENDERED


def describe_check(checked: dict[str, Any]) -> str:
    """What model.json says of the check, for a person."""
    largest = ", ".join(
        f"{name} within {difference:.1e}"
        for name, difference in checked["largest_difference"].items()
    )
    return (
        f"{checked['count']} images ({checked['images']}): the same labels, "
        f"probabilities of {largest}"
    )


def _describe_speed(directory: Path, evaluation: Evaluation) -> str:
    """The time of one answer, of the export and of this program."""
    from signjax.export.speed import TIMED_CALLS, milliseconds, onnx_milliseconds
    from signjax.export.write import ONNX

    trained, image = evaluation.trained, evaluation.data.images[:1]
    variables = jax.device_put(trained.state.variables, trained.experiment.devices[0])
    own = milliseconds(
        lambda: jax.block_until_ready(trained.experiment.eval_step(variables, image))
    )
    exported = onnx_milliseconds(directory / ONNX, image)
    return (
        f"one image, ONNX Runtime {np.median(exported):.2f} ms, signjax "
        f"{np.median(own):.2f} ms (medians of {TIMED_CALLS}; {processor()}, "
        f"{core_count()} cores)"
    )
