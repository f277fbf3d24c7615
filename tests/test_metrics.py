"""Sums and counts over batches, against float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np

from signjax.state import Metrics


def batch(rng: np.random.Generator, size: int = 7) -> tuple[np.ndarray, ...]:
    losses = rng.random(size, np.float32)
    logits = rng.standard_normal((size, 6), np.float32)
    labels = rng.integers(0, 6, size).astype(np.int32)
    return losses, logits, labels, rng.random(size) < 0.6


def of_batch(parts: tuple[np.ndarray, ...], step: int = 0) -> Metrics:
    losses, logits, labels, mask = map(jnp.asarray, parts)
    return Metrics.of_batch(losses, logits, labels, mask, jnp.int32(step))


def test_means_over_batches_count_what_the_mask_lets_through() -> None:
    rng = np.random.default_rng(0)
    batches = [batch(rng) for _ in range(9)]
    metrics = Metrics.zero()
    for step, parts in enumerate(batches):
        metrics = jax.jit(Metrics.merge)(metrics, of_batch(parts, step))
    losses, logits, labels, mask = (
        np.concatenate(p) for p in zip(*batches, strict=True)
    )
    result = metrics.compute()
    np.testing.assert_allclose(result["loss"], losses[mask].astype(float).mean(), 1e-6)
    assert result["accuracy"] == (logits.argmax(-1) == labels)[mask].mean()
    assert int(metrics.count) == mask.sum()
    assert int(metrics.bad_step) == -1


def test_what_the_mask_hides_may_be_anything() -> None:
    losses, logits, labels, _ = batch(np.random.default_rng(0))
    mask = np.arange(7) > 0
    losses[0] = np.nan
    metrics = of_batch((losses, logits, labels, mask))
    assert np.isfinite(metrics.compute()["loss"])
    assert int(metrics.bad_step) == -1


def test_the_first_bad_step_is_kept() -> None:
    parts = batch(np.random.default_rng(0))
    parts[3][:] = True
    metrics = Metrics.zero()
    for step, bad in enumerate([None, np.inf, np.nan, None]):
        losses = parts[0].copy()
        losses[2] = losses[2] if bad is None else bad
        metrics = metrics.merge(of_batch((losses, *parts[1:]), step))
    assert int(metrics.bad_step) == 1


def test_nothing_seen_divides_by_nothing() -> None:
    assert Metrics.zero().compute() == {"loss": 0.0, "accuracy": 0.0}


def test_merging_keeps_dtypes_so_that_a_step_compiles_once() -> None:
    zero = Metrics.zero()
    merged = zero.merge(of_batch(batch(np.random.default_rng(0))))
    dtypes = [
        (np.asarray(a).dtype, b.dtype)
        for a, b in zip(jax.tree.leaves(zero), jax.tree.leaves(merged), strict=True)
    ]
    assert all(before == after for before, after in dtypes)
