"""The model card's figures are those of the result file, and of the file in the box."""

import numpy as np
import pytest

from experiments import recogniser, recogniser_card
from experiments.rows import sha256
from signjax.runtime.packed import FILE
from signjax.workdir import RECOGNISER


def test_the_card_shows_what_the_result_file_holds() -> None:
    assert recogniser_card.PAGE.read_text() == recogniser_card.page(recogniser.read())


def test_the_model_in_the_box_is_the_one_that_was_scored() -> None:
    first = recogniser.read()[0]
    assert first["seed"] == 0
    assert first["model_sha256"] == sha256(RECOGNISER / FILE)


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
