"""The model card's figures are those of the result file, and of the file in the box."""

from pathlib import Path

import numpy as np
import pytest

from experiments import recogniser, recogniser_card
from experiments.ankara_signers import link_fold
from experiments.rows import sha256
from experiments.runs import opened
from signjax.data.parts import load_labelled
from signjax.runtime.packed import FILE
from signjax.workdir import RECOGNISER, count_trained_on


def test_the_card_shows_what_the_result_file_holds() -> None:
    assert recogniser_card.PAGE.read_text() == recogniser_card.page(recogniser.read())


def test_the_model_in_the_box_is_the_one_that_was_scored() -> None:
    first = recogniser.read()[0]
    assert first["seed"] == 0
    assert first["model_sha256"] == sha256(RECOGNISER / FILE)


def test_what_the_model_in_the_box_learned_from_is_known_again(
    shared: Path, tmp_path: Path
) -> None:
    link_fold(shared / "datasets" / "ankara_digits", 0, tmp_path)
    experiment = opened(RECOGNISER)[0].experiment
    counts = {}
    for part in ("train", "test"):
        data, _ = load_labelled(
            tmp_path / part, experiment.image_size, experiment.crop_resize
        )
        counts[part] = count_trained_on(RECOGNISER, data.images)
    assert counts == {"train": recogniser.read()[0]["train_count"], "test": 0}


@pytest.mark.parametrize(
    ("right", "risk", "coverage"),
    [
        ([1, 1, 1, 1], 0.0, 1.0),
        ([1, 1, 0, 1], 0.0, 0.5),
        ([1, 1, 0, 1], 0.25, 1.0),  # one of four
        ([0, 1, 1, 1], 0.0, 0.0),
        ([0, 1, 1, 1], 0.34, 1.0),
    ],
)
def test_coverage_counts_from_the_most_confident(
    right: list[int], risk: float, coverage: float
) -> None:
    order = [2, 0, 3, 1]  # not sorted by confidence
    confidence = np.array([0.9, 0.8, 0.7, 0.6])[order]
    found = recogniser_card.coverage_at(risk, np.array(right, bool)[order], confidence)
    assert found == coverage
