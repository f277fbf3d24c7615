"""model.stablehlo answers batches of any size as the program does."""

import jax
import numpy as np
import pytest

from tests.helpers.exported import MANY_VIEWS, images, make, own_probabilities

pytest.importorskip("flatbuffers", reason='needs pip install "signjax[export]"')

from signjax.export.stablehlo import load_stablehlo, to_stablehlo  # noqa: E402


@pytest.mark.parametrize("name", ["cnn", "resnet"])
def test_batches_of_any_size_are_answered(name):
    answering = make(name, MANY_VIEWS, temperature=0.6)
    call = load_stablehlo(to_stablehlo(answering))
    own = own_probabilities(answering, images())
    for count in (1, 5):
        found = np.asarray(call(images(count)))
        np.testing.assert_allclose(found, own[:count], atol=2e-6)


def test_half_the_bytes_cost_little():
    answering = make("resnet")
    whole, half = (to_stablehlo(answering, half=half) for half in (False, True))
    assert 0.49 < len(half) / len(whole) < 0.55
    own = own_probabilities(answering, images())
    found = np.asarray(load_stablehlo(half)(images()))
    assert 1e-6 < np.abs(found - own).max() < 2e-3


def test_it_is_for_each_kind_of_device():
    exported = jax.export.deserialize(bytearray(to_stablehlo(make("cnn"))))
    assert exported.platforms == ("cpu", "cuda", "tpu")
