"""--mode=port, from the command line to a workdir that the other modes accept."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import main as program
from signjax.pretrained.load import open_weights
from signjax.workdir import load_trained, lock
from tests.helpers.weight_files import GOLDEN, shapes_of, write_sparse_safetensors


@pytest.fixture(autouse=True, scope="module")
def no_compilation_cache() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", "")
        yield


def main(*arguments: str) -> int:
    """The command line in this process: the exit status."""
    return program.main(["main.py", *arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """whole.safetensors, headless.safetensors, and what port makes of them."""
    folder = tmp_path_factory.mktemp("port")
    shapes = shapes_of("torchvision")
    body = {name: shape for name, shape in shapes.items() if "fc." not in name}
    write_sparse_safetensors(folder / "whole.safetensors", shapes)
    write_sparse_safetensors(folder / "headless.safetensors", body)
    return folder


class Told:
    """What a run of --mode=port printed. out, err: its streams."""

    def __init__(self, folder: Path, name: str, capsys: Any) -> None:
        self.workdir = folder / name
        if not self.workdir.exists():
            weights = f"--weights={folder / name}.safetensors"
            assert main("--mode=port", weights, f"--workdir={self.workdir}") == 0
            told = capsys.readouterr()
            (folder / f"{name}.out").write_text(told.out)
            (folder / f"{name}.err").write_text(told.err)
        self.out = (folder / f"{name}.out").read_text()
        self.err = (folder / f"{name}.err").read_text()

    @property
    def run(self) -> dict[str, Any]:
        return json.loads((self.workdir / "run.json").read_text())


@pytest.fixture
def whole(folder: Path, capsys: pytest.CaptureFixture[str]) -> Told:
    return Told(folder, "whole", capsys)


@pytest.fixture
def headless(folder: Path, capsys: pytest.CaptureFixture[str]) -> Told:
    return Told(folder, "headless", capsys)


def coverage(text: str) -> dict[str, list[int]]:
    """part -> [ported, folded, new], of the printed table."""
    rows = [line.split() for line in text.splitlines()]
    return {
        row[0]: [int(x) for x in row[1:]]
        for row in rows
        if len(row) == 4 and row[3].isdigit()
    }


def test_the_coverage_of_each_part_is_printed(whole: Told, headless: Told) -> None:
    # A convolution with its BatchNorm has five leaves.
    body = {"stem": 1, "stage1": 10, "stage2": 13, "stage3": 19, "stage4": 10}
    expected = {part: [5 * units, 0, 0] for part, units in body.items()}
    assert coverage(whole.out) == expected | {
        "head": [2, 0, 0],
        "total": [267, 0, 0],
    }
    assert coverage(headless.out) == expected | {
        "head": [0, 0, 2],
        "total": [265, 0, 2],
    }
    assert '"stride_on": "3x3"' in whole.out
    assert "weights: class names assumed: 0 to 5" in whole.out


def test_the_preprocessing_is_in_the_workdir(whole: Told) -> None:
    data = whole.run["config"]["data"]
    assert data["mean"] == [0.485, 0.456, 0.406]
    assert data["std"] == [0.229, 0.224, 0.225]
    assert data["image_size"] == 224
    # torchvision's: the shorter side to 256, of that the middle 224.
    assert data["crop"] == 224 / 256
    assert data["interpolation"] == "bilinear"


def test_the_workdir_opens_as_a_trained_model(whole: Told) -> None:
    trained = load_trained(whole.workdir, devices=jax.devices()[:1], warn=pytest.fail)
    assert trained.step == 0
    assert trained.run.classes == tuple("012345")
    kernel = trained.state.params["conv_stem"]["kernel"]
    assert kernel.shape == (7, 7, 3, 64)
    assert not np.any(kernel)  # the file's zeros, not initial values


def test_a_workdir_that_is_taken_is_refused(
    whole: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = f"--weights={whole.workdir}"
    assert main("--mode=port", weights, f"--workdir={whole.workdir}") == 2
    assert "holds a run already: give another" in capsys.readouterr().err


def test_a_port_that_saved_nothing_is_done_again(whole: Told, tmp_path: Path) -> None:
    cut_short = tmp_path / "cut_short"
    cut_short.mkdir()
    shutil.copy(whole.workdir / "run.json", cut_short)
    weights = f"--weights={whole.workdir.with_suffix('.safetensors')}"
    assert main("--mode=port", weights, f"--workdir={cut_short}") == 0
    load_trained(cut_short, devices=jax.devices()[:1], warn=pytest.fail)


def test_calibration_that_is_left_behind_is_warned_of(
    whole: Told, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = tmp_path / "trained"
    shutil.copytree(whole.workdir, trained)
    (trained / "calibration.json").write_text("{}")
    ported = tmp_path / "ported"
    assert main("--mode=port", f"--weights={trained}", f"--workdir={ported}") == 0
    (warning,) = capsys.readouterr().err.splitlines()
    assert f"calibration.json of {trained} is not ported" in warning
    assert not (ported / "calibration.json").exists()


def test_weights_that_are_not_there_leave_no_workdir(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workdir = tmp_path / "run"
    assert main("--mode=port", "--weights=resnet.h5", f"--workdir={workdir}") == 2
    error = capsys.readouterr().err
    assert "resnet.h5: neither a file" in error and error.count("\n") == 1
    assert not workdir.exists()


def test_a_run_that_begins_while_weights_are_read_is_left_alone(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    weights = f"--weights={folder / 'whole.safetensors'}"
    with lock(tmp_path):  # as training does in its first epoch
        assert main("--mode=port", weights, f"--workdir={tmp_path}") == 2
    assert "is in use by another process" in capsys.readouterr().err
    assert not (tmp_path / "run.json").exists()


def test_a_blank_classifier_is_warned_of_and_predicts_nothing(
    headless: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "these weights have no classifier" in headless.err
    photo = str(GOLDEN / "chelsea.png")
    for name, argument in (("predict", photo), ("evaluate", f"--data={GOLDEN}")):
        assert main(f"--mode={name}", f"--workdir={headless.workdir}", argument) == 2
        told = capsys.readouterr()
        assert told.out == "" and told.err.count("\n") == 1
        assert "without a classifier" in told.err
        assert f"--config.model.weights={headless.workdir}" in told.err


def test_a_blank_classifier_is_not_taken_for_weights(headless: Told) -> None:
    weights = open_weights(
        str(headless.workdir), devices=jax.devices()[:1], warn=pytest.fail
    )
    assert weights.ported.classes is None
    assert "head" not in weights.ported.variables["params"]


def command_line(*arguments: str, cache: Path) -> str:
    done = subprocess.run(
        [sys.executable, "main.py", *arguments],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"SIGNJAX_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_published_weights_say_egyptian_cat(shared: Path, tmp_path: Path) -> None:
    workdir = f"--workdir={tmp_path / 'imagenet'}"
    weights = f"--weights={shared / 'weights' / 'resnet50_imagenet_keras.h5'}"
    told = command_line("--mode=port", weights, workdir, cache=tmp_path)
    assert coverage(told)["total"] == [267, 53, 0]
    (line,) = [x for x in told.splitlines() if x.startswith("largest difference")]
    assert float(line.split(": ")[1].split()[0]) <= 1e-4
    photo = str(GOLDEN / "chelsea.png")
    told = command_line("--mode=predict", "--json", workdir, photo, cache=tmp_path)
    answer = json.loads(told)
    assert answer["label"] == "Egyptian cat"
    assert answer["confidence"] == pytest.approx(0.855, abs=0.01)
