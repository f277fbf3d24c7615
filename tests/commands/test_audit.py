"""--mode=audit: what is found, and the labels that a trained model disputes."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs import cnn
from signjax.commands.cli import Options, run
from signjax.data.audit import audit
from signjax.data.parts import open_parts
from signjax.errors import InputError
from signjax.workdir import RECOGNISER
from tests.conftest import ROOT
from tests.helpers.datasets import paint, paint_classes


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark images are `dark` and bright ones `light`, all but one of each."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name, low in (("dark", 10), ("light", 190)):
        for i in range(24):
            level = low + i + rng.integers(10)
            paint(folder / name / f"{i}.png", level, level, level, size=32)
    paint(folder / "dark" / "moved.png", 220, 220, 220, size=32)
    paint(folder / "light" / "moved.png", 20, 20, 20, size=32)
    return folder


def test_an_image_in_the_wrong_folder_is_named_and_shown(
    photos: Path,
    tmp_path: Path,
    shared_cache: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = cnn.get_config("")
    config.data.source, config.data.dir = "folder", str(photos)
    config.data.image_size, config.train.epochs = 32, 60
    config.train.batch_size, config.optimizer.learning_rate = 16, 0.02
    workdir = str(tmp_path / "run")
    run(Options("train", config=config, workdir=workdir))
    capsys.readouterr()
    output, sheet = tmp_path / "audit.json", tmp_path / "sheet.html"
    flags = {"data": str(photos), "output": str(output), "sheet": str(sheet)}
    run(Options("audit", workdir=workdir, **flags))
    disputed = json.loads(output.read_text())["disputed"]
    assert {(x["path"], x["true"], x["predicted"]) for x in disputed} == {
        ("dark/moved.png", "dark", "light"),
        ("light/moved.png", "light", "dark"),
    }
    confidences = [x["confidence"] for x in disputed]
    assert confidences == sorted(confidences, reverse=True) and min(confidences) >= 0.9
    told = capsys.readouterr().out
    assert "disputed     2" in told
    # Of 50 images 40 are trained on, and others have the pixels of one of those.
    assert re.search(r"known        4\d images were trained on or held out", told)
    assert "  dark/moved.png: labeled dark, the model says light with 0.9" in told
    page = sheet.read_text()
    assert page.count('alt="where the network looked"') == 2
    assert "moved.png (labeled dark)" in page


def test_images_of_classes_not_known_are_counted_and_no_sheet_is_told(
    tmp_path: Path, shared_cache: None, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, sheet = tmp_path / "photos", tmp_path / "sheet.png"
    paint(folder / "cat" / "cat.png", 90, 90, 90)
    (folder / "3").mkdir()
    shutil.copy(ROOT / "docs" / "hand.jpg", folder / "3")
    flags = {"data": str(folder), "workdir": str(RECOGNISER), "sheet": str(sheet)}
    run(Options("audit", **flags))
    told = capsys.readouterr().out
    assert "disputed     none" in told and not sheet.exists()
    assert "1 images of classes that the model does not know: cat\n" in told
    assert "sheet: not written, as no label is disputed" in told


def test_what_cannot_be_asked_about_keeps_nothing_from_being_told(
    tmp_path: Path, shared_cache: None, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, output = tmp_path / "photos", tmp_path / "audit.json"
    hand = ROOT / "docs" / "hand.jpg"
    # A file that is no image, a class in folders of people, a split of other classes.
    for name in ("train/3", "train/0/anna", "validation/3"):
        (folder / name).mkdir(parents=True)
    shutil.copy(hand, folder / "train" / "3")
    shutil.copy(hand, folder / "train" / "0" / "anna")
    (folder / "train" / "3" / "broken.jpg").write_bytes(b"")
    (folder / "validation" / "3" / "broken.jpg").write_bytes(b"")
    paint(folder / "test" / "cat" / "cat.png", 90, 90, 90)
    flags = {"data": str(folder), "workdir": str(RECOGNISER), "output": str(output)}
    run(Options("audit", **flags))
    report, told = json.loads(output.read_text()), capsys.readouterr().out
    (disputed,) = report["disputed"]
    assert (disputed["path"], disputed["true"]) == ("train/0/anna/hand.jpg", "0")
    assert len(report["unreadable"]) == 2
    assert "deeper       1 images are in" in told and "train/0/anna/hand.jpg" in told
    assert "1 images of classes that the model does not know: cat\n" in told


def test_a_sheet_of_no_such_kind_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = paint_classes(tmp_path / "photos", {"a": 2, "b": 1})
    flags = {"data": str(folder), "workdir": str(RECOGNISER), "sheet": "sheet.pdf"}
    with pytest.raises(InputError, match="sheet.pdf: expected a name that ends in"):
        run(Options("audit", **flags))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("flag", [{"sheet": "sheet.png"}, {"best": True}])
def test_without_a_model_its_flags_are_refused(flag: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="name the model with --workdir=DIR"):
        run(Options("audit", data="photos", **flag))


def test_findings_are_printed_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = paint_classes(tmp_path / "photos", {"a": 2, "b": 1})
    output = tmp_path / "audit.json"
    run(Options("audit", data=str(folder), output=str(output)))
    assert "photos: 3 images (all 3)" in capsys.readouterr().out
    assert json.loads(output.read_text()) == audit(str(folder), *open_parts(folder))


def test_names_of_files_and_classes_give_a_terminal_no_orders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = paint_classes(tmp_path / "photos", {"a\x1b[2Jb": 2, "[c]": 1})
    (folder / "a\x1b[2Jb" / "\x1b]0;x.png").write_bytes(b"")
    run(Options("audit", data=str(folder)))
    lines = capsys.readouterr().out.splitlines()
    assert all(line.isprintable() for line in lines)
    assert r"all: 2 classes, 1 to 2 images each; [c]: 1, a\x1b[2Jb: 2" in lines[3]
    assert r"\x1b]0;x.png: not an image" in lines[-1]


@pytest.mark.parametrize(
    ("path", "told"), [("", "--data is missing"), ("nowhere", "nowhere: no such file")]
)
def test_a_wrong_path_is_an_input_error(path: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        run(Options("audit", data=path))
