"""What LiteRT computes of MediaPipe's hand networks: tests/golden/hands.npz.

    python -m benchmarks.baselines.litert_hands FOLDER

FOLDER holds palm_detection_full.tflite and hand_landmark_full.tflite. It needs
ai-edge-litert (of the parity extra), and pillow. Of every tensor that a network
computes, for two images, 16 values and the largest, so that a port is proven stage by
stage.
"""

import argparse
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import (  # pyright: ignore[reportMissingImports]
    Interpreter,
    OpResolverType,
)

from tests.helpers.golden_images import golden_images

GOLDEN = Path(__file__).parents[2] / "tests" / "golden" / "hands.npz"
VALUES = 16  # of a tensor of an image


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    golden = {}
    for name in ("palm_detection_full", "hand_landmark_full"):
        rows = [
            {key: value.ravel() for key, value in tensors.items()}
            for tensors in run(folder / f"{name}.tflite")
        ]
        names = list(rows[0])
        golden[f"{name}/names"] = np.array(names)
        golden[f"{name}/values"] = np.array(
            [[spread(row[key]) for row in rows] for key in names], np.float32
        )
        golden[f"{name}/largest"] = np.array(
            [max(np.abs(row[key]).max() for row in rows) for key in names], np.float32
        )
    np.savez_compressed(GOLDEN, **golden)


def spread(values: np.ndarray) -> np.ndarray:
    return values[np.linspace(0, len(values) - 1, VALUES).astype(int)]


def run(path: Path) -> list[dict[str, np.ndarray]]:
    """What each image's run computes, tensor name -> values, without delegates.

    XNNPACK, LiteRT's delegate, would keep no tensor inside what it takes over.
    """
    interpreter = Interpreter(
        str(path),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    computed = {
        int(index)
        for operator in interpreter._get_ops_details()
        if operator["op_name"] != "DEQUANTIZE"
        for index in operator["outputs"]
    }
    details = [x for x in interpreter.get_tensor_details() if x["index"] in computed]
    found = []
    for image in golden_images(given["shape"][1]):
        interpreter.set_tensor(given["index"], image[None])
        interpreter.invoke()
        found.append({x["name"]: interpreter.get_tensor(x["index"]) for x in details})
    return found


if __name__ == "__main__":
    main()
