"""Scores of a calibrated model by hand, and what they are told as."""

import csv
import dataclasses
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from signjax.data.dataset import Dataset
from signjax.evaluation.calibration import Calibration
from signjax.evaluation.metrics import softmax
from signjax.evaluation.scores import Evaluation

FITTED = Calibration(
    step=4,
    count=100,
    temperature=2.0,
    threshold=0.6,
    risk=0.05,
    loss=(1.0, 0.9),
    ece=(0.2, 0.1),
)
# At temperature 2 the confidences are 3/4, 1/2 and 9/11.
LOGITS = 2 * np.log(np.array([[3.0, 0.5, 0.5], [1.0, 0.5, 0.5], [0.5, 0.5, 4.5]]))
DATA = Dataset(
    images=np.zeros((3, 2, 2, 3), np.uint8),
    labels=np.array([0, 0, 1], np.int32),
    classes=("a", "b", "c"),
    names=("=a/1.png", "a/\r2.png", 'b/"x",3.png'),
)


def evaluation_of(directory: Path, calibration: Calibration | None) -> Evaluation:
    """Of a model that answers LOGITS, in a workdir that says nothing of its data."""
    run = SimpleNamespace(data={"source": "signs"})
    trained: Any = SimpleNamespace(run=run, step=4)
    evaluation = Evaluation(directory, trained, DATA, "photos", calibration)
    vars(evaluation)["logits"] = LOGITS
    return evaluation


def test_the_scores_of_a_calibrated_model(tmp_path: Path) -> None:
    scores = evaluation_of(tmp_path, FITTED).scores["calibrated"]
    assert scores["temperature"] == 2.0
    likelihoods = [3 / 4, 1 / 2, 1 / 11]
    assert scores["loss"] == pytest.approx(-np.mean(np.log(likelihoods)))
    # Three images are three bins.
    assert scores["ece"] == pytest.approx((1 / 4 + 1 / 2 + 9 / 11) / 3)
    assert scores["selective"]["coverage"] == pytest.approx(2 / 3)
    assert scores["selective"]["accuracy"] == 0.5


def test_each_image_has_an_entry_and_a_row(tmp_path: Path) -> None:
    evaluation = evaluation_of(tmp_path, FITTED)
    told = evaluation.scores["images"]
    assert [image["index"] for image in told] == [0, 1, 2]
    assert [image["path"] for image in told] == list(DATA.names or ())
    assert [image["true"] for image in told] == ["a", "a", "b"]
    assert [image["predicted"] for image in told] == ["a", "a", "c"]
    confidences = [image["confidence"] for image in told]
    assert confidences == pytest.approx([3 / 4, 1 / 2, 9 / 11])
    rows = list(csv.DictReader(io.StringIO(evaluation.csv(), newline="")))
    assert rows == [{key: str(value) for key, value in entry.items()} for entry in told]
    (first, *_) = evaluation_of(tmp_path, None).scores["images"]
    assert first["confidence"] == pytest.approx(softmax(LOGITS)[0, 0])


def test_they_are_told_with_why_the_model_cannot_abstain(tmp_path: Path) -> None:
    told = evaluation_of(tmp_path, FITTED).describe()
    assert told["coverage"].startswith("66.7% of the images")
    assert "abstains" not in told
    told = evaluation_of(tmp_path, None).describe()
    assert "validation_fraction" in told["abstains"]
    unmet = dataclasses.replace(FITTED, risk=None)
    told = evaluation_of(tmp_path, unmet).describe()
    assert told["coverage"].startswith("66.7% of the images")
    assert "over 5% of the answers may be wrong" in told["abstains"]
