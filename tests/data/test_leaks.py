"""The leak between SIGNS' test and training images, against the pixels themselves."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from signjax.data.dataset import Dataset
from signjax.data.leaks import SIGNS_TEST_LEAKS, leak_free
from signjax.data.signs import read_signs


def test_the_listed_images_are_those_that_are_in_the_training_set(
    shared: Path,
) -> None:
    train, test = read_signs(shared / "datasets")
    known = train.images.reshape(len(train.images), -1).astype(np.float32)
    distances = []
    for image in test.images.reshape(len(test.images), -1).astype(np.float32):
        squares = np.mean((known - image) ** 2, axis=1)
        distances.append(float(np.sqrt(squares.min())))
    # Between the worst leak (4.6) and the next frame of a burst (6.2).
    twins = np.flatnonzero(np.array(distances) < 5.0)
    assert tuple(twins) == SIGNS_TEST_LEAKS
    assert set(test.labels[twins]) == {0}


def test_the_rest_is_told_apart_at_any_resolution_and_nothing_else_is(
    shared: Path,
) -> None:
    train, test = read_signs(shared / "datasets")
    small = replace(test, images=test.images[:, ::2, ::2])
    for data in (test, small):
        kept = leak_free(data)
        assert kept is not None
        assert len(kept) == 108
        assert not set(kept) & set(SIGNS_TEST_LEAKS)
    # Source digits has other images before it.
    joined = train.take(np.arange(30)).join(test)
    after = leak_free(joined)
    kept = leak_free(test)
    assert after is not None and kept is not None
    assert after.tolist() == [*range(30), *(30 + kept)]
    assert leak_free(train) is None
    assert leak_free(test.take(np.arange(119))) is None
    blank = np.zeros((6, 64, 64, 3), np.uint8)
    assert leak_free(Dataset(blank, np.arange(6, dtype=np.int32), test.classes)) is None
