"""--mode=predict of a model of hands: a line a hand, and where it is."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from signjax.commands.cli import Options
from signjax.commands.predict import NO_HAND, answer, load_arguments, refuse_bad
from signjax.data.image import CropResize, load_image, seen_square, upright_size
from signjax.errors import InputError
from signjax.evaluation.metrics import predict_logits
from signjax.hands.find import Hand
from signjax.hands.inputs import draw
from signjax.hands.pose import RECORD, to_record
from signjax.runtime.console import Console
from signjax.workdir import TrainedModel

SIDE = 512  # pixels of a photograph's longer side; far hands need more than training's


def predict_hands(
    options: Options, trained: TrainedModel, directory: Path, console: Console
) -> None:
    """Labels each hand of the images that the arguments name, as `predict.run`."""
    if options.weights:
        raise InputError(
            f"--weights={options.weights}: this model finds hands by networks of its "
            "own: leave it out"
        )
    experiment = trained.experiment
    paths, images, bad = load_arguments(
        options.arguments,
        partial(load_image, size=SIDE, crop_resize=experiment.crop_resize),
        console,
    )
    if paths:
        assert experiment.view.hands
        with console.if_slow(f"images to find hands in: {len(images)}"):
            found = experiment.view.hands.hands(np.stack(images))
        # An image without a hand has one answer too.
        owners = [i for i, hands in enumerate(found) for _ in hands or [None]]
        every: list[Hand | None] = [hand for hands in found for hand in hands or [None]]
        records = [to_record(x) if x else np.zeros(RECORD, np.float32) for x in every]
        owned = [paths[i] for i in owners]
        logits_of = partial(
            predict_logits,
            experiment.eval_step,
            trained.state.variables,
            batch_size=experiment.eval_batch_size,
        )
        answer(
            owned,
            logits_of(np.stack(records)),
            [
                place(hand, upright_size(path), experiment.crop_resize)
                for path, hand in zip(owned, every, strict=True)
            ],
            *(options, trained, directory, console),
            images=[images[i] for i in owners],
            logits_of=logits_of,
            looked=_drawn(images, owners, every) if options.sheet else (),
        )
    refuse_bad(bad, len(paths))


def place(
    hand: Hand | None, size: tuple[int, int], crop_resize: CropResize
) -> dict[str, Any]:
    """What --json says of where a hand is, in the pixels of a photograph of that size.

    box: left, top, right, bottom; landmarks: 21 pairs of x and y; presence: in [0, 1].
    All null where there is no hand, and so is the label.
    """
    if hand is None:
        return {
            **{"box": None, "landmarks": None, "presence": None},
            **{"label": None, "reason": NO_HAND},
        }
    left, top, side = seen_square(*size, SIDE, crop_resize)
    points = hand.landmarks[:, :2] * (side / SIDE) + (left, top)
    box = [*points.min(axis=0).tolist(), *points.max(axis=0).tolist()]
    return {
        "box": [round(x, 1) for x in box],
        "landmarks": np.round(points, 1).tolist(),
        "presence": round(hand.presence, 4),
    }


def _drawn(
    images: Sequence[np.ndarray], owners: Sequence[int], hands: Sequence[Hand | None]
) -> list[np.ndarray]:
    pairs = zip(owners, hands, strict=True)
    return [draw(images[i], [hand] if hand else []) for i, hand in pairs]
