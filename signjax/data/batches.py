"""Which images make up each batch: index arrays, a permutation an epoch."""

import numpy as np


def epoch_batches(
    count: int,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    shuffle: bool,
    drop_remainder: bool,
    among: int | None = None,
) -> np.ndarray:
    """The batches of one epoch: int32 [steps, batch_size], -1 is padding.

    The order depends on (seed, epoch) alone, so a resumed run goes on with it. The
    images that do not fill the last batch are dropped (others each epoch, if
    shuffled) or kept with padding after them. among: the epoch is as long, but of the
    first `among` images alone, all of them once before any comes again.
    """
    indices = np.arange(count if among is None else among, dtype=np.int32)
    rng = np.random.default_rng((seed, epoch))
    passes = -(-count // len(indices))
    order = np.concatenate(
        [rng.permutation(indices) if shuffle else indices for _ in range(passes)]
    )[:count]
    if drop_remainder:
        order = order[: count - count % batch_size]
    return padded_batches(order, batch_size)


def padded_batches(indices: np.ndarray, batch_size: int) -> np.ndarray:
    """int [N] -> int32 [ceil(N / batch_size), batch_size], the rest filled with -1."""
    steps = -(-len(indices) // batch_size)
    padded = np.full(steps * batch_size, -1, np.int32)
    padded[: len(indices)] = indices
    return padded.reshape(steps, batch_size)


def steps_per_epoch(count: int, batch_size: int, *, drop_remainder: bool) -> int:
    """Number of batches that `epoch_batches` makes."""
    return count // batch_size if drop_remainder else -(-count // batch_size)
