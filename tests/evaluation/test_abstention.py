"""Calibration travels from training through the workdir to evaluate and predict."""

import dataclasses
import errno
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from configs import cnn
from signjax.commands import evaluate
from signjax.commands.cli import Options, run
from signjax.commands.predict import answers
from signjax.data.load import load_splits
from signjax.errors import InputError
from signjax.evaluation import report
from signjax.evaluation.calibration import Calibration, read_calibration
from signjax.evaluation.metrics import score, softmax
from signjax.runtime.console import Console
from signjax.workdir import read
from tests.evaluation.test_scores import FITTED, LOGITS


@pytest.mark.parametrize("threshold", ["fitted", None, "not calibrated"])
def test_an_answer_has_a_label_or_a_reason(threshold: str | None) -> None:
    calibration: Calibration | None = FITTED
    if threshold is None:
        calibration = dataclasses.replace(FITTED, threshold=None)
    elif threshold == "not calibrated":
        calibration = None
    found = answers(["x", "y", "z"], LOGITS, ("a", "b", "c"), calibration)
    abstains = threshold == "fitted"
    reason = "confidence below 0.600" if abstains else None
    labels = ["a", None if abstains else "a", "c"]
    assert [answer["label"] for answer in found] == labels
    assert [answer["reason"] for answer in found] == [None, reason, None]
    assert [answer["likeliest"] for answer in found] == ["a", "a", "c"]
    assert all(a["calibrated"] == (calibration is not None) for a in found)
    scaled = softmax(LOGITS / (calibration.temperature if calibration else 1))
    assert [a["confidence"] for a in found] == pytest.approx(scaled.max(axis=1))
    assert list(found[1]["probabilities"].values()) == pytest.approx(scaled[1])


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory, shared_cache: None) -> Path:
    """A CNN trained for a moment on synthetic hands, a quarter of them held out."""
    directory = tmp_path_factory.mktemp("run")
    config = cnn.get_config("")
    config.data.source = "synthetic"
    config.data.synthetic_train, config.data.synthetic_test = 96, 24
    config.data.validation_fraction = 0.25
    config.train.epochs, config.train.batch_size = 2, 24
    run(Options("train", config=config, workdir=str(directory)))
    return directory


def evaluated(workdir: Path, output: Path, **flags: Any) -> tuple[dict[str, Any], str]:
    """What --mode=evaluate --output writes: the scores, and the page beside them."""
    run(Options("evaluate", workdir=str(workdir), output=str(output), **flags))
    page = output.with_name(f"report_{output.stem}.html").read_text()
    return json.loads(output.read_text()), page


def write_photos(folder: Path) -> Path:
    """Two images each of classes 0 and 1."""
    for name in "01":
        (folder / name).mkdir(parents=True)
        for i in range(2):
            pixels = np.full((70, 90, 3), 40 * i + 100, np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


def test_training_leaves_calibration_and_report(workdir: Path) -> None:
    step = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    calibration = read_calibration(workdir, step, pytest.fail)
    assert calibration is not None
    assert calibration.count == 24
    told: list[str] = []
    assert read_calibration(workdir, step - 1, told.append) is None
    (line,) = told
    assert f"of step {step}, and this is the model of step {step - 1}" in line
    page = (workdir / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>") and "LEAK" not in page
    assert "synthetic test: 24 images" in page
    assert "120 images (train 72, validation 24, test 24)" in page
    assert page.count('alt="augmented training image"') == 12
    assert "as the network sees them" in page and "easily confused" in page


def test_each_evaluation_has_a_page_of_its_own(workdir: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores.a"
    output.touch()
    names = [
        evaluate._report_path(
            Options("evaluate", workdir=str(workdir), **flags), workdir
        ).name
        for flags in (
            {},
            {"best": True},
            {"data": "some/photos"},
            {"data": "other/photos"},
            {"output": str(output)},
        )
    ]
    assert names == [
        "report.html",
        "report_best.html",
        "report_some_photos.html",
        "report_other_photos.html",
        "report_scores.a.html",
    ]


def test_a_page_of_other_data_tells_no_folder_and_may_be_impossible(
    workdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = write_photos(tmp_path / "photos")
    given = Options("evaluate", workdir=str(workdir), data=str(photos), best=True)
    run(given)
    page = workdir / f"report_best_{tmp_path.name}_photos.html"
    text = page.read_text()
    assert "photos: 4 images" in text and f"{workdir.name}, step 6" in text
    assert "0/1.png: 0 taken for" in text or "1/1.png: 1 taken for" in text
    assert "0/0.png = 1/0.png" in text  # of the audit
    assert 'alt="0/0.png: almost one color' in text
    # The page is made to be sent.
    for told in (str(tmp_path), str(workdir.parent), str(Path.home())):
        assert told not in text
    # Where no page can be written the scores are told, and why there is none.
    page = tmp_path / "report_scores.html"
    page.mkdir()
    capsys.readouterr()
    run(dataclasses.replace(given, output=str(tmp_path / "scores.CSV")))
    told = capsys.readouterr()
    assert "accuracy" in told.out
    assert "no report: " in told.err and str(page) in told.err
    assert "\n1,0/1.png,0," in (tmp_path / "scores.CSV").read_text()


def test_scores_are_not_written_where_the_page_goes(
    workdir: Path, tmp_path: Path
) -> None:
    output = tmp_path / "scores.html"
    with pytest.raises(InputError, match=r"give --output=.*scores\.json"):
        run(Options("evaluate", workdir=str(workdir), output=str(output)))
    assert not output.exists()


def test_images_that_were_trained_on_are_told(
    workdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = load_splits(read(workdir).config, pytest.fail)
    for count, part in ((5, splits.train), (3, splits.test)):
        for i in range(count):
            folder = tmp_path / "photos" / splits.train.classes[part.labels[i]]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(part.images[i]).save(folder / f"{count}_{i}.png")
    output, data = tmp_path / "scores.json", str(tmp_path / "photos")
    assert evaluated(workdir, output, data=data)[0]["trained_on_count"] == 5
    assert "5 of the images were trained on, or held out" in capsys.readouterr().out
    scores, _ = evaluated(workdir, output)
    assert scores["trained_on_count"] == 0
    assert scores["images"][3]["path"] is None  # synthetic hands are of no file
    assert "KNOWN" not in capsys.readouterr().out


def test_own_data_that_are_gone_are_told_with_what_to_do(
    workdir: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(workdir, tmp_path / "run")
    record = json.loads((moved / "run.json").read_text())
    record["data"]["source"] = "folder"
    record["config"]["data"]["dir"] = str(tmp_path / "gone")
    (moved / "run.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="gone: no such file.*score by --data"):
        run(Options("evaluate", workdir=str(moved)))


def test_an_audit_that_cannot_be_is_told_with_the_reason(
    workdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("train", "test"):
        write_photos(tmp_path / "photos" / part)
    output, data = tmp_path / "scores.json", str(tmp_path / "photos")
    # An audit is of all parts of a folder, the score of test/ alone.
    for most in (8, 7):
        monkeypatch.setattr(report, "_MOST_AUDITED", most)
        lines = report.audit_path(data, Console()).lines
        assert ("every two of 8 images" in lines[0]) == (most < 8)
    monkeypatch.undo()
    scores, _ = evaluated(workdir, output, data=data)
    assert [image["path"] for image in scores["images"]] == [
        f"test/{name}.png" for name in ("0/0", "0/1", "1/0", "1/1")
    ]

    def refuse(path: str, *, nested: bool) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(report, "open_parts", refuse)
    assert "Permission denied" in report.audit_path(data, Console()).lines[0]


@pytest.mark.parametrize(("count", "whole"), [(20, True), (21, False)])
def test_many_classes_are_printed_without_what_they_are_taken_for(
    count: int, whole: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = tuple(f"class{i}" for i in range(count))
    scores = score(10.0 * np.eye(count), np.arange(count), classes)
    evaluate._print_classes(Console(), scores)
    lines = capsys.readouterr().out.splitlines()
    assert sum("1.000" in line for line in lines) == count
    assert any("predicted as" in line for line in lines) == whole
    assert max(map(len, lines)) < 80 or whole


def test_evaluate_and_predict_use_it(
    workdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "scores.json"
    stored = json.loads((workdir / "calibration.json").read_text())
    scores, page = evaluated(workdir, output)
    assert scores["calibrated"]["held_out"] == stored
    assert len(scores["images"]) == scores["count"] == 24
    assert page.startswith("<!DOCTYPE html>")
    photo = tmp_path / "photo.png"
    Image.fromarray(np.full((70, 90, 3), 130, np.uint8)).save(photo)

    def predicted(calibration: dict[str, Any], **flags: Any) -> tuple[str, str]:
        """What --mode=predict says of the photo on stdout and stderr."""
        (workdir / "calibration.json").write_text(json.dumps(calibration))
        capsys.readouterr()
        run(Options("predict", workdir=str(workdir), arguments=(str(photo),), **flags))
        return capsys.readouterr()

    stored |= {"temperature": 50.0, "threshold": 0.9}
    answer, told = predicted(stored, json=True)
    assert json.loads(answer)["label"] is None
    assert json.loads(answer)["confidence"] < 0.25
    assert "may be wrong" not in told
    sheet = tmp_path / "sheet.html"
    line, told = predicted(stored, sheet=str(sheet))[0].splitlines()
    assert line.startswith(f"{photo}  unsure  0.") and "below 0.900" in line
    assert told == f"sheet: {sheet}" and "photo.png<br>" in sheet.read_text()
    _, told = predicted(stored | {"risk": None})
    assert "over 5% of the answers may be wrong" in told
    with pytest.raises(InputError, match="calibration.json is not what training"):
        predicted({})
    (workdir / "calibration.json").unlink()
    (workdir / "trained_on.json").write_text("null")
    with pytest.raises(InputError, match="trained_on.json is not what training"):
        run(Options("evaluate", workdir=str(workdir)))
