"""--mode=predict: one line an image: path, label, confidence."""

import json
import sys

import numpy as np

from signjax.data.image import list_images, load_image
from signjax.errors import InputError
from signjax.modes.common import open_model
from signjax.modes.options import Options
from signjax.reporting.logs import Console
from signjax.training.evaluation import predict_logits, softmax


def run(options: Options) -> None:
    """Labels the images that the arguments name; goes on past a bad one.

    Raises InputError at the end if any was bad.
    """
    if not options.arguments:
        raise InputError(
            "no image is named: expected files or folders, as in --mode=predict "
            "--workdir=runs/resnet photo.jpg"
        )
    console = Console()
    trained = open_model(options, console)
    if trained.run.data["source"] == "synthetic":
        console.warning("this model was trained on synthetic hands, not on photographs")
    paths, images, bad = _load(options.arguments, trained.network.image_size)
    if paths:
        network = trained.network
        logits = predict_logits(
            network.eval_step,
            trained.state.variables,
            np.stack(images),
            _batch_size(len(paths), network.eval_batch_size, network.mesh.size),
        )
        for path, row in zip(paths, softmax(logits), strict=True):
            console.info(_line(path, row, trained.run.classes, options.json))
    if bad:
        raise InputError(f"{bad} of {bad + len(paths)} images could not be read")


def _load(
    arguments: tuple[str, ...], image_size: int
) -> tuple[list[str], list[np.ndarray], int]:
    """(paths, images, number of bad ones); bad ones are named on stderr."""
    paths, images, bad = [], [], 0
    for argument in arguments:
        try:
            found = list_images(argument)
        except InputError as error:
            print(error, file=sys.stderr)
            bad += 1
            continue
        for path in found:
            try:
                images.append(load_image(path, image_size))
                paths.append(str(path))
            except InputError as error:
                print(error, file=sys.stderr)
                bad += 1
    return paths, images, bad


def _batch_size(count: int, largest: int, device_count: int) -> int:
    """Just enough for `count` images, a multiple of device_count, up to largest."""
    return min(largest, -(-count // device_count) * device_count)


def _line(
    path: str, probabilities: np.ndarray, classes: tuple[str, ...], as_json: bool
) -> str:
    best = int(probabilities.argmax())
    confidence = float(probabilities[best])
    if not as_json:
        return f"{path}  {classes[best]}  {confidence:.3f}"
    return json.dumps(
        {
            "path": path,
            "label": classes[best],
            "confidence": confidence,
            "probabilities": dict(zip(classes, probabilities.tolist(), strict=True)),
        }
    )
