"""BatchNorm's statistics taken anew from images, against NumPy in float64."""

from functools import partial

import jax
import numpy as np
import pytest

from signjax.errors import InputError
from signjax.models.resnet import ResNet
from signjax.ops.batchnorm import batch_statistics, recalibrate

SIZE = 32
TINY = ResNet(6, stage_sizes=(1,))


def test_recalibration_takes_the_mean_of_the_batches_statistics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = np.random.default_rng(2).integers(0, 256, (14, SIZE, SIZE, 3), np.uint8)
    variables = TINY.init(jax.random.key(0), images / np.float32(255), train=False)
    statistics = partial(
        batch_statistics,
        model=TINY,
        normalize=lambda images: images,
        bn_momentum=TINY.bn_momentum,
    )
    monkeypatch.setattr("signjax.ops.batchnorm._BATCH", 4)
    once = recalibrate(variables, images, statistics, device_count=2)
    again = recalibrate(
        {**variables, "batch_stats": once}, images, statistics, device_count=2
    )
    # The stem's statistics follow from the images and one convolution alone.
    kernel = np.asarray(variables["params"]["conv_stem"]["kernel"], np.float64)
    means, variances = [], []
    for start in (0, 4, 8):  # the last two images are no whole batch
        padded = np.pad(
            images[start : start + 4] / 255.0, ((0, 0), (3, 3), (3, 3), (0, 0))
        )
        seen = np.lib.stride_tricks.sliding_window_view(padded, (7, 7), (1, 2))
        y = np.einsum("bhwcij,ijck->bhwk", seen[:, ::2, ::2], kernel)
        means.append(y.mean((0, 1, 2)))
        variances.append(y.var((0, 1, 2)))
    found = once["bn_stem"]
    np.testing.assert_allclose(found["mean"], np.mean(means, 0), 1e-4, 1e-5)
    np.testing.assert_allclose(found["var"], np.mean(variances, 0), 1e-4, 1e-5)
    jax.tree.map(np.testing.assert_array_equal, once, again)


def test_fewer_images_than_devices_are_refused() -> None:
    images = np.zeros((3, SIZE, SIZE, 3), np.uint8)
    with pytest.raises(InputError, match="3 training images are too few for 4"):
        recalibrate({}, images, lambda variables, images: {}, device_count=4)
