"""A run's crop and interpolation are those of training, evaluation and prediction."""

import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest
from absl import flags
from flax import linen as nn
from PIL import Image

import main as program
from configs import cnn, resnet_pretrained
from signjax import build, workdir
from signjax.commands import evaluate
from signjax.config import default_config
from signjax.data.image import CropResize, load_image
from signjax.errors import InputError
from signjax.pretrained.port import Ported
from signjax.pretrained.published import CAFFE, HUGGING_FACE
from signjax.runtime.checkpoint import Checkpoints
from signjax.state import create_state

SIZE = 32
FRAMING = CropResize(0.5, "hamming")
CLASSES = ("left", "right")
DATA = {"source": "folder", "origin": "here", "sha256": "0"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two pictures a class, each with detail of its own inside and outside the crop."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(2):
            pixels = rng.integers(0, 256, (90, 70, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path / "photos"


@pytest.fixture
def config(photos: Path) -> Any:
    config: Any = cnn.get_config("seed")
    config.data.source = "folder"
    config.data.dir = str(photos)
    config.data.test_fraction = 0.5
    config.data.image_size = SIZE
    config.data.crop, config.data.interpolation = FRAMING
    return config


def seen(photos: Path) -> dict[str, np.ndarray]:
    """Path -> the picture as the network should see it."""
    paths = sorted(photos.rglob("*.png"))
    return {str(path): load_image(path, SIZE, FRAMING) for path in paths}


def test_a_folder_is_trained_on_with_the_framing(config: Any, photos: Path) -> None:
    splits = build.load_splits(config, pytest.fail)
    found = [*splits.train.images, *splits.test.images]
    expected = seen(photos).values()
    assert len(found) == len(expected) == 4
    assert {x.tobytes() for x in found} == {x.tobytes() for x in expected}


def main(*arguments: str) -> int:
    """The command line in this process: the exit status."""
    flags.FLAGS.unparse_flags()
    return program.main(["main.py", *arguments])


def test_evaluate_and_predict_see_what_training_saw(
    config: Any,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")
    monkeypatch.setattr(evaluate, "write_report", lambda *args, **options: None)
    run = tmp_path / "run"
    network = build.make_network(config, len(CLASSES), jax.devices()[:1])
    recipe = build.make_recipe(config, network, 64)
    state = build.make_state(config, network, recipe)
    workdir.record_run(run, workdir.Run(config, CLASSES, DATA, 64))
    with Checkpoints(run / "checkpoints", warn=pytest.fail) as checkpoints:
        checkpoints.save(0, state)

    images = seen(photos)
    inputs = np.stack([*images.values()]) / np.float32(255)
    apply = jax.jit(partial(network.model.apply, train=False))
    logits = apply(state.variables, inputs)
    expected = np.asarray(nn.softmax(logits))

    assert main("--mode=predict", f"--workdir={run}", "--json", str(photos)) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["path"] for answer in answers] == list(images)
    found = [[a["probabilities"][name] for name in CLASSES] for a in answers]
    np.testing.assert_allclose(found, expected, rtol=1e-4)

    output = tmp_path / "scores.json"
    arguments = (f"--data={photos}", f"--output={output}")
    assert main("--mode=evaluate", f"--workdir={run}", *arguments) == 0
    losses = -np.log(expected[[0, 1, 2, 3], [0, 0, 1, 1]])
    loss = json.loads(output.read_text())["loss"]
    assert loss == pytest.approx(losses.mean(), rel=1e-4)


def test_a_config_keeps_all_of_a_sources_preprocessing() -> None:
    variant, _ = build.ported_traits(default_config())
    preprocessing = HUGGING_FACE._replace(image_size=96, mirror=True, turn=9.0)
    config = build.ported_config(variant, preprocessing)
    assert build.ported_traits(config) == (variant, preprocessing)


def test_fine_tuning_chooses_size_and_framing_itself() -> None:
    config = resnet_pretrained.get_config()
    network = build.make_network(config, len(CLASSES), jax.devices()[:1])
    variant, preprocessing = build.ported_traits(config)
    chosen = {"image_size": 224, "interpolation": "hamming", "mirror": False}
    assert preprocessing._replace(**chosen) == CAFFE
    assert preprocessing != CAFFE
    small = network.model.clone(stage_sizes=(1,), conv_impl="xla")
    network = dataclasses.replace(network, model=small)
    state = create_state(small, optax.sgd(0.1), jax.random.key(0), SIZE)
    ported = Ported(
        variables=jax.tree.map(np.asarray, state.variables),
        variant=variant,
        preprocessing=CAFFE,
        classes=None,
        coverage=(),
        notes=(),
    )
    started = build.start_from(config, network, state, ported, CLASSES)
    assert started.params["conv_stem"]["kernel"].shape == (7, 7, 3, 64)
    head = jax.tree.map(lambda leaf: leaf + 1, ported.variables["params"]["head"])
    params = {**ported.variables["params"], "head": head}
    headed = dataclasses.replace(
        ported, variables={**ported.variables, "params": params}, classes=CLASSES
    )
    for classes, kept in ((CLASSES, True), (("up", "down"), False)):
        started = build.start_from(config, network, state, headed, classes)
        same = np.array_equal(started.params["head"]["bias"], head["bias"])
        assert same == kept, classes
    other = dataclasses.replace(ported, preprocessing=HUGGING_FACE)
    with pytest.raises(InputError, match=r"config\.data\.mean is .*need \(0\.485"):
        build.start_from(config, network, state, other, CLASSES)


def test_a_run_from_before_these_keys_sees_the_whole_square(
    config: Any, tmp_path: Path
) -> None:
    workdir.record_run(tmp_path, workdir.Run(config, CLASSES, DATA, 64))
    stored = json.loads((tmp_path / "run.json").read_text())
    for key in ("crop", "interpolation"):
        del stored["config"]["data"][key]
    (tmp_path / "run.json").write_text(json.dumps(stored))
    old = workdir.read(tmp_path).config
    assert (old.data.crop, old.data.interpolation) == (1.0, "bicubic")
