"""A model of hands trains, resumes, evaluates and predicts as the others do.

Its hands are read off pictures' colors, so that nobody's weights are needed.
"""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from configs.hands import get_config
from signjax.commands.cli import run
from signjax.commands.parse import parse
from signjax.config import Config, check, default_config
from signjax.errors import InputError, RunError
from signjax.hands import inputs
from signjax.hands.inputs import HandInputs
from signjax.runtime.console import Console
from signjax.train import train
from tests.helpers.hands import ColorFinder

CLASSES = 4


@pytest.fixture
def finder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ColorFinder:
    monkeypatch.setenv("SIGNJAX_CACHE", str(tmp_path / "cache"))
    made = ColorFinder()
    monkeypatch.setattr(inputs, "open_finder", lambda given, device: made)
    return made


def picture(fingers: int, number: int) -> np.ndarray:
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:30, 10:50] = (10 * fingers + 5, number, 0)
    return image


def write_folder(folder: Path) -> Path:
    for label in range(1, 1 + CLASSES):
        (folder / str(label)).mkdir(parents=True)
        for number in range(24):
            image = Image.fromarray(picture(label, 1 + number))
            image.save(folder / str(label) / f"{number}.png")
    return folder


def config_of(folder: Path) -> Config:
    config = get_config()
    config.data.update(source="folder", dir=str(folder), group="", image_size=64)
    config.data.validation_fraction = 0.25
    config.train.update(epochs=30, batch_size=16)
    config.run.checkpoint_every_epochs = 30
    check(config)
    return config


@pytest.fixture
def trained(finder: ColorFinder, tmp_path: Path) -> Path:
    config = config_of(write_folder(tmp_path / "data"))
    train(config, tmp_path / "run", jax.devices()[:1], Console(quiet=True))
    return tmp_path / "run"


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    capsys.readouterr()
    run(parse(["main.py", *arguments]))
    return capsys.readouterr().out.splitlines()


def test_it_learns_looks_once_at_each_picture_and_predicts_with_a_place(
    trained: Path,
    finder: ColorFinder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert json.loads((trained / "result.json").read_text())["test"]["accuracy"] == 1
    assert finder.seen == 24 * CLASSES
    assert (trained / "report.html").exists()

    # Evaluation finds every hand in the cache.
    printed(capsys, "--mode=evaluate", f"--workdir={trained}")
    assert finder.seen == 24 * CLASSES

    for name, image in {
        "three.png": picture(3, 200),
        "none.png": np.zeros((40, 60, 3), np.uint8),
        "two_hands.png": picture(2, 7) + np.array([0, 0, 250], np.uint8),
    }.items():
        Image.fromarray(image).save(tmp_path / name)
    flags = ("--mode=predict", f"--workdir={trained}", "--json")
    names = [tmp_path / name for name in ("three.png", "none.png", "two_hands.png")]
    lines = printed(
        capsys, *flags, f"--sheet={tmp_path / 'sheet.png'}", *map(str, names)
    )
    one, none, *two = [json.loads(line) for line in lines if line.startswith("{")]
    assert (one["likeliest"], len(two)) == ("3", 2)
    assert [answer["likeliest"] for answer in two] == ["2", "2"]
    assert none["label"] is none["box"] is none["landmarks"] is None
    assert none["reason"] == "no hand found"
    # Of the photograph, 60 x 40, that is seen as 512 x 341 on a square.
    points = np.array(one["landmarks"])
    assert points.shape == (21, 2)
    np.testing.assert_allclose(points[0], [30, 40 / 2 + 60 / 4], atol=0.3)
    box = [*points.min(axis=0), *points.max(axis=0)]
    np.testing.assert_allclose(one["box"], box, atol=0.06)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 512

    lines = printed(capsys, flags[0], flags[1], *map(str, names[:2]))
    assert " at " in lines[0] and lines[1].endswith("unsure  no hand found")

    # Of one that has seen the centered square, 40 x 40, and not a letterbox.
    stored = json.loads((trained / "run.json").read_text())
    stored["config"]["data"]["letterbox"] = False
    (trained / "run.json").write_text(json.dumps(stored))
    lines = printed(capsys, *flags, str(names[0]))
    points = np.array(json.loads(lines[0])["landmarks"])
    np.testing.assert_allclose(points[0], [30, 40 / 2 + 40 / 4], atol=0.3)

    with pytest.raises(InputError, match="finds hands by networks of its own"):
        printed(capsys, *flags[:2], "--weights=mediapipe-hands", str(names[0]))
    with pytest.raises(InputError, match="this model's hands are found by others"):
        printed(capsys, "--mode=export", flags[1], f"--output={tmp_path / 'out'}")
    with pytest.raises(InputError, match="which a port does not keep"):
        weights = f"--weights={trained}"
        printed(capsys, "--mode=port", weights, f"--workdir={tmp_path / 'ported'}")


def test_a_finished_run_finds_no_hand_again(
    trained: Path, finder: ColorFinder, tmp_path: Path
) -> None:
    seen = finder.seen
    config = config_of(tmp_path / "data")
    config.train.epochs = 31
    train(config, trained, jax.devices()[:1], Console(quiet=True))
    assert finder.seen == seen


def test_other_networks_look_anew_and_a_damaged_file_is_found_anew(
    finder: ColorFinder, tmp_path: Path
) -> None:
    images = np.stack([picture(label, 3) for label in (1, 2)])[:, :, 10:50]
    found = HandInputs("mediapipe-hands", jax.devices()[0])(images)
    assert finder.seen == 2 and (found[:, 126] > 0).all()
    (file, _) = sorted((tmp_path / "cache" / "hands").glob("*/*"))
    file.write_bytes(file.read_bytes()[:-1])
    again = HandInputs("mediapipe-hands", jax.devices()[0])(images)
    assert finder.seen == 3
    np.testing.assert_array_equal(found, again)
    HandInputs(str(tmp_path), jax.devices()[0])(images)
    assert finder.seen == 5


def test_without_the_networks_it_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNJAX_CACHE", str(tmp_path / "cache"))

    def fail(given: str, device: jax.Device) -> None:
        raise RunError(f"cannot download {given}")

    monkeypatch.setattr(inputs, "open_finder", fail)
    config = config_of(write_folder(tmp_path / "data"))
    with pytest.raises(RunError, match="cannot download mediapipe-hands"):
        train(config, tmp_path / "run", jax.devices()[:1], Console(quiet=True))


@pytest.mark.parametrize("key", ["augment.flip", "augment.blur", "tta.rotation"])
def test_what_changes_pixels_is_refused(key: str) -> None:
    config = get_config()
    config.augment.rotation = 30.0
    value = True if key == "augment.flip" else 0.5
    config.update_from_flattened_dict({key: value})
    with pytest.raises(InputError, match=f"{key} is {value}, which changes pixels"):
        check(config)


def test_other_models_find_no_hands() -> None:
    config = default_config()
    config.model.hands = "folder"
    with pytest.raises(InputError, match="hands is 'folder', which only hands takes"):
        check(config)


def test_the_summary_is_of_its_own_layers(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "--mode=summary", "--config=configs/hands.py")
    assert lines[0] == "hands: 6 classes, input 142"
    counts = [142 * 128 + 128, 128 * 128 + 128, 128 * 6 + 6]
    for line, layer, count in zip(
        lines[2:5], ("dense1", "dense2", "head"), counts, strict=True
    ):
        assert line.split()[0] == layer and f" {count:,} " in line


def test_the_benchmark_refuses_it() -> None:
    with pytest.raises(InputError, match="hands learns landmarks, in seconds"):
        run(parse(["main.py", "--mode=benchmark", "--config=configs/hands.py"]))
