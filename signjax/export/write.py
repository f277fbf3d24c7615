"""The files of an export, each compared with the program before it is written."""

from pathlib import Path
from typing import Any

import numpy as np

from signjax.data.image import CropResize
from signjax.evaluation.scores import Evaluation
from signjax.export.card import model_card
from signjax.export.check import (
    TOLERANCES,
    Expected,
    check_palm,
    check_resize,
    of_prepared,
    open_session,
    require_equal,
)
from signjax.export.onnx_model import onnx_model
from signjax.export.palm import palm_model
from signjax.export.record import model_record
from signjax.export.stablehlo import load_stablehlo, to_stablehlo
from signjax.export.trained import RENDERED, Answering, answering
from signjax.hands.network import Network
from signjax.runtime.files import write_bytes, write_json, write_text

ONNX, STABLEHLO, PALM, RECORD, CARD = (
    "model.onnx",
    "model.stablehlo",
    "palm.onnx",
    "model.json",
    "README.md",
)


def write_export(
    directory: Path,
    evaluation: Evaluation,
    precision: str,
    *,
    stablehlo: bool = True,
) -> dict[str, Any]:
    """model.onnx, model.stablehlo where asked for, and model.json, which it returns.

    evaluation: of a model in float32 on one CPU; its answers are what the files are
    compared with, and its scores are told, if its images are not `RENDERED` ones.
    precision: float32 or float16, of the weights. Raises RunError where a file answers
    otherwise.
    """
    model = answering(evaluation.trained, evaluation.calibration)
    data = evaluation.data
    expected = Expected(
        data.images[:],
        data.names or [f"image {i}" for i in range(len(data))],
        evaluation.probabilities,
    )
    onnx = write_onnx(directory, model, expected, precision)
    largest = {ONNX: onnx["largest_difference"]}
    if stablehlo:
        largest[STABLEHLO] = write_stablehlo(directory, model, expected, precision)
    record = model_record(
        evaluation.trained,
        model,
        evaluation.calibration,
        None if evaluation.source == RENDERED else evaluation.scores,
        precision=precision,
        checked={
            "images": evaluation.source,
            "count": len(data),
            "largest_difference": largest,
            "resize_levels": onnx["resize_levels"],
        },
    )
    write_json(directory / RECORD, record)
    return record


def write_card(directory: Path, record: dict[str, Any]) -> None:
    """README.md, which names the files in `directory`."""
    sizes = {path.name: path.stat().st_size for path in directory.iterdir()}
    write_text(directory / CARD, model_card(record, sizes))


def write_onnx(
    directory: Path, model: Answering, expected: Expected, precision: str
) -> dict[str, Any]:
    """Writes model.onnx.

    Returns largest_difference, of a probability, and resize_levels, see `check_resize`.
    Raises RunError where it is not to be kept.
    """
    prepared = model.preprocessing
    written = onnx_model(model, half=precision == "float16")
    largest = require_equal(
        ONNX,
        of_prepared(written),
        expected,
        threshold=model.threshold,
        tolerance=TOLERANCES[precision],
    )
    content = written.SerializeToString()
    levels = check_resize(
        open_session(content),
        expected.images,
        CropResize(prepared.crop, prepared.interpolation),
    )
    write_bytes(directory / ONNX, content)
    return {"largest_difference": largest, "resize_levels": levels}


def write_stablehlo(
    directory: Path, model: Answering, expected: Expected, precision: str
) -> float:
    """Writes model.stablehlo; returns the largest difference of a probability.

    Raises RunError where it is not to be kept.
    """
    content = to_stablehlo(model, half=precision == "float16")
    call = load_stablehlo(content)
    largest = require_equal(
        STABLEHLO,
        lambda images: (np.asarray(call(images)), None),
        expected,
        threshold=model.threshold,
        tolerance=TOLERANCES[precision],
    )
    write_bytes(directory / STABLEHLO, content)
    return largest


def write_palm(directory: Path, network: Network, images: np.ndarray) -> float:
    """Writes palm.onnx; returns the largest difference, in shares of the largest value.

    network: the palm detector. images: uint8 [N, S, S, 3], to check it on. Raises
    RunError where it is not to be kept.
    """
    model = palm_model(network)
    difference = check_palm(model, network, images)
    write_bytes(directory / PALM, model.SerializeToString())
    return difference
