"""Times inference in ONNX Runtime, of the network that PyTorch exports.

    python -m benchmarks.baselines.onnx_inference --work=inference --weights=FILE \
        [--model=cnn]

Needs torch, onnx, onnxscript and onnxruntime. The file is exported for the one batch
size that is timed, so that all shapes in it are known.
"""

# pyright: reportMissingImports=false
# ONNX Runtime is no dependency of this project.

import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from benchmarks.baselines import measure
from benchmarks.baselines.torch_networks import make_network


def main() -> None:
    arguments = measure.make_parser(__doc__).parse_args()
    if arguments.work != "inference":
        raise SystemExit("onnx_inference.py only infers: give --work=inference")
    images = measure.make_data()[0][: arguments.batch_size]
    network = make_network(arguments.model, measure.read_weights(arguments.weights))
    with tempfile.TemporaryDirectory() as directory:
        session = make_session(network.eval(), images, Path(directory))
    clock = measure.Clock(arguments)
    clock.run(lambda _: session.run(None, {"images": images})[0], np.asarray)
    measure.print_result(
        arguments,
        clock,
        packages=("onnxruntime", "onnx", "torch", "numpy"),
        settings={
            "graph_optimization": "all",
            "intra_op_threads": measure.cores(),
            "providers": session.get_providers(),
        },
    )


def make_session(
    network: torch.nn.Module, images: np.ndarray, directory: Path
) -> onnxruntime.InferenceSession:
    path = directory / "network.onnx"
    torch.onnx.export(
        network,
        (torch.from_numpy(images),),
        path,
        input_names=["images"],
        dynamo=True,
        verbose=False,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = measure.cores()
    level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.graph_optimization_level = level
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(path, options, providers=providers)


if __name__ == "__main__":
    main()
