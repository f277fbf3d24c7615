"""--mode=evaluate: a trained model's scores on its own test split or on --data."""

from pathlib import Path
from typing import Any

import numpy as np

from signjax import build
from signjax.data import sources
from signjax.data.dataset import Dataset
from signjax.errors import InputError
from signjax.modes.common import open_model, refuse_arguments, score_images
from signjax.modes.options import Options
from signjax.reporting.logs import Console, write_json
from signjax.workdir import TrainedModel


def run(options: Options) -> None:
    """Prints a table; writes it as JSON to --output."""
    refuse_arguments(options)
    console = Console()
    trained = open_model(options, console)
    data, source = _load(options, trained, console)
    data, left_out = match_classes(data, trained.run.classes)
    scores = score_images(trained.network, trained.state.variables, data) | {
        "data": source,
        "left_out": left_out,
        "trained_on": trained.run.data["source"],
        "step": trained.step,
    }
    _print(console, scores)
    if options.output:
        write_json(options.output, scores)


def _load(
    options: Options, trained: TrainedModel, console: Console
) -> tuple[Dataset, str]:
    """The images to score, and the words for where they came from."""
    if options.data:
        image_size = trained.network.image_size
        path = Path(options.data).expanduser()
        return sources.load_labelled(path, image_size), options.data
    expected = trained.run.data
    if expected["source"] == "ported":
        raise InputError(
            "this model's weights were ported, so it has no test images of its own: "
            "give the images to score by --data"
        )
    splits = build.load_splits(
        trained.run.config, console.warning, source=expected["source"]
    )
    if splits.sha256 != expected["sha256"]:
        raise InputError(
            f"the data found ({splits.source}: {splits.origin}) are not those this "
            f"model was trained with ({expected['source']}: {expected['origin']}), so "
            "its own test split cannot be told: give the images to score by --data"
        )
    return splits.test, f"{splits.source} test"


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
    images = data.images[kept]
    return Dataset(images, labels[kept].astype(np.int32), classes), left_out


def _print(console: Console, scores: dict[str, Any]) -> None:
    low, high = scores["interval95"]
    classes = scores["classes"]
    width = max(5, *(len(name) + 1 for name in classes))
    console.info(f"data      {scores['data']}: {scores['count']} images")
    if scores["left_out"]:
        names = ", ".join(scores["left_out"])
        count = sum(scores["left_out"].values())
        console.info(f"left out  {count} images of classes not known: {names}")
    if scores["trained_on"] == "synthetic":
        console.info("model     trained on synthetic hands")
    console.info(
        f"accuracy  {scores['accuracy']:.4f}, 95% interval {low:.3f} to {high:.3f}"
    )
    if "leak_free" in scores:
        rest = scores["leak_free"]
        console.info(
            f"          {rest['accuracy']:.4f} on the {rest['count']} images that are "
            "not in the training set too"
        )
    console.info(f"loss      {scores['loss']:.4f}")
    console.info("")
    console.info(
        f"{'true':>{width}}  recall  precision  predicted as "
        + "".join(f"{name:>{width}}" for name in classes)
    )
    for name, row in zip(classes, scores["confusion"], strict=True):
        of_class = scores["per_class"][name]
        console.info(
            f"{name:>{width}}  {_share(of_class['recall'])}     "
            f"{_share(of_class['precision'])}               "
            + "".join(f"{count:>{width}}" for count in row)
        )


def _share(value: float | None) -> str:
    return "    -" if value is None else f"{value:.3f}"
