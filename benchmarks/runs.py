"""One run of the real command line on SIGNS, and what a result file says of it."""

import ast
import hashlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from signjax.benchmarking.machine import core_count, git_commit, processor
from signjax.config import default_config
from signjax.data import sources
from signjax.modes.calibration import read_calibration
from signjax.modes.common import logits_of
from signjax.modes.evaluate import match_classes
from signjax.training.calibration import Calibration
from signjax.workdir import TrainedModel, load_trained

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"

_DIGITS = 5  # of a probability that is kept


class Run(NamedTuple):
    """A finished run: its workdir, result.json and run.json, and how long it took.

    seconds: of the whole process, imports, compilation and saving included.
    """

    workdir: Path
    result: dict[str, Any]
    stored: dict[str, Any]
    seconds: float


@contextmanager
def trained(
    config: str,
    overrides: Sequence[str],
    seed: int,
    weights: Path | None,
    source: str = "signs",
) -> Iterator[Run]:
    """Trains configs/`config` in a fresh process; its workdir goes when the block ends.

    weights: for a config that starts from some. source: of the images. Raises
    CalledProcessError if training fails.
    """
    with tempfile.TemporaryDirectory() as name:
        workdir = Path(name)
        command = [
            sys.executable,
            "main.py",
            f"--config=configs/{config}",
            f"--config.seed={seed}",
            *overrides,
            *([f"--config.model.weights={weights}"] if weights else []),
            f"--config.data.source={source}",
            f"--workdir={workdir}",
        ]
        started = time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        yield Run(
            workdir=workdir,
            seconds=round(time.perf_counter() - started, 1),
            result=json.loads((workdir / "result.json").read_text()),
            stored=json.loads((workdir / "run.json").read_text()),
        )


def evaluated(workdir: Path, data: Path | None = None) -> dict[str, Any]:
    """What --mode=evaluate finds of a trained model on `data`, or its own test set."""
    output = workdir / "evaluation.json"
    command = [sys.executable, "main.py", "--mode=evaluate", f"--workdir={workdir}"]
    subprocess.run(
        [*command, *([f"--data={data}"] if data else []), f"--output={output}"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return json.loads(output.read_text())


def probabilities_of(
    model: TrainedModel, calibration: Calibration, data: Path
) -> dict[str, Any]:
    """labels, and the calibrated probabilities of the images of `data`, rounded."""
    network = model.network
    images = sources.load_labelled(data, network.image_size, network.framing)
    images, _ = match_classes(images, model.run.classes)
    logits = logits_of(network, model.state.variables, images.images)
    probabilities = calibration.probabilities(logits)
    return {
        "labels": images.labels.tolist(),
        "probabilities": np.round(probabilities, _DIGITS).tolist(),
    }


def opened(workdir: Path) -> tuple[TrainedModel, Calibration]:
    """A trained model and its calibration, which it must have."""
    model = load_trained(workdir, devices=jax.devices(), warn=print)
    calibration = read_calibration(workdir, model.step, print)
    assert calibration is not None
    return model, calibration


def write_rows(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes a row a line, for rows that hold many numbers."""
    lines = ",\n".join(json.dumps(row) for row in rows)
    file.write_text(f"[\n{lines}\n]\n")


def recipe_sha256(config: str, overrides: Sequence[str] = ()) -> str:
    """The digest of what configs/`config`, overridden, sets to other than the default.

    config: with a variant, if any, as resnet.py:seed. A key that is new and off by
    default leaves it as it was.
    """
    file, _, variant = config.partition(":")
    module = importlib.import_module(f"configs.{file.removesuffix('.py')}")
    values = _flat(module.get_config(variant).to_dict())
    for override in overrides:
        key, _, value = override.removeprefix("--config.").partition("=")
        kind = type(values[key])
        values[key] = value if kind is str else kind(ast.literal_eval(value))
    default = _flat(default_config().to_dict())
    changed = {key: value for key, value in values.items() if value != default[key]}
    return hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def read_rows(file: Path, recipes: Collection[str]) -> list[dict[str, Any]]:
    """The rows of a result file, none if it is not there.

    recipes: the digests of all that may be in it. Ends the program where a row is of
    another, so that a recipe and what it was before are not mixed.
    """
    rows = json.loads(file.read_text()) if file.exists() else []
    stale = {row["config"] for row in rows if row["recipe_sha256"] not in recipes}
    if stale:
        raise SystemExit(
            f"{file}: rows of {', '.join(sorted(stale))} as it was before it changed; "
            f"move them to {file.stem}_earlier.json and run its seeds anew"
        )
    return rows


def uses_weights(config: str) -> bool:
    """Whether a config starts from pretrained weights."""
    return config.startswith("resnet_pretrained")


def sha256(path: Path) -> str:
    """The digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def machine() -> dict[str, Any]:
    """Where and of what commit something was measured."""
    return {
        "processor": processor(),
        "cores": core_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "git_commit": git_commit(),
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
    }
