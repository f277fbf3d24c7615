"""How far exported models answer otherwise, how large and how fast they are.

    pip install -c constraints.txt -e ".[export]"
    python -m benchmarks.export "the CNN=runs/cnn" "ten digits=runs/digits" ...

Each argument is what to call the weights, and their workdir. Each is exported in
float32 and float16, as --mode=export does it, with a page, which is opened in headless
Chromium where there is one (with chromedriver); with --weights=FOLDER, that of
MediaPipe's networks, the page finds hands. Called again, it goes on with those that
have no row in results/export.json.
"""

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import numpy as np
from PIL import Image

from signjax.commands.cli import Options
from signjax.commands.export import evaluation_to_export
from signjax.errors import RunError
from signjax.evaluation.scores import Evaluation
from signjax.export.check import TOLERANCES
from signjax.export.page import onnxruntime_web, write_page
from signjax.export.serve import serving
from signjax.export.speed import milliseconds, onnx_milliseconds
from signjax.export.write import ONNX, STABLEHLO, write_export, write_palm
from signjax.hands.network import Network
from signjax.hands.weights import PALM, open_networks
from signjax.runtime.console import Console
from signjax.runtime.machine import provenance
from signjax.workdir import versions
from tests.helpers.browser import CHROMEDRIVER, CHROMIUM, Browser, browsing, fake_camera

FILE = Path(__file__).parent / "results" / "export.json"
_WATCHED_SECONDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="NAME=WORKDIR")
    parser.add_argument("--weights", help="of networks by which the page finds hands")
    options = parser.parse_args()
    rows = json.loads(FILE.read_text()) if FILE.exists() else []
    done = {(row["weights"], row["precision"]) for row in rows}
    palm = open_networks(options.weights, [PALM])[0] if options.weights else None
    for given in options.models:
        weights, _, workdir = given.partition("=")
        missing = [x for x in TOLERANCES if (weights, x) not in done]
        if not missing:
            continue
        evaluation = evaluation_to_export(Options(workdir=workdir), Console())
        for precision in missing:
            row = {"weights": weights, "precision": precision, "refused": ""}
            try:
                row |= measure(evaluation, precision, palm)
            except RunError as error:
                row["refused"] = str(error)
            rows.append(row)
            FILE.write_text(json.dumps(rows, indent=1) + "\n")


def measure(
    evaluation: Evaluation, precision: str, palm: Network | None
) -> dict[str, Any]:
    """One row. palm: finds hands for the page."""
    trained, image = evaluation.trained, evaluation.data.images[:1]
    variables = jax.device_put(trained.state.variables, trained.experiment.devices[0])
    with TemporaryDirectory() as folder:
        directory = Path(folder) / "export"
        directory.mkdir()
        record = write_export(directory, evaluation, precision)
        sizes = {x: (directory / x).stat().st_size for x in (ONNX, STABLEHLO)}
        times = {
            "onnxruntime": onnx_milliseconds(directory / ONNX, image),
            "signjax": milliseconds(
                lambda: jax.block_until_ready(
                    trained.experiment.eval_step(variables, image)
                )
            ),
        }
        frames = None
        if CHROMIUM and CHROMEDRIVER:
            if palm:
                write_palm(directory, palm, evaluation.data.images[:3])
            write_page(directory, onnxruntime_web())
            frames = frames_per_second(directory, image[0], Path(folder))
    return {
        **{key: record[key] for key in ("network", "parameters")},
        **{key: record["checked"][key] for key in ("images", "count")},
        "largest_difference": record["checked"]["largest_difference"],
        "resize_levels": record["checked"]["resize_levels"],
        "image_size": record["image_size"],
        "classes": len(record["classes"]),
        "bytes": sizes,
        "milliseconds": {name: _spread(values) for name, values in times.items()},
        "frames_per_second": frames,
        "versions": {**versions(), "onnxruntime": version("onnxruntime")},
        **provenance(),
    }


def frames_per_second(site: Path, image: np.ndarray, folder: Path) -> float:
    """Answers a second of the page in Chromium, before a camera that shows `image`."""
    frame = Image.new("RGB", (640, 480), "gray")
    frame.paste(Image.fromarray(image).resize((384, 384)), (128, 48))
    with (folder / "camera.mjpeg").open("wb") as video:
        for _ in range(5):
            frame.save(video, "JPEG", quality=95)
    camera = fake_camera(folder / "camera.mjpeg")
    with serving(site) as address, browsing(folder, *camera) as browser:
        browser.open(address)
        browser.wait("document.body.dataset.state === 'ready'")
        browser.click("#camera")
        browser.wait("Number(document.body.dataset.answers) > 3")
        begin, before = time.perf_counter(), _count(browser)
        time.sleep(_WATCHED_SECONDS)
        return (_count(browser) - before) / (time.perf_counter() - begin)


def _count(browser: Browser) -> int:
    return int(browser.run("return document.body.dataset.answers"))


def _spread(values: np.ndarray) -> dict[str, float]:
    p25, median, p75 = np.percentile(values, (25, 50, 75)).tolist()
    return {"median": median, "p25": p25, "p75": p75, "n": len(values)}


if __name__ == "__main__":
    main()
