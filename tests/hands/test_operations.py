"""The operations of .tflite networks against numpy in float64, and against LiteRT."""

import io
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from signjax.hands.network import Network, read_network
from signjax.hands.operations import apply
from signjax.hands.tflite import read_tflite
from tests.helpers.golden_images import golden_images
from tests.helpers.tflite_files import small_network

GOLDEN = "tests/golden/hands.npz"
NETWORKS = {
    "palm_detection_full": ((1, 192, 192, 3), [(1, 2016, 18), (1, 2016, 1)]),
    "hand_landmark_full": ((1, 224, 224, 3), [(1, 63), (1, 1), (1, 1), (1, 63)]),
}


def windows(x: np.ndarray, size: tuple[int, int], stride: int, fill: float):
    """Windows [B, OH, OW, kh, kw, C] of TensorFlow's padding SAME, one by one."""
    batch, height, width, channels = x.shape
    out = (-(-height // stride), -(-width // stride))
    result = np.full((batch, *out, *size, channels), float(fill))
    for row, column, i, j in np.ndindex(*out, *size):
        pads = [
            max((n - 1) * stride + k - side, 0) // 2
            for n, k, side in zip(out, size, (height, width), strict=True)
        ]
        y, z = row * stride + i - pads[0], column * stride + j - pads[1]
        if 0 <= y < height and 0 <= z < width:
            result[:, row, column, i, j] = x[:, y, z]
    return result


def upsample(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear between the centers of pixels; beyond the outer ones, their value."""
    for axis, size in ((1, height), (2, width)):
        places = (np.arange(size) + 0.5) * x.shape[axis] / size - 0.5
        places = np.clip(places, 0, x.shape[axis] - 1)
        low = np.floor(places).astype(int)
        high = np.minimum(low + 1, x.shape[axis] - 1)
        share = (places - low).reshape((-1,) + (1,) * (3 - axis))
        x = np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share
    return x


def expected(w: dict[str, np.ndarray], images: np.ndarray) -> dict[str, np.ndarray]:
    """What `small_network` computes, float64."""
    stem = np.einsum("bhwijc,ijco->bhwo", windows(images, (5, 5), 2, 0), w["stem/w"])
    stem = np.clip(stem + w["stem/b"], 0, 6)
    depth = np.einsum("bhwijc,xijc->bhwc", windows(stem, (3, 3), 1, 0), w["depth/w"])
    depth = depth + w["depth/b"]
    prelu = np.maximum(depth, 0) + w["slope"] * np.minimum(depth, 0)
    point = prelu @ w["point/w"][0, 0] + w["point/b"]
    total = np.maximum(point + stem, 0)
    down = np.einsum("bhwijc,xijc->bhwc", windows(total, (3, 3), 2, 0), w["down/w"])
    down = down + w["down/b"]
    pool = windows(total, (2, 2), 2, -np.inf).max(axis=(3, 4))
    up = upsample(pool, 4, 4)
    wide = np.concatenate([up, np.zeros((*up.shape[:3], 2))], axis=3)
    dense = wide.mean(axis=(1, 2)) @ w["dense/w"].T + w["dense/b"]
    return {
        "stem": stem,
        "prelu": prelu,
        "sum": total,
        "joined": np.concatenate([down, pool], axis=3),
        "reshaped": wide.reshape(len(wide), -1),
        "sigmoid": 1 / (1 + np.exp(-dense)),
    }


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Network:
    path = tmp_path_factory.mktemp("network") / "small.tflite"
    path.write_bytes(small_network())
    return Network(*read_tflite(path))


@pytest.mark.parametrize("batch", [1, 3])
def test_every_operation_is_that_of_numpy(small: Network, batch: int) -> None:
    images = np.random.default_rng(batch).random((batch, 8, 8, 3), np.float32)
    found = jax.jit(partial(apply, small.graph))(small.params, images)
    exact = {name: value.astype(np.float64) for name, value in small.params.items()}
    for name, value in expected(exact, images.astype(np.float64)).items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-5)


def test_images_side_by_side_do_not_mix(small: Network) -> None:
    images = np.random.default_rng(0).random((3, 8, 8, 3), np.float32)
    run = jax.jit(partial(apply, small.graph))
    together = run(small.params, images)["sigmoid"]
    alone = [run(small.params, image[None])["sigmoid"][0] for image in images]
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_litert_computes_the_same(small: Network) -> None:
    interpreter = pytest.importorskip(
        "ai_edge_litert.interpreter", reason="needs the parity extra: ai-edge-litert"
    ).Interpreter(model_content=small_network())
    images = np.random.default_rng(5).random((1, 8, 8, 3), np.float32)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    interpreter.invoke()
    found = apply(small.graph, small.params, images)
    names = {32: "joined", 96: "reshaped", 5: "sigmoid"}
    for output in interpreter.get_output_details():
        value = interpreter.get_tensor(output["index"])
        name = names[value.size]
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_each_stage_is_litert_s(name: str, root: Path, shared: Path) -> None:
    """Of each tensor a few values that benchmarks/baselines/litert_hands.py wrote."""
    path = shared / "weights" / "mediapipe_hands" / f"{name}.tflite"
    if not path.exists():
        pytest.skip(f"the weights {path.name} are not in shared/")
    network = read_network(path, *NETWORKS[name])
    with np.load(io.BytesIO((root / GOLDEN).read_bytes())) as golden:
        tensors, values = golden[f"{name}/names"].tolist(), golden[f"{name}/values"]
        largest = golden[f"{name}/largest"]
    images = golden_images(network.graph.input_shape[1])
    found = jax.jit(partial(apply, network.graph))(network.params, images)
    assert len(tensors) == len(network.graph.operators)
    for index, tensor in enumerate(tensors):
        flat = np.asarray(found[tensor]).reshape(2, -1)
        places = np.linspace(0, flat.shape[1] - 1, values.shape[2]).astype(int)
        error = np.abs(flat[:, places] - values[index]).max()
        assert error <= 1e-4 * largest[index], tensor
        assert np.abs(flat).max() == pytest.approx(largest[index], rel=1e-4), tensor
