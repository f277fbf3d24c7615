"""config -> what --mode=benchmark varies of it."""

from typing import Any

from ml_collections import ConfigDict

from signjax.config import Config, check, default_config


def swept(config: Config) -> dict[str, Any]:
    """What training would take for each axis that `vary` replaces."""
    return {"dtype": config.dtype, "batch_size": config.train.batch_size}


def vary(config: Config, *, dtype: str, batch_size: int, bare: bool) -> Config:
    """A copy with this dtype and batch size; bare: it leaves the images as they are.

    Raises InputError where the values do not go together.
    """
    varied: Config = ConfigDict(config)
    varied.dtype = dtype
    varied.train.batch_size = batch_size
    if bare:
        varied.augment = default_config().augment
        varied.evaluation = default_config().evaluation
        varied.train.outliers = 0.0
    check(varied)
    return varied
