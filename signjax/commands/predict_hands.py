"""--mode=predict of a model of hands: a line a hand, and where it is."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from signjax.commands.cli import Options
from signjax.commands.predict import answers, line_of, load_arguments, refuse_bad
from signjax.data.image import load_image, upright_size
from signjax.errors import InputError
from signjax.evaluation.calibration import read_calibration, why_no_abstention
from signjax.evaluation.metrics import predict_logits
from signjax.evaluation.sheet import write_sheet
from signjax.hands.find import Hand
from signjax.hands.inputs import draw
from signjax.hands.pose import RECORD, to_record
from signjax.runtime.bucket import as_path
from signjax.runtime.console import Console
from signjax.workdir import TrainedModel

SIDE = 512  # pixels of a photograph's longer side; far hands need more than training's


def predict_hands(options: Options, trained: TrainedModel, console: Console) -> None:
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
        calibration = read_calibration(
            as_path(options.workdir), trained.step, console.warning
        )
        if why := why_no_abstention(calibration):
            console.warning(why)
        assert experiment.view.hands
        with console.if_slow(f"images to find hands in: {len(images)}"):
            found = experiment.view.hands.hands(np.stack(images))
        # An image without a hand has one answer too.
        owners = [i for i, hands in enumerate(found) for _ in hands or [None]]
        every: list[Hand | None] = [hand for hands in found for hand in hands or [None]]
        records = [to_record(x) if x else np.zeros(RECORD, np.float32) for x in every]
        logits = predict_logits(
            experiment.eval_step,
            trained.state.variables,
            np.stack(records),
            experiment.eval_batch_size,
        )
        given = answers(
            [paths[i] for i in owners], logits, trained.run.classes, calibration
        )
        for answer, hand in zip(given, every, strict=True):
            answer |= place(hand, upright_size(answer["path"]))
            if hand is None:
                answer |= {"label": None, "reason": "no hand found"}
            console.info(json.dumps(answer) if options.json else _line(answer))
        if options.sheet:
            write_sheet(
                Path(options.sheet),
                given,
                np.stack([images[i] for i in owners]),
                lambda images: np.zeros(0),
                console,
                classes=trained.run.classes,
                model=Path(options.workdir).name,
                note=why or "",
                looked=_drawn(images, owners, every),
            )
            if not options.json:
                console.info(f"sheet: {options.sheet}")
    refuse_bad(bad, len(paths))


def place(hand: Hand | None, size: tuple[int, int]) -> dict[str, Any]:
    """What --json says of where a hand is, in the pixels of a photograph of that size.

    box: left, top, right, bottom; landmarks: 21 pairs of x and y; presence: in [0, 1].
    All null where there is no hand.
    """
    if hand is None:
        return {"box": None, "landmarks": None, "presence": None}
    scale = SIDE / max(size)
    bars = [(SIDE - round(scale * side)) // 2 for side in size]
    points = (hand.landmarks[:, :2] - bars) / scale
    box = [*points.min(axis=0).tolist(), *points.max(axis=0).tolist()]
    return {
        "box": [round(x, 1) for x in box],
        "landmarks": np.round(points, 1).tolist(),
        "presence": round(hand.presence, 4),
    }


def _line(answer: dict[str, Any]) -> str:
    if answer["box"] is None:
        return f"{answer['path']}  unsure  no hand found"
    return line_of(answer)


def _drawn(
    images: Sequence[np.ndarray], owners: Sequence[int], hands: Sequence[Hand | None]
) -> list[np.ndarray]:
    pairs = zip(owners, hands, strict=True)
    return [draw(images[i], [hand] if hand else []) for i, hand in pairs]
