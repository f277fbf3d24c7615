"""MediaPipe's hand networks in JAX and in LiteRT, by turns on one core.

    python -m benchmarks.hand_networks FOLDER --photographs=FOLDER

The first FOLDER holds palm_detection_full.tflite and hand_landmark_full.tflite. It
needs ai-edge-litert (of the parity extra), whose XNNPACK delegate is what MediaPipe's
own C++ runs. Both networks see each photograph, whole, in both programs, one after the
other. Rows go to results/hand_networks.json: of each network and program the
milliseconds of the core for a picture, which other load moves less than the clock's,
and JAX's over LiteRT's, pair by pair.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before JAX starts its threads: it compiles for as many cores as it may use.
CORE = min(os.sched_getaffinity(0))
os.sched_setaffinity(0, {CORE})

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from ai_edge_litert.interpreter import Interpreter  # noqa: E402 # pyright: ignore[reportMissingImports]

from signjax.data.image import CropResize, load_images  # noqa: E402
from signjax.data.listing import list_images  # noqa: E402
from signjax.hands.network import jitted  # noqa: E402
from signjax.hands.weights import LANDMARK, PALM, Part, open_networks  # noqa: E402
from signjax.runtime.machine import ROOT, provenance  # noqa: E402
from signjax.workdir import versions  # noqa: E402

FILE = ROOT / "benchmarks" / "results" / "hand_networks.json"
REPEATS = 3  # turns a photograph
Program = Callable[[np.ndarray], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photographs", type=Path, required=True)
    options = parser.parse_args()
    paths = list_images(options.photographs)
    result = {
        "photographs": len(paths),
        **{
            part.file.name: compare(options.folder, part, paths)
            for part in (PALM, LANDMARK)
        },
        "versions": versions(),
        **provenance(),
    }
    FILE.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def compare(folder: Path, part: Part, paths: list[Path]) -> dict[str, Any]:
    """jax_ms, litert_ms: of the core, a picture; ratio: of each pair of turns."""
    side = part.inputs[1]
    images = load_images(paths, side, CropResize(letterbox=True)) / np.float32(255)
    programs = {"jax": in_jax(folder, part), "litert": in_litert(folder, part)}
    times: dict[str, list[float]] = {name: [] for name in programs}
    for program in programs.values():
        program(images[:1])
    for image in images.repeat(REPEATS, axis=0):
        for name, program in programs.items():
            started = time.process_time()
            program(image[None])
            times[name].append(1000 * (time.process_time() - started))
    ratios = np.divide(times["jax"], times["litert"])
    return {
        **{f"{name}_ms": spread(values) for name, values in times.items()},
        "ratio": spread(ratios),
    }


def in_jax(folder: Path, part: Part) -> Program:
    (network,) = open_networks(str(folder), (part,))
    params, function = jitted(network, jax.devices()[0])
    return lambda images: jax.block_until_ready(function(params, jnp.asarray(images)))


def in_litert(folder: Path, part: Part) -> Program:
    interpreter = Interpreter(str(folder / part.file.name), num_threads=1)
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()

    outputs = [output["index"] for output in interpreter.get_output_details()]

    def run(images: np.ndarray) -> list[np.ndarray]:
        interpreter.set_tensor(given["index"], images)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in outputs]

    return run


def spread(values: Any) -> dict[str, float]:
    p25, median, p75 = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": median, "p25": p25, "p75": p75, "n": len(values)}


if __name__ == "__main__":
    main()
