"""The leak between SIGNS' test and training images, against the pixels themselves."""

from dataclasses import replace

import numpy as np

from signjax.data.leaks import SIGNS_TEST_LEAKS, leak_free
from signjax.data.signs import read_signs


def test_the_listed_images_are_those_that_are_in_the_training_set(shared):
    train, test = read_signs(shared / "datasets")
    known = train.images.reshape(len(train.images), -1).astype(np.float32)
    distances = []
    for image in test.images.reshape(len(test.images), -1).astype(np.float32):
        squares = np.mean((known - image) ** 2, axis=1)
        distances.append(float(np.sqrt(squares.min())))
    # Between the worst leak (4.6) and the next frame of a burst (6.2).
    leaks = np.flatnonzero(np.array(distances) < 5.0)
    assert tuple(leaks) == SIGNS_TEST_LEAKS
    assert set(test.labels[leaks]) == {0}


def test_the_rest_is_told_apart_at_any_resolution_and_nothing_else_is(shared):
    train, test = read_signs(shared / "datasets")
    rest = np.setdiff1d(np.arange(120), SIGNS_TEST_LEAKS)
    for data, expected in (
        (test, rest),
        (replace(test, images=test.images[:, ::2, ::2]), rest),
        # Source digits has other images before it.
        (train.take(np.arange(30)).join(test), [*range(30), *(30 + rest)]),
    ):
        kept = leak_free(data)
        assert kept is not None and kept.tolist() == list(expected)
    for other in (train, test.take(np.arange(119)), test.take(np.arange(6))):
        assert leak_free(other) is None
