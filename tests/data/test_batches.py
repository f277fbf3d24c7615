"""Which images each batch holds."""

import numpy as np
import pytest

from signjax.data.batches import (
    epoch_batches,
    padded_batches,
    steps_per_epoch,
)


def make(count: int = 100, batch_size: int = 32, **changes: object) -> np.ndarray:
    options = {"seed": 0, "epoch": 0, "shuffle": True, "drop_remainder": False}
    return epoch_batches(count, batch_size, **(options | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("count", "batch_size"), [(120, 32), (64, 16), (5, 8), (1, 1)])
def test_an_epoch_holds_every_image_once(
    count: int, batch_size: int, shuffle: bool
) -> None:
    indices = make(count, batch_size, shuffle=shuffle).ravel()
    assert sorted(indices[indices >= 0]) == list(range(count))


def test_padding_is_minus_one_at_the_very_end() -> None:
    batches = make(100, 32)
    assert batches.shape == (4, 32)
    assert batches.dtype == np.int32
    assert (batches.ravel()[:100] >= 0).all()
    assert (batches.ravel()[100:] == -1).all()


def test_without_shuffling_the_order_is_that_of_the_data() -> None:
    assert make(70, 32, shuffle=False).ravel()[:70].tolist() == list(range(70))


def test_the_remainder_is_dropped_and_differs_between_epochs() -> None:
    epochs = [make(100, 32, drop_remainder=True, epoch=epoch) for epoch in range(20)]
    assert all(batches.shape == (3, 32) for batches in epochs)
    assert all(len(set(batches.ravel())) == 96 for batches in epochs)
    assert set(np.concatenate(epochs).ravel()) == set(range(100))


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    np.random.seed(1)
    first = make(seed=3, epoch=7)
    np.random.seed(2)
    assert np.array_equal(first, make(seed=3, epoch=7))
    for other in (make(seed=3, epoch=8), make(seed=4, epoch=7), make(seed=7, epoch=3)):
        assert not np.array_equal(first, other)


def test_an_epoch_of_the_first_images_is_as_long_and_knows_no_other() -> None:
    epochs = [make(100, 32, drop_remainder=True, among=70, epoch=e) for e in range(20)]
    for batches in epochs:
        assert batches.shape == (3, 32)
        assert sorted(batches.ravel()[:70]) == list(range(70))
        assert len(set(batches.ravel()[70:])) == 26
    assert not np.array_equal(epochs[0], epochs[1])
    in_order = make(100, 32, shuffle=False, among=70).ravel()[:100]
    assert in_order.tolist() == [*range(70), *range(30)]
    assert np.array_equal(make(100, 32, among=100), make(100, 32))


@pytest.mark.parametrize("drop_remainder", [False, True])
@pytest.mark.parametrize("count", [31, 32, 33, 64, 100])
def test_steps_per_epoch_counts_the_batches(count: int, drop_remainder: bool) -> None:
    expected = len(make(count, 32, drop_remainder=drop_remainder))
    assert steps_per_epoch(count, 32, drop_remainder=drop_remainder) == expected


def test_padded_batches_keep_the_indices_in_order() -> None:
    batches = padded_batches(np.array([9, 4, 7]), 2)
    assert batches.tolist() == [[9, 4], [7, -1]]
