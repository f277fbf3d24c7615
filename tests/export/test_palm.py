"""palm.onnx finds the hand that the program finds."""

import jax
import numpy as np
import pytest
from PIL import Image

from signjax.errors import RunError
from signjax.hands.boxes import make_box_finder
from signjax.hands.network import Network
from signjax.hands.tflite import Graph, Operator
from signjax.hands.weights import PALM, open_networks
from tests.helpers.images import smooth

onnxruntime = pytest.importorskip(
    "onnxruntime", reason='needs pip install "signjax[export]"'
)

from signjax.export import write  # noqa: E402
from signjax.export.palm import palm_model  # noqa: E402


def small_detector() -> Network:
    """Every operation of MediaPipe's detector, few layers, random weights."""
    rng = np.random.default_rng(3)
    operators: list[Operator] = []
    params: dict[str, np.ndarray] = {}

    def add(kind: str, *inputs: str, shape, sizes=(), weights=(), **options) -> str:
        name = f"{kind}_{len(operators)}"
        names = [f"{name}_{i}" for i in range(len(weights))]
        params.update(zip(names, weights, strict=True))
        every = (*inputs, *names)
        operators.append(Operator(kind, every, name, options, sizes, (1, *shape)))
        return name

    def draw(*shape: int) -> np.ndarray:
        scale = np.sqrt(2 / np.prod(shape[1:]))
        return (scale * rng.standard_normal(shape)).astype(np.float16).astype("f4")

    def conv(x: str, before: int, side: int, channels: int, size: int, stride: int):
        kernel = draw(channels, size, size, before).transpose(1, 2, 3, 0)
        return add(
            "CONV_2D", x, shape=(side, side, channels), padding="SAME",
            weights=(kernel, draw(channels)),
            stride_w=stride, stride_h=stride, activation="",
        )  # fmt: skip

    def depthwise(x: str, side: int, channels: int, stride: int) -> str:
        return add(
            "DEPTHWISE_CONV_2D", x, shape=(side, side, channels), padding="SAME",
            weights=(draw(1, 5, 5, channels), draw(channels)),
            stride_w=stride, stride_h=stride, activation="",
        )  # fmt: skip

    def prelu(x: str, side: int, channels: int) -> str:
        shape = (side, side, channels)
        return add("PRELU", x, shape=shape, weights=(draw(1, 1, channels),))

    def rows(x: str, side: int, channels: int, width: int) -> str:
        return add("RESHAPE", x, shape=(side * side * channels // width, width))

    x = prelu(conv("input", 3, 48, 6, 5, 4), 48, 6)
    fine = depthwise(x, 24, 6, 2)
    pooled = add(
        "MAX_POOL_2D", x, shape=(24, 24, 6), padding="SAME", width=2, height=2,
        stride_w=2, stride_h=2, activation="",
    )  # fmt: skip
    padded = add("PAD", pooled, shape=(24, 24, 8), sizes=(0, 0, 0, 0, 0, 0, 0, 2))
    fine = add("ADD", conv(fine, 6, 24, 8, 1, 1), padded, shape=(24, 24, 8))
    coarse = prelu(conv(fine, 8, 12, 8, 3, 2), 12, 8)
    larger = add("RESIZE_BILINEAR", coarse, shape=(24, 24, 8), sizes=(24, 24))
    fine = prelu(add("ADD", fine, larger, shape=(24, 24, 8)), 24, 8)
    outputs = []
    for width in (18, 1):
        parts = [
            rows(conv(x, 8, side, count * width, 1, 1), side, count * width, width)
            for x, side, count in ((fine, 24, 2), (coarse, 12, 6))
        ]
        outputs.append(add("CONCATENATION", *parts, shape=(2016, width), axis=1))
    # Boxes of some size, each with a wrist and a knuckle; scores that differ.
    for operator in operators:
        if operator.shape[-1] in (36, 108, 2, 6) and operator.kind == "CONV_2D":
            kernel, bias = operator.inputs[1:]
            params[kernel] *= 0.1
            if operator.shape[-1] > 6:
                base = np.tile([0, 0, 30, 30, *range(14)], operator.shape[-1] // 18)
                params[bias] = base.astype(np.float32)
    shape = (1, 192, 192, 3)
    return Network(Graph("input", shape, tuple(outputs), tuple(operators)), params)


@pytest.fixture(scope="module")
def network() -> Network:
    return small_detector()


def boxes_of(network: Network, photographs: list[np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(palm_model(network).SerializeToString())
    return [session.run(["box"], {"photograph": x[None]})[0] for x in photographs]


def assert_same_boxes(network: Network, photographs: list[np.ndarray]) -> int:
    """How many of them have a hand."""
    finder = make_box_finder(network, jax.devices("cpu")[0])
    count = 0
    for photograph, box in zip(
        photographs, boxes_of(network, photographs), strict=True
    ):
        hands = finder.find(photograph)
        wanted = hands[0][:3] if hands else (0, 0, 0)
        # Of the view a level is rounded otherwise; a few pixels of the photograph.
        np.testing.assert_allclose(box, wanted, atol=0.03 * min(photograph.shape[:2]))
        count += bool(hands)
    return count


def test_a_photograph_of_any_shape_has_the_program_s_box(network: Network) -> None:
    shapes = [(640, 480), (333, 500), (40, 48), (300, 300), (50, 400)]
    photographs = [
        np.asarray(Image.fromarray(smooth(64, seed=i)).resize(shape))
        for i, shape in enumerate(shapes)
    ]
    assert assert_same_boxes(network, photographs) == len(shapes)


def test_mediapipe_s_finds_the_hands_of_the_scenes(shared) -> None:
    folder = shared / "weights" / "mediapipe_hands"
    scenes = sorted((shared / "datasets" / "scenes").glob("*/*.jpg"))[::9]
    if not (folder.is_dir() and scenes):
        pytest.skip("the scenes or the weights mediapipe_hands are not in shared/")
    (palm,) = open_networks(str(folder), [PALM])
    photographs = [np.asarray(Image.open(scene).convert("RGB")) for scene in scenes]
    assert assert_same_boxes(palm, photographs) >= len(scenes) - 1


def test_it_is_written_when_it_agrees_alone(
    network: Network, tmp_path, monkeypatch
) -> None:
    images = np.stack([smooth(64, seed=seed) for seed in range(3)])
    assert write.write_palm(tmp_path, network, images) < 1e-4
    assert (tmp_path / "palm.onnx").exists()

    biased = {name: value + 0.01 for name, value in network.params.items()}
    monkeypatch.setattr(
        write, "palm_model", lambda network: palm_model(Network(network.graph, biased))
    )
    with pytest.raises(RunError, match="does not find hands as the program does"):
        write.write_palm(tmp_path / "other", network, images)
    assert not (tmp_path / "other").exists()
