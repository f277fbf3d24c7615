"""Whether an exported model answers as the program does."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
import onnx
import onnxruntime
from onnx.utils import Extractor
from PIL import Image

from signjax.data.image import CropResize, square_resize
from signjax.errors import RunError, listed
from signjax.export import palm
from signjax.export.onnx_model import LABEL, PHOTOGRAPH, PROBABILITIES, SEEN, UNSURE
from signjax.hands import boxes
from signjax.hands.network import Network
from signjax.runtime.machine import core_count

# The largest difference of a probability, by the precision of the weights.
TOLERANCES = {"float32": 1e-4, "float16": 2e-3}
_BATCH = 32
# Photographs that the resize is checked on, width and height in pixels.
_PHOTOGRAPHS = ((640, 480), (333, 500), (40, 48))
_MOST_LEVELS = 2
_PALM_TOLERANCE = 1e-4  # of the detector's outputs, in shares of the largest

Answer = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]


class Expected(NamedTuple):
    """The program's own answers to N images.

    images: uint8 [N, S, S, 3]. names: what to call each. probabilities: [N, C].
    """

    images: np.ndarray
    names: Sequence[str]
    probabilities: np.ndarray


def require_equal(
    name: str,
    answer: Answer,
    expected: Expected,
    *,
    threshold: float,
    tolerance: float,
) -> float:
    """How far a probability of `answer` is off at most.

    answer: uint8 [B, S, S, 3] -> (probabilities [B, C], labels [B] with -1 for unsure,
    or None where it gives none). Raises RunError, saying what differs, where the file
    `name` is not to be kept: a probability by more than the tolerance, the likeliest
    class, or whether it is unsure, unless the confidence is that near the threshold.
    """
    images, own = expected.images, expected.probabilities
    count, batches = len(images), -(-len(images) // _BATCH)
    # The last batch begins anew, as StableHLO is compiled for each size.
    filled = np.resize(images, (batches * _BATCH, *images.shape[1:]))
    found = [answer(batch) for batch in np.split(filled, batches)]
    probabilities = np.concatenate([part for part, _ in found])[:count]
    # A value that is no number differs from every number.
    largest = np.nan_to_num(np.abs(probabilities - own), nan=np.inf).max()
    wrong = []
    if largest > tolerance:
        wrong.append(f"a probability differs by {largest:.2g}, more than {tolerance:g}")
    differs = {
        "the likeliest class": probabilities.argmax(axis=1) != own.argmax(axis=1)
    }
    if labels := [part for _, part in found if part is not None]:
        said, confidence = np.concatenate(labels)[:count], own.max(axis=1)
        clear = np.abs(confidence - threshold) > tolerance
        differs["whether it is unsure"] = clear & (
            (said == UNSURE) != (confidence < threshold)
        )
    for text, which in differs.items():
        if which.any():
            names = [expected.names[i] for i in np.flatnonzero(which).tolist()]
            wrong.append(f"{text} differs on {len(names)}: {listed(names, 3)}")
    if wrong:
        raise RunError(
            f"{name} does not answer as the program does, so nothing was written: "
            f"{'; '.join(wrong)}. With --precision=float16 try float32; else please "
            "report it"
        )
    return float(largest)


def open_session(content: bytes) -> onnxruntime.InferenceSession:
    """ONNX Runtime, with a model, on the cores of this process."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = core_count()
    options.log_severity_level = 3  # no warnings of how it optimizes
    return onnxruntime.InferenceSession(
        content, options, providers=["CPUExecutionProvider"]
    )


def of_prepared(model: onnx.ModelProto) -> Answer:
    """What the model answers to images that are prepared: its nodes after the resize.

    Test images are kept as they came out of the program's own crop and resize.
    """
    network = Extractor(model).extract_model([SEEN], [PROBABILITIES, LABEL])
    session = open_session(network.SerializeToString())

    def answer(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        probabilities, labels = session.run([PROBABILITIES, LABEL], {SEEN: images})
        return np.asarray(probabilities), np.asarray(labels)

    return answer


def check_resize(
    session: onnxruntime.InferenceSession, images: np.ndarray, crop_resize: CropResize
) -> int:
    """Levels of 255 between what the model sees of photographs and what predict does.

    images: uint8 [N, S, S, 3], which photographs of several shapes are made of. Raises
    RunError where the levels are more than rounding explains.
    """
    levels = 0
    for image, shape in zip(images, _PHOTOGRAPHS, strict=False):
        photograph = Image.fromarray(image).resize(shape)
        own = square_resize(photograph, images.shape[1], crop_resize)
        (outputs,) = session.run([SEEN], {PHOTOGRAPH: np.asarray(photograph)[None]})
        seen = np.asarray(outputs)[0].astype(int)
        levels = max(levels, int(np.abs(seen - own).max()))
    if levels > _MOST_LEVELS:
        raise RunError(
            "model.onnx does not resize photographs as the program does, so nothing "
            f"was written: a value differs by {levels} levels of 255; please report it"
        )
    return levels


def check_palm(model: onnx.ModelProto, network: Network, images: np.ndarray) -> float:
    """How far the outputs of `palm.palm_model` differ, in shares of the largest.

    images: uint8 [N, S, S, 3], which photographs of several shapes are made of. Raises
    RunError where it does not look, answer or place a box as the program does.
    """
    whole = open_session(model.SerializeToString())
    after = Extractor(model).extract_model(
        [PHOTOGRAPH, palm.RAW, palm.LOGITS], [palm.BOX]
    )
    placing = open_session(after.SerializeToString())
    finder = boxes.make_box_finder(network, jax.devices("cpu")[0])
    largest = 0.0
    for image, shape in zip(images, _PHOTOGRAPHS, strict=False):
        photograph = np.asarray(Image.fromarray(image).resize(shape))
        given = {PHOTOGRAPH: photograph[None]}
        view, *outputs = map(
            np.asarray, whole.run([palm.VIEW, palm.RAW, palm.LOGITS], given)
        )
        seen = view[0].transpose(1, 2, 0)
        levels = 255 * np.abs(seen - boxes.view(photograph)).max()
        own = finder.palm(finder.params, seen[None])
        for output, wanted in zip(outputs, map(np.asarray, own), strict=True):
            error = np.abs(output - wanted).max() / np.abs(wanted).max()
            largest = max(largest, float(np.nan_to_num(error, nan=np.inf)))
        places, scores = boxes.boxes(*own, np.array(shape, np.int32))
        wanted = np.asarray(places)[0] * (np.asarray(scores)[0] > 0)
        raw, logits = map(np.asarray, own)
        (box,) = placing.run(None, {**given, palm.RAW: raw, palm.LOGITS: logits})
        if levels > _MOST_LEVELS or np.abs(np.asarray(box) - wanted).max() > 1:
            largest = np.inf
    if largest > _PALM_TOLERANCE:
        raise RunError(
            "palm.onnx does not find hands as the program does, so nothing was "
            f"written: it differs by {largest:.2g}; please report it"
        )
    return largest
