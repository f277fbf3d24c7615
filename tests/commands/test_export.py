"""--mode=export as people run it: the folder, or one line and nothing."""

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import main as program
from signjax.commands import common, export
from signjax.commands.cli import Options, run
from signjax.errors import InputError, RunError
from signjax.export.card import model_card
from signjax.export.record import model_record
from signjax.export.trained import answering, in_float32
from signjax.runtime.console import Console
from tests.conftest import ROOT
from tests.helpers.command_line import CNN, main
from tests.helpers.images import smooth

onnx = pytest.importorskip("onnx", reason='needs pip install "signjax[export]"')
onnxruntime = pytest.importorskip(
    "onnxruntime", reason='needs pip install "signjax[export]"'
)
pytestmark = pytest.mark.usefixtures("shared_cache")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CNN trained for 8 epochs on synthetic hands, with a temperature."""
    workdir = tmp_path_factory.mktemp("run") / "cnn"
    validation = "--config.data.validation_fraction=0.3"
    done = main(*CNN, "--config.train.epochs=8", validation, f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr
    return workdir


@pytest.fixture(scope="module")
def exported(trained: Path) -> Path:
    folder = trained.parent / "new" / "exported"
    done = main("--mode=export", f"--workdir={trained}", f"--output={folder}")
    assert done.returncode == 0, done.stderr
    assert "24 images (synthetic test): the same labels" in done.stdout
    assert "ONNX Runtime" in done.stdout and "signjax" in done.stdout
    return folder


@pytest.mark.smoke
def test_the_folder_holds_what_the_guide_says(exported: Path) -> None:
    names = sorted(path.name for path in exported.iterdir())
    assert names == ["README.md", "model.json", "model.onnx", "model.stablehlo"]
    assert [path.name for path in exported.parent.iterdir()] == ["exported"]


def test_a_photograph_is_answered_as_predict_does(
    exported: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photograph = smooth(200)[:150]
    Image.fromarray(photograph).save(tmp_path / "photo.png")
    path = str(tmp_path / "photo.png")
    run(Options("predict", workdir=str(trained), json=True, arguments=(path,)))
    answer = json.loads(capsys.readouterr().out)
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    probabilities, label, seen = session.run(None, {"photograph": photograph[None]})
    own = list(answer["probabilities"].values())
    np.testing.assert_allclose(probabilities[0], own, atol=1e-3)
    classes = json.loads((exported / "model.json").read_text())["classes"]
    assert classes[label[0]] == answer["label"]
    content = bytearray((exported / "model.stablehlo").read_bytes())
    again = jax.export.deserialize(content).call(seen)
    np.testing.assert_allclose(again, probabilities, atol=1e-5)


def test_the_record_says_what_the_model_is(exported: Path, trained: Path) -> None:
    record = json.loads((exported / "model.json").read_text())
    run_record = json.loads((trained / "run.json").read_text())
    result = json.loads((trained / "result.json").read_text())
    calibration = json.loads((trained / "calibration.json").read_text())
    assert record["classes"] == run_record["classes"]
    assert record["data"]["sha256"] == run_record["data"]["sha256"]
    assert record["image_size"] == 64 and record["preprocessing"]["crop"] == 1.0
    assert record["scores"]["accuracy"] == result["test"]["accuracy"]
    assert record["temperature"] == calibration["temperature"] != 1
    assert record["licence"]["id"] == "apache-2.0"
    assert record["checked"]["count"] == 24
    assert max(record["checked"]["largest_difference"].values()) < 1e-4
    assert str(trained.parent) not in json.dumps(record)


def test_the_card_is_read_by_hugging_face(exported: Path) -> None:
    yaml = pytest.importorskip("yaml")
    text = (exported / "README.md").read_text()
    _, header, body = text.split("---\n", 2)
    fields = yaml.safe_load(header)
    assert fields["license"] == "apache-2.0"
    assert fields["pipeline_tag"] == "image-classification"
    (model,) = fields["model-index"]
    (result,) = model["results"]
    accuracy = json.loads((exported / "model.json").read_text())["scores"]["accuracy"]
    assert result["metrics"][0]["value"] == pytest.approx(accuracy, abs=1e-4)
    assert "# cnn-seed" in body


def test_the_card_counts_what_was_learned_from(exported: Path, trained: Path) -> None:
    learned = json.loads((trained / "run.json").read_text())["train_size"]
    card = (exported / "README.md").read_text()
    assert f"Trained on {learned:,} images: synthetic hands (" in card
    record = json.loads((exported / "model.json").read_text())
    record["data"] |= {"source": "digits", "train_size": 2249, "synthetic_count": 540}
    words = "Trained on 1,709 images: SIGNS and the Ankara digits, and on 540 synthetic"
    assert words in model_card(record, {})


def test_accuracy_on_images_learned_from_is_no_result_to_publish(
    exported: Path,
) -> None:
    record = json.loads((exported / "model.json").read_text())
    record["scores"]["trained_on_count"] = 5
    card = model_card(record, {})
    assert "5 of the images were trained on" in card and "model-index" not in card


def test_the_card_s_program_runs(exported: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exported, tmp_path / "copy")
    Image.fromarray(smooth(100)).save(folder / "photo.jpg")
    program = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    label, confidence = done.stdout.split()
    assert label in [*"012345", "unsure"] and 1 / 6 <= float(confidence) <= 1


def digest(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
    }


def test_a_folder_with_files_is_left_alone(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    before = digest(tmp_path)
    options = Options(mode="export", workdir=str(trained), output=str(tmp_path))
    with pytest.raises(InputError, match="a folder with files in it; name a new"):
        run(options)
    assert digest(tmp_path) == before


def test_without_a_workdir_it_writes_the_recogniser_in_the_box(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "exported"
    run(Options(mode="export", output=str(folder), precision="float16"))
    told = capsys.readouterr().err
    assert told.startswith("model: the recogniser in the box")
    assert "no scores are told" in told
    record = json.loads((folder / "model.json").read_text())
    assert record["classes"] == [*"0123456789"]
    assert record["precision"] == "float16"
    weights = onnx.load(folder / "model.onnx").graph.initializer
    kinds = {x.data_type for x in weights if len(x.dims) in (2, 4) and x.dims[0] > 1}
    assert onnx.TensorProto.FLOAT16 in kinds
    assert (folder / "model.onnx").stat().st_size <= 3_000_000


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--workdir={run}",), "--output is missing"),
        (("--workdir={run}", "--output=x", "--precision=float8"), "float16"),
        (("--workdir={run}", "--output=x", "--weights=y"), "for the page alone"),
        (("--workdir=nowhere", "--output=x"), "holds no run"),
        (("--workdir={run}", "--output=main.py"), "main.py: a file; name a new"),
        (("--workdir={run}", "--output=main.py/x"), "main.py/x"),
    ],
)
def test_a_mistake_is_one_line(
    trained: Path,
    flags: tuple[str, ...],
    told: str,
    root: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = (flag.format(run=trained) for flag in flags)
    assert program.main(["main.py", "--mode=export", *words]) == 2
    errors = capsys.readouterr().err.splitlines()
    (line,) = [x for x in errors if not x.startswith("WARNING")]
    assert line.startswith("error: ") and told in line
    assert not (root / "x").exists()


def test_a_missing_package_is_told(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "find_spec", lambda name: None)
    options = Options(mode="export", workdir=str(trained), output=str(tmp_path / "x"))
    with pytest.raises(InputError, match=r'onnx, .* -e "\.\[export\]"'):
        run(options)


def test_what_answers_otherwise_is_not_kept(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from signjax.export import write

    def wrong(answering, **options):
        biased = jax.tree.map(lambda x: x + 0.5, answering.variables)
        return onnx_model(replace(answering, variables=biased), **options)

    onnx_model = write.onnx_model
    monkeypatch.setattr(write, "onnx_model", wrong)
    options = Options(mode="export", workdir=str(trained), output=str(tmp_path / "x"))
    with pytest.raises(RunError, match="model.onnx does not answer as the program"):
        run(options)
    assert list(tmp_path.iterdir()) == []


def test_without_its_images_synthetic_hands_check_it(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def gone(*_):
        raise InputError("the photographs are gone")

    monkeypatch.setattr(export, "load_own_splits", gone)
    folder = tmp_path / "x"
    run(Options(mode="export", workdir=str(trained), output=str(folder)))
    assert "checked on synthetic hands" in capsys.readouterr().err
    record = json.loads((folder / "model.json").read_text())
    assert record["checked"]["images"] == "synthetic hands"
    assert record["scores"] is None
    assert "no test images of its own" in (folder / "README.md").read_text()


def test_photographs_in_folders_of_people_check_it(
    tmp_path: Path, shared_cache: None
) -> None:
    (tmp_path / "3" / "anna").mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "hand.jpg", tmp_path / "3" / "anna")
    evaluation = export.evaluation_to_export(
        Options("export", data=str(tmp_path)), Console()
    )
    assert evaluation.scores["accuracy"] == 1


def test_the_licence_of_pretrained_weights_is_not_that_of_the_images(
    trained: Path,
) -> None:
    model = common.open_model(Options("export", workdir=str(trained)), Console())
    model.run.config.model.weights = "keras-imagenet"
    record = model_record(
        model,
        answering(in_float32(model), None),
        None,
        None,
        precision="float32",
        checked={},
    )
    assert record["licence"]["id"] == "unknown"
    assert "the pretrained weights have their own" in record["licence"]["reason"]
