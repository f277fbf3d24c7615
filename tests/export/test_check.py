"""An export that answers otherwise is refused, and what differs is told."""

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason='needs pip install "signjax[export]"')

from signjax.data.image import CropResize  # noqa: E402
from signjax.errors import RunError  # noqa: E402
from signjax.export.check import (  # noqa: E402
    Expected,
    check_resize,
    of_prepared,
    open_session,
    require_equal,
)
from signjax.export.onnx_model import onnx_model  # noqa: E402
from tests.helpers.exported import PLAIN, images, make, own_probabilities  # noqa: E402

OWN = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]])
EXPECTED = Expected(np.zeros((3, 1, 1, 3), np.uint8), ("a.jpg", "b.jpg", "c.jpg"), OWN)
SAME = np.array([0, -1, 0])


def refusal(probabilities, labels=SAME, tolerance=1e-4):
    try:
        require_equal(
            "model.onnx",
            lambda _: (np.asarray(probabilities), labels),
            EXPECTED,
            threshold=0.65,
            tolerance=tolerance,
        )
    except RunError as error:
        return str(error)
    return None


def test_what_is_within_the_tolerance_passes():
    assert refusal(OWN + 9e-5) is None


@pytest.mark.parametrize(
    ("probabilities", "labels", "told"),
    [
        (OWN + [[0, 0], [0, 0.02], [0, 0]], SAME, "a probability differs by 0.02"),
        (OWN * np.nan, SAME, "a probability differs by inf"),
        (OWN[:, ::-1], SAME, "likeliest class differs on 3: a.jpg, b.jpg, c.jpg"),
        (OWN, np.array([0, 1, 0]), "whether it is unsure differs on 1: b.jpg"),
    ],
)
def test_what_differs_is_told(probabilities, labels, told):
    message = refusal(probabilities, labels)
    assert told in message
    assert "model.onnx" in message and "nothing was written" in message
    assert "\n" not in message


def test_at_the_threshold_itself_either_answer_is_right():
    assert refusal(OWN, np.array([0, 1, 0]), tolerance=0.051) is None


def test_test_images_are_not_cropped_again():
    answering = make("cnn", PLAIN._replace(crop=0.5))
    found, labels = of_prepared(onnx_model(answering))(images())
    own = own_probabilities(answering, images())
    np.testing.assert_allclose(found, own, atol=2e-6)
    np.testing.assert_array_equal(labels, own.argmax(axis=1))


def test_another_resize_is_noticed():
    session = open_session(onnx_model(make("cnn")).SerializeToString())
    assert check_resize(session, images(), CropResize()) <= 1
    with pytest.raises(RunError, match="does not resize photographs as the program"):
        check_resize(session, images(), CropResize(1.0, "bilinear"))
