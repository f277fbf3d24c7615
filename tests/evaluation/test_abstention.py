"""Calibration travels from training through the workdir to evaluate and predict."""

import dataclasses
import errno
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from configs import cnn
from signjax import build
from signjax.commands import evaluate
from signjax.commands.cli import Options, run
from signjax.commands.evaluate import describe, score_calibrated
from signjax.commands.predict import answers
from signjax.data.dataset import Dataset
from signjax.errors import InputError
from signjax.evaluation.calibration import Calibration, read_calibration
from signjax.evaluation.metrics import score, softmax
from signjax.runtime.console import Console
from signjax.workdir import read

FITTED = Calibration(
    step=4,
    count=100,
    temperature=2.0,
    threshold=0.6,
    risk=0.05,
    loss=(1.0, 0.9),
    ece=(0.2, 0.1),
)
# At temperature 2 the confidences are 3/4, 1/2 and 9/11.
LOGITS = 2 * np.log(np.array([[3.0, 0.5, 0.5], [1.0, 0.5, 0.5], [0.5, 0.5, 4.5]]))
CLASSES = ("a", "b", "c")


def test_unsure_answers_have_no_label_and_a_reason() -> None:
    found = list(answers(["x", "y", "z"], LOGITS, CLASSES, FITTED))
    assert [answer["label"] for answer in found] == ["a", None, "c"]
    assert [answer["likeliest"] for answer in found] == ["a", "a", "c"]
    assert [answer["confidence"] for answer in found] == pytest.approx(
        [3 / 4, 1 / 2, 9 / 11]
    )
    assert [answer["reason"] for answer in found] == [
        None,
        "confidence below 0.600",
        None,
    ]
    assert all(answer["calibrated"] for answer in found)
    assert sum(found[1]["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize(
    "calibration", [None, dataclasses.replace(FITTED, threshold=None)]
)
def test_without_a_threshold_every_image_gets_a_label(
    calibration: Calibration | None,
) -> None:
    found = list(answers(["x", "y", "z"], LOGITS, CLASSES, calibration))
    assert [answer["label"] for answer in found] == ["a", "a", "c"]
    assert found[0]["calibrated"] == (calibration is not None)
    scaled = LOGITS / (calibration.temperature if calibration else 1)
    assert found[1]["confidence"] == pytest.approx(softmax(scaled)[1, 0])


def test_what_evaluate_says_of_a_calibration() -> None:
    images = np.zeros((3, 2, 2, 3), np.uint8)
    data = Dataset(images, np.array([0, 0, 1], np.int32), CLASSES)
    scores = score_calibrated(FITTED, LOGITS, data)
    assert scores["temperature"] == 2.0
    likelihoods = [3 / 4, 1 / 2, 1 / 11]
    assert scores["loss"] == pytest.approx(-np.mean(np.log(likelihoods)))
    # Three images are three bins.
    assert scores["ece"] == pytest.approx((1 / 4 + 1 / 2 + 9 / 11) / 3)
    assert scores["answered"]["coverage"] == pytest.approx(2 / 3)
    assert scores["answered"]["accuracy"] == 0.5
    whole = score(LOGITS, data.labels, CLASSES) | {
        "data": "photos",
        "left_out": {},
        "model": "runs/cnn",
        "step": 4,
        "trained_on": "signs",
        "trained_on_count": 0,
        "calibrated": scores,
    }
    assert describe(whole)["answered"].startswith("66.7% of the images")
    assert "unsure" not in describe(whole)
    assert "validation_fraction" in describe(whole | {"calibrated": None})["unsure"]
    unmet = dataclasses.replace(FITTED, risk=None)
    told = describe(whole | {"calibrated": score_calibrated(unmet, LOGITS, data)})
    assert told["answered"].startswith("66.7% of the images")
    assert "wrong oftener than in 5%" in told["unsure"]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A CNN trained for a moment on synthetic hands, a quarter of them held out."""
    directory = tmp_path_factory.mktemp("run")
    config = cnn.get_config("")
    config.data.source = "synthetic"
    config.data.synthetic_train, config.data.synthetic_test = 96, 24
    config.data.validation_fraction = 0.25
    config.train.epochs, config.train.batch_size = 2, 24
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGNJAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        run(Options("train", config=config, workdir=str(directory)))
        yield directory


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
    assert "120 pictures (train 72, validation 24, test 24)" in page


def test_a_report_compares_no_more_pictures_than_it_can(
    workdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "scores.json"
    told = []
    for most in (120, 119):
        monkeypatch.setattr(evaluate, "_MOST_AUDITED", most)
        run(Options("evaluate", workdir=str(workdir), output=str(output)))
        page = output.with_name("report_scores.html").read_text()
        told.append("every two of 120 pictures" in page)
    assert told == [False, True]
    # An audit is of all parts of a folder, the score of test/ alone.
    for part in ("train", "test"):
        write_photos(tmp_path / "photos" / part)
    for most, expected in ((8, False), (7, True)):
        monkeypatch.setattr(evaluate, "_MOST_AUDITED", most)
        data = str(tmp_path / "photos")
        given = Options("evaluate", workdir=str(workdir), data=data, output=str(output))
        run(given)
        page = output.with_name("report_scores.html").read_text()
        assert ("every two of 8 pictures" in page) == expected


def write_photos(folder: Path) -> Path:
    """Two pictures each of classes 0 and 1."""
    for name in "01":
        (folder / name).mkdir(parents=True)
        for i in range(2):
            pixels = np.full((70, 90, 3), 40 * i + 100, np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


def test_the_page_of_other_data_leaves_that_of_the_own_test(
    workdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = write_photos(tmp_path / "photos")
    own = (workdir / "report.html").read_bytes()
    given = Options("evaluate", workdir=str(workdir), data=str(photos))
    run(given)
    assert (workdir / "report.html").read_bytes() == own
    page = workdir / f"report_{tmp_path.name}_photos.html"
    assert f"{photos}: 4 images" in page.read_text()
    # Nor do pages of other data of that name, of the best model, or beside files.
    others = write_photos(tmp_path / "others" / "photos")
    run(Options("evaluate", workdir=str(workdir), data=str(others)))
    run(Options("evaluate", workdir=str(workdir), best=True))
    for name in ("scores.a", "scores.b"):
        run(Options("evaluate", workdir=str(workdir), output=str(tmp_path / name)))
        assert (tmp_path / f"report_{name}.html").exists()
    assert (workdir / "report.html").read_bytes() == own
    assert f"{workdir}, step 6" in (workdir / "report_best.html").read_text()
    assert f"{photos}: 4 images" in page.read_text()
    assert (workdir / "report_others_photos.html").exists()
    # Where no page can be written the scores are told, and why there is none.
    page.unlink()
    page.mkdir()
    capsys.readouterr()
    run(given)
    told = capsys.readouterr()
    assert "accuracy" in told.out
    assert "no report: " in told.err and str(page) in told.err
    page.rmdir()


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
    splits = build.load_splits(read(workdir).config, pytest.fail)
    for count, part in ((5, splits.train), (3, splits.test)):
        for i in range(count):
            folder = tmp_path / "photos" / splits.train.classes[part.labels[i]]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(part.images[i]).save(folder / f"{count}_{i}.png")
    output = tmp_path / "scores.json"
    data = str(tmp_path / "photos")
    run(Options("evaluate", workdir=str(workdir), data=data, output=str(output)))
    assert json.loads(output.read_text())["trained_on_count"] == 5
    assert "5 of the images were trained on, or held out" in capsys.readouterr().out
    run(Options("evaluate", workdir=str(workdir), output=str(output)))
    assert json.loads(output.read_text())["trained_on_count"] == 0
    assert "trained on:" not in capsys.readouterr().out


def test_own_data_that_are_gone_are_told_with_what_to_do(
    workdir: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(workdir, tmp_path / "run")
    record = json.loads((moved / "run.json").read_text())
    record["data"]["source"] = "folder"
    record["config"]["data"]["dir"] = str(tmp_path / "gone")
    (moved / "run.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="gone: no such folder.*score by --data"):
        run(Options("evaluate", workdir=str(moved)))


def test_an_audit_that_cannot_be_is_told_on_the_page(
    workdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("train", "test"):
        write_photos(tmp_path / "photos" / part)
    (tmp_path / "photos" / "val").mkdir()  # without class folders
    output = tmp_path / "scores.json"
    data = str(tmp_path / "photos")
    given = Options("evaluate", workdir=str(workdir), data=data, output=str(output))
    run(given)
    assert json.loads(output.read_text())["count"] == 4
    page = output.with_name("report_scores.html").read_text()
    assert "left out: " in page and f"{tmp_path}/photos/val" in page

    def refuse(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(evaluate, "count_pictures", refuse)
    run(given)
    assert "Permission denied" in output.with_name("report_scores.html").read_text()


@pytest.mark.parametrize(("count", "whole"), [(20, True), (21, False)])
def test_many_classes_are_printed_without_what_they_are_taken_for(
    count: int, whole: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = tuple(f"class{i}" for i in range(count))
    scores = score(10.0 * np.eye(count), np.arange(count), classes)
    evaluate._print(Console(), {}, scores)
    lines = capsys.readouterr().out.splitlines()
    assert sum("1.000" in line for line in lines) == count
    assert any("predicted as" in line for line in lines) == whole
    assert max(map(len, lines)) < 80 or whole


def test_evaluate_and_predict_use_it(
    workdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "scores.json"
    run(Options("evaluate", workdir=str(workdir), output=str(output)))
    scores = json.loads(output.read_text())
    stored = json.loads((workdir / "calibration.json").read_text())
    assert scores["calibrated"]["held_out"] == stored
    assert (tmp_path / "report_scores.html").read_text().startswith("<!DOCTYPE html>")
    photo = tmp_path / "photo.png"
    Image.fromarray(np.full((70, 90, 3), 130, np.uint8)).save(photo)
    stored |= {"temperature": 50.0, "threshold": 0.9}
    (workdir / "calibration.json").write_text(json.dumps(stored))
    capsys.readouterr()
    for as_json in (True, False):
        run(
            Options(
                "predict", workdir=str(workdir), json=as_json, arguments=(str(photo),)
            )
        )
    told = capsys.readouterr()
    assert "may be wrong oftener" not in told.err
    answer, line = told.out.splitlines()
    assert json.loads(answer)["label"] is None
    assert json.loads(answer)["confidence"] < 0.25
    assert line.startswith(f"{photo}  unsure  0.") and "below 0.900" in line
    (workdir / "calibration.json").write_text(json.dumps(stored | {"risk": None}))
    run(Options("predict", workdir=str(workdir), arguments=(str(photo),)))
    assert "answers may be wrong oftener than in 5%" in capsys.readouterr().err
    for wrong in (
        {},
        stored | {"temperature": math.nan},
        stored | {"threshold": math.nan},
        stored | {"temperature": "1.0"},
        stored | {"temperature": 0},
        stored | {"threshold": "x"},
    ):
        (workdir / "calibration.json").write_text(json.dumps(wrong))
        with pytest.raises(InputError, match="calibration.json is not what training"):
            run(Options("evaluate", workdir=str(workdir)))
    (workdir / "calibration.json").unlink()
    (workdir / "trained_on.json").write_text("null")
    with pytest.raises(InputError, match="trained_on.json is not what training"):
        run(Options("evaluate", workdir=str(workdir)))
