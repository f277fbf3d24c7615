"""Splits of synthetic hands: balanced, named, and decided by the seed."""

from typing import Any

import numpy as np
import pytest

from signjax.data.dataset import Splits
from signjax.data.synthetic import synthetic_splits
from tests.helpers.refusals import refused


def splits_of(**changes: Any) -> Splits:
    options = {"seed": 0, "train_size": 64, "test_size": 25, "classes": 10}
    options |= {"image_size": 64, "pose_jitter": 0.0}
    return synthetic_splits(**(options | changes))


def test_splits_are_balanced_and_named_and_follow_the_seed():
    splits = splits_of()
    for part, size in ((splits.train, 64), (splits.test, 25)):
        assert part.images.shape == (size, 64, 64, 3)
        assert (part.images.dtype, part.labels.dtype) == (np.uint8, np.int32)
        counts = np.bincount(part.labels, minlength=10)
        assert counts.max() - counts.min() <= 1
        assert part.classes == tuple("0123456789")
        # Shuffled: a run over the first images meets every digit early.
        assert (np.diff(part.labels) != 1).any()
    images = {image.tobytes() for part in splits[:2] for image in part.images}
    assert len(images) == 64 + 25
    assert (splits.source, splits.origin) == ("synthetic", "synthetic hands, seed 0")
    assert splits_of().sha256 == splits.sha256
    assert splits_of(seed=1).sha256 != splits.sha256
    six = splits_of(classes=6)
    assert six.train.classes == tuple("012345")
    assert set(six.train.labels) == set(range(6))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"test_size": 9}, "synthetic_test is 9, too few for 10 classes: give 10"),
        ({"train_size": 1}, "synthetic_train is 1, too few"),
    ],
)
def test_too_few_images_for_the_classes_are_refused(change, told):
    with refused(told):
        splits_of(**change)
