"""One run of the real command line on SIGNS, and what is asked of what it trained."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.photographs import LIST
from experiments.rows import recipe_sha256, sha256
from signjax.commands.evaluate import match_classes
from signjax.data.parts import load_labelled
from signjax.evaluation.calibration import Calibration, read_calibration
from signjax.evaluation.metrics import logits_of
from signjax.runtime.machine import ROOT, provenance
from signjax.workdir import TrainedModel, load_trained

_DIGITS = 5  # of a probability that is kept


class Run(NamedTuple):
    """A finished run: its workdir, result.json and run.json, and how long it took.

    seconds: of the whole process, imports, compilation and saving included.
    """

    workdir: Path
    result: dict[str, Any]
    stored: dict[str, Any]
    seconds: float

    def row(
        self,
        config: str,
        seed: int,
        *,
        overrides: Sequence[str] = (),
        weights: Path | None = None,
    ) -> dict[str, Any]:
        """What a result file says of every run, of configs/`config` and the rest."""
        return {
            "config": config,
            "overrides": list(overrides),
            "recipe_sha256": recipe_sha256(config, overrides),
            "seed": seed,
            "epochs": self.stored["config"]["train"]["epochs"],
            "wall_seconds": self.seconds,
            "data_sha256": self.result["data"]["sha256"],
            "weights_sha256": sha256(weights) if weights else None,
            "versions": self.result["versions"],
            **provenance(),
        }


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


def evaluated(workdir: Path, data: Path) -> dict[str, Any]:
    """What --mode=evaluate finds of a trained model on `data`."""
    output = workdir / "evaluation.json"
    command = [sys.executable, "main.py", "--mode=evaluate", f"--workdir={workdir}"]
    subprocess.run(
        [*command, f"--data={data}", f"--output={output}"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return json.loads(output.read_text())


def probabilities_of(
    model: TrainedModel, calibration: Calibration, data: Path
) -> dict[str, Any]:
    """labels, and the calibrated probabilities of the images of `data`, rounded."""
    experiment = model.experiment
    images, _ = load_labelled(data, experiment.image_size, experiment.crop_resize)
    images, _ = match_classes(images, model.run.classes)
    logits = logits_of(experiment, model.state.variables, images.images)
    probabilities = calibration.probabilities(logits)
    return {
        "labels": images.labels.tolist(),
        "probabilities": np.round(probabilities, _DIGITS).tolist(),
    }


def scored(workdir: Path, unseen: Path, photographs: Path) -> dict[str, Any]:
    """What a result file says of a model's answers to hands and to what shows none.

    unseen: class-named folders of Ankara signers that it has not learned from.
    photographs: the folder that photographs.py fills.
    """
    model, calibration = opened(workdir)
    unsure = are_unsure(workdir, photographs)
    return {
        "temperature": calibration.temperature,
        "threshold": calibration.threshold,
        "held_out_count": calibration.count,
        "ankara": probabilities_of(model, calibration, unseen),
        "no_hand_unsure": sum(unsure),
        "no_hand_count": len(unsure),
        "photographs_sha256": sha256(LIST),
    }


def are_unsure(workdir: Path, folder: Path) -> list[bool]:
    """Of each picture in a folder whether `predict` names no class."""
    return [answer["label"] is None for answer in predicted(workdir, folder)]


def predicted(workdir: Path, folder: Path, *flags: str) -> list[dict[str, Any]]:
    """The lines of `predict --json`, and more flags, about a folder's pictures."""
    command = [sys.executable, "main.py", "--mode=predict", f"--workdir={workdir}"]
    done = subprocess.run(
        [*command, "--json", *flags, str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def opened(workdir: Path) -> tuple[TrainedModel, Calibration]:
    """A trained model and its calibration, which it must have."""
    model = load_trained(workdir, devices=jax.devices(), warn=print)
    calibration = read_calibration(workdir, model.step, print)
    assert calibration is not None
    return model, calibration


def make_parser(
    description: str | None, configs: Iterable[str]
) -> argparse.ArgumentParser:
    """The flags that the studies of SIGNS' recipes share."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=formatter)
    parser.add_argument("--only", default="", choices=["", *configs])
    parser.add_argument("--weights", type=Path, help="of resnet_pretrained.py")
    parser.add_argument(
        "--unseen_signers",
        type=Path,
        help="a folder of class-named folders, as ankara_signers.py makes it",
    )
    return parser


def weights_for(config: str, weights: Path | None) -> Path | None:
    """The `weights` for a config that starts from pretrained ones, None for others."""
    return weights if config.startswith("resnet_pretrained") else None
