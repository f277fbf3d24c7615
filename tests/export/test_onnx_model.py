"""model.onnx answers as the program does, from the photograph on."""

import json
from dataclasses import replace

import numpy as np
import pytest
from flax import linen as nn
from PIL import Image

from signjax.data.image import CropResize, square_resize
from signjax.errors import InputError
from tests.helpers.exported import (
    MANY_VIEWS,
    MODELS,
    PLAIN,
    SIZE,
    images,
    make,
    own_probabilities,
)
from tests.helpers.images import smooth

pytest.importorskip("onnxruntime", reason='needs pip install "signjax[export]"')

from signjax.export.check import open_session  # noqa: E402
from signjax.export.onnx_model import onnx_model  # noqa: E402


def answer(answering, photographs, *, half=False):
    """[probabilities, label, seen]"""
    session = open_session(onnx_model(answering, half=half).SerializeToString())
    return session.run(None, {"photograph": photographs})


@pytest.mark.parametrize("name", MODELS)
def test_networks_answer_as_the_program(name):
    answering = make(name, temperature=1.7)
    probabilities, label, seen = answer(answering, images())
    own = own_probabilities(answering, images())
    np.testing.assert_allclose(probabilities, own, atol=2e-6)
    np.testing.assert_array_equal(label, own.argmax(axis=1))
    np.testing.assert_array_equal(seen, images())
    assert np.ptp(own, axis=0).min() > 1e-3  # or any answer would do


def test_half_the_bytes_cost_little():
    answering = make("resnet")
    whole, half = (onnx_model(answering, half=half).ByteSize() for half in (0, 1))
    assert 0.49 < half / whole < 0.52
    probabilities, *_ = answer(answering, images(), half=True)
    own = own_probabilities(answering, images())
    assert 1e-6 < np.abs(probabilities - own).max() < 2e-3


def test_the_mean_is_over_all_views():
    answering = make("cnn", MANY_VIEWS)
    probabilities, *_ = answer(answering, images())
    own = own_probabilities(answering, images())
    np.testing.assert_allclose(probabilities, own, atol=2e-6)


def test_below_the_threshold_the_label_is_unsure():
    confidence = own_probabilities(make("cnn"), images()).max(axis=1)
    threshold = float(np.median(confidence)) + 1e-4
    _, label, _ = answer(make("cnn", threshold=threshold), images())
    np.testing.assert_array_equal(label == -1, confidence < threshold)
    assert set(label == -1) == {True, False}


@pytest.mark.parametrize("interpolation", ["bilinear", "hamming", "bicubic"])
@pytest.mark.parametrize("crop", [1.0, 0.875])
def test_photographs_are_seen_as_predict_sees_them(interpolation, crop):
    prepared = PLAIN._replace(interpolation=interpolation, crop=crop)
    session = open_session(onnx_model(make("cnn", prepared)).SerializeToString())
    for height, width in ((SIZE, SIZE), (20, 33), (101, 64), (480, 640)):
        photograph = smooth(max(height, width))[:height, :width]
        (seen,) = session.run(["seen"], {"photograph": photograph[None]})
        own = square_resize(
            Image.fromarray(photograph), SIZE, CropResize(crop, interpolation)
        )
        levels = np.abs(seen[0].astype(int) - own)
        # Pillow's weights have 22 bits, so a value may round to the other side.
        assert levels.max() <= 1 and levels.mean() < 0.05


def test_photographs_of_one_size_go_together():
    both = np.stack([smooth(80, seed)[:60] for seed in (1, 2)])
    together = answer(make("cnn"), both)
    for index in (0, 1):
        alone = answer(make("cnn"), both[index : index + 1])
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_allclose(one[index], other[0], atol=1e-6)


def test_the_file_says_its_classes():
    model = onnx_model(make("cnn"))
    (classes,) = [x.value for x in model.metadata_props if x.key == "classes"]
    assert json.loads(classes) == ["a", "b", "c", "d"]


def test_a_network_without_nodes_is_named():
    class Other(nn.Module):
        pass

    other = replace(make("cnn"), model=Other())
    with pytest.raises(InputError, match=r"model Other cannot be exp.*network\.py"):
        onnx_model(other)
