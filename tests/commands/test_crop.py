"""Evaluation and prediction crop and resize as training did."""

import json
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import linen as nn
from PIL import Image

from configs import cnn
from signjax.commands.cli import Options, run
from signjax.data.image import CropResize, load_image
from signjax.runtime.console import Console
from signjax.train import train
from signjax.workdir import load_trained

SIZE, CROP = 32, CropResize(0.5, "hamming")


def test_evaluate_and_predict_see_what_training_saw(
    shared_cache: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each photograph has detail of its own inside and outside the crop."""
    rng = np.random.default_rng(0)
    photos = tmp_path / "photos"
    for name in ("left", "right"):
        (photos / name).mkdir(parents=True)
        for i in range(2):
            pixels = rng.integers(0, 256, (90, 70, 3), np.uint8)
            Image.fromarray(pixels).save(photos / name / f"{i}.png")
    config = cnn.get_config("seed")
    config.data.update(source="folder", dir=str(photos), test_fraction=0.5)
    config.data.update(image_size=SIZE, **CROP._asdict())
    config.train.epochs, config.train.batch_size = 1, 2
    devices = jax.devices()[:1]
    train(config, tmp_path / "run", devices, Console(quiet=True))

    trained = load_trained(tmp_path / "run", devices=devices, warn=pytest.fail)
    paths = sorted(photos.rglob("*.png"))
    inputs = np.stack([load_image(path, SIZE, CROP) for path in paths])
    apply = jax.jit(partial(trained.experiment.model.apply, train=False))
    logits = apply(trained.state.variables, inputs / np.float32(255))
    expected = np.asarray(nn.softmax(logits))

    options = {"workdir": str(tmp_path / "run")}
    capsys.readouterr()
    run(Options("predict", **options, json=True, arguments=(str(photos),)))
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["path"] for answer in answers] == list(map(str, paths))
    found = [list(answer["probabilities"].values()) for answer in answers]
    np.testing.assert_allclose(found, expected, rtol=1e-4)

    output = tmp_path / "scores.json"
    run(Options("evaluate", **options, data=str(photos), output=str(output)))
    loss = -np.log(expected[[0, 1, 2, 3], [0, 0, 1, 1]]).mean()
    assert json.loads(output.read_text())["loss"] == pytest.approx(loss, rel=1e-4)
