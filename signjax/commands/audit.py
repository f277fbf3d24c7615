"""--mode=audit: copies, leaks between splits, balance and odd images of --data."""

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from signjax.commands.cli import Options
from signjax.data.audit import audit, describe_audit
from signjax.data.dataset import Dataset, match_classes
from signjax.data.parts import deeper_images, open_parts
from signjax.data.stream import ImagesOnDisk
from signjax.errors import InputError
from signjax.runtime.bucket import as_path
from signjax.runtime.console import Console
from signjax.runtime.files import write_json

_MOST_PRINTED = 12  # disputed labels


def run(options: Options) -> None:
    """Prints what is found; writes it as JSON to --output. Findings are no failure.

    With --workdir, also the labels that its model firmly disputes, shown in --sheet.
    """
    for flag in ("sheet", "best"):
        if getattr(options, flag) and not options.workdir:
            raise InputError(
                f"--{flag} is about the labels that a model disputes: name the model "
                f"with --workdir=DIR, or leave --{flag} out"
            )
    if options.sheet:
        # Here, as it brings jax, which an audit does without.
        from signjax.evaluation.sheet import check_sheet

        check_sheet(options.sheet)
    console = Console()
    with console.if_slow("looking over the data"):
        splits, left_out = open_parts(options.data, nested=True)
        report = audit(options.data, splits, left_out)
    for line in describe_audit(report):
        console.info(line)
    if deeper := deeper_images(splits):
        console.info(
            f"deeper       {len(deeper)} images are in folders within a class folder, "
            f"as {deeper[0]}, and bear its label"
        )
    if options.workdir:
        report["disputed"] = _dispute(options, splits, console)
    if options.output:
        write_json(Path(options.output), report)


def _dispute(
    options: Options, splits: Mapping[str, Dataset], console: Console
) -> list[dict[str, Any]]:
    """The images whose label the model disputes, the most confident first."""
    # Here, as above.
    from signjax.commands.common import open_model
    from signjax.evaluation.calibration import read_calibration
    from signjax.evaluation.metrics import logits_of
    from signjax.evaluation.scores import FIRM, Evaluation
    from signjax.evaluation.sheet import write_sheet
    from signjax.workdir import count_trained_on

    directory, trained = as_path(options.workdir), open_model(options, console)
    calibration = read_calibration(directory, trained.step, console.warning)
    experiment, classes = trained.experiment, trained.run.classes
    pixels = experiment.image_size, experiment.crop_resize
    found, known, left_out = [], 0, Counter()
    knows = [split for split, part in splits.items() if _shown(part) & set(classes)]
    for split, part in splits.items():
        if knows and split not in knows:
            left_out.update(part.classes[label] for label in part.labels)
            continue
        data, unknown = match_classes(part, classes)
        left_out.update(unknown)
        if not len(data := _readable(data.resized(*pixels, stream=True))):
            continue
        evaluation = Evaluation(directory, trained, data, split, calibration)
        with console.if_slow(f"images to ask the model about: {len(data)}"):
            found += [(x, data.images[x["index"]]) for x in evaluation.disputed()]
        known += count_trained_on(directory, data.images) or 0
    found.sort(key=lambda pair: -pair[0]["confidence"])
    disputed = [entry for entry, _ in found]
    console.info(
        f"disputed     {len(found) or 'none'} (the model says otherwise with a "
        f"confidence of {FIRM} or more)"
    )
    if left_out:
        console.info(
            f"not asked    {left_out.total()} images of classes that the model does "
            f"not know: {', '.join(left_out)}"
        )
    if known:
        console.info(
            f"known        {known} images were trained on or held out for validation: "
            "the model seldom disputes their labels"
        )
    for entry in disputed[:_MOST_PRINTED]:
        console.info(
            f"  {entry['path']}: labeled {entry['true']}, the model says "
            f"{entry['predicted']} with {entry['confidence']:.3f}"
        )
    if len(found) > _MOST_PRINTED:
        console.info(f"  and {len(found) - _MOST_PRINTED} more")
    if options.sheet and not found:
        console.info("sheet: not written, as no label is disputed")
    elif options.sheet:
        answers = [
            {
                **entry,
                "label": entry["predicted"],
                "likeliest": entry["predicted"],
            }
            for entry in disputed
        ]
        images = np.stack([image for _, image in found])
        write_sheet(
            Path(options.sheet),
            answers,
            images,
            partial(logits_of, experiment, trained.state.variables),
            console,
            classes=classes,
            model=directory.name,
            looked=experiment.view.hands.drawn(images) if experiment.view.hands else (),
        )
        console.info(f"sheet: {options.sheet}")
    return disputed


def _shown(data: Dataset) -> set[str]:
    """The classes that have images."""
    return {data.classes[label] for label in data.labels}


def _readable(data: Dataset) -> Dataset:
    """In memory, without the images that cannot be read, which the audit names."""
    if not isinstance(data.images, ImagesOnDisk):
        return data

    def read(index: int) -> np.ndarray | None:
        try:
            return data.images[index]
        except InputError:
            return None

    with ThreadPoolExecutor() as pool:
        images = list(pool.map(read, range(len(data))))
    kept = [i for i, image in enumerate(images) if image is not None]
    pixels = np.array([images[i] for i in kept], np.uint8)
    return replace(data.take(np.array(kept, np.int64)), images=pixels)
