"""The command line as people run it: real processes, their output and exit status."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from configs import cnn, resnet
from signjax.commands.cli import Options, run
from signjax.config import Config
from tests.helpers.command_line import CNN, ROOT, main
from tests.helpers.records import metrics

pytestmark = pytest.mark.usefixtures("shared_cache")
NOWHERE = "http://127.0.0.1:9"  # a proxy where nothing listens
SIX_EPOCHS = (
    *(word for word in CNN if "source" not in word),
    "--config.train.epochs=6",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CNN trained for 6 epochs where SIGNS cannot be downloaded."""
    workdir = tmp_path_factory.mktemp("cnn")
    done = main(*SIX_EPOCHS, f"--workdir={workdir}", https_proxy=NOWHERE)
    assert done.returncode == 0, done.stderr
    [line] = done.stderr.splitlines()
    assert "WARNING" in line and "SYNTHETIC" in line
    return workdir


@pytest.mark.smoke
def test_without_a_network_it_learns_synthetic_hands_and_leaves_what_is_documented(
    trained: Path,
) -> None:
    records = metrics(trained)
    assert [record["epoch"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert [record["step"] for record in records] == [5, 10, 15, 20, 25, 30]
    assert {record["data"] for record in records} == {"synthetic"}
    result = json.loads((trained / "result.json").read_text())
    assert result["data"]["source"] == "synthetic"
    assert result["train"]["count"] == 72
    assert result["test"]["count"] == 24
    assert result["test"]["accuracy"] == records[-1]["test_accuracy"]
    with Image.open(trained / "learning_curves.png") as curves:
        assert curves.format == "PNG"


def test_a_finished_run_says_so_and_evaluates(trained: Path) -> None:
    before = (trained / "metrics.jsonl").read_bytes()
    again = main(*SIX_EPOCHS, f"--workdir={trained}", https_proxy=NOWHERE)
    assert again.returncode == 0, again.stderr
    assert "finished" in again.stdout
    assert "test  accuracy" in again.stdout
    assert (trained / "metrics.jsonl").read_bytes() == before


@pytest.mark.smoke
def test_evaluate_repeats_what_training_reported(trained: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores.json"
    done = main("--mode=evaluate", f"--workdir={trained}", f"--output={output}")
    assert done.returncode == 0, done.stderr
    scores = json.loads(output.read_text())
    assert scores["accuracy"] == metrics(trained)[-1]["test_accuracy"]
    assert scores["loss"] == pytest.approx(metrics(trained)[-1]["test_loss"])
    confusion = np.array(scores["confusion"])
    assert confusion.sum() == scores["count"] == 24
    assert np.trace(confusion) / 24 == scores["accuracy"]
    assert scores["classes"] == list("012345")
    low, high = scores["interval95"]
    assert low < scores["accuracy"] < high


def test_evaluate_matches_classes_by_name_and_counts_the_rest(
    trained: Path, tmp_path: Path
) -> None:
    # Folders in another order than the model's classes, one of them unknown to it.
    rng = np.random.default_rng(0)
    for name, count in (("5", 3), ("0", 2), ("banana", 4)):
        (tmp_path / "hands" / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (80, 64, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "hands" / name / f"{i}.png")
    output = tmp_path / "scores.json"
    data = str(tmp_path / "hands")
    run(Options("evaluate", workdir=str(trained), data=data, output=str(output)))
    scores = json.loads(output.read_text())
    assert scores["count"] == 5
    assert scores["left_out"] == {"banana": 4}
    assert [sum(row) for row in scores["confusion"]] == [2, 0, 0, 0, 0, 3]


@pytest.mark.smoke
def test_predict_goes_on_past_a_bad_image(trained: Path, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.jpg", tmp_path / "bad.jpg"
    Image.fromarray(np.full((300, 200, 3), 200, np.uint8)).save(good)
    bad.write_text("<!DOCTYPE html>")
    empty = tmp_path / "empty"
    empty.mkdir()
    named = (str(path) for path in (bad, empty, good))
    done = main("--mode=predict", f"--workdir={trained}", "--json", *named)
    assert done.returncode == 2
    assert str(bad) in done.stderr
    assert str(empty) in done.stderr
    assert "2 could not be read" in done.stderr
    assert "to let it abstain" in done.stderr  # as nothing was held out
    assert "Traceback" not in done.stderr
    (line,) = done.stdout.splitlines()
    answer = json.loads(line)
    assert answer["path"] == str(good)
    assert answer["label"] == max(
        answer["probabilities"], key=answer["probabilities"].get
    )
    assert answer["confidence"] == max(answer["probabilities"].values())
    assert sum(answer["probabilities"].values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("config", "total"),
    [
        (cnn.get_config(), "total 1,310 parameters, 1,310 trainable"),
        (
            resnet.get_config("seed"),
            "total 23,600,006 parameters, 23,546,886 trainable",
        ),
    ],
)
def test_summary_ends_with_the_totals(
    config: Config, total: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(Options("summary", config=config))
    assert capsys.readouterr().out.splitlines()[-1] == total


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("argument", "switch", "told"),
    [
        ("--epochs=5", {}, "--config.train.epochs=5"),
        (CNN[0], {"JAX_PLATFORMS": "cuda"}, "that JAX_PLATFORMS=cuda names"),
        (CNN[0], {"JAX_DEFAULT_MATMUL_PRECISION": "foo"}, "default_matmul_precision"),
    ],
)
def test_wrong_input_gets_one_line_and_status_2(
    argument: str, switch: dict, told: str, tmp_path: Path
) -> None:
    done = main(argument, f"--workdir={tmp_path / 'run'}", **switch)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert told in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_user_without_a_name_or_a_home_trains(
    image_folder: Path, tmp_path: Path
) -> None:
    """As in a container that is run as a numeric user."""
    nobody = (
        "import pwd, runpy, sys\n"
        "def getpwuid(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = getpwuid\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        f"runpy.run_path({str(ROOT / 'main.py')!r}, run_name='__main__')"
    )
    bare = {"PATH": os.environ["PATH"], "JAX_PLATFORMS": "cpu"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", nobody, *arguments],
            cwd=ROOT,
            env=bare,
            capture_output=True,
            text=True,
        )

    trained = run(
        "--config=configs/cnn.py:seed",
        "--config.data.source=folder",
        f"--config.data.dir={image_folder}",
        "--config.train.epochs=1",
        "--config.train.batch_size=8",
        f"--workdir={tmp_path}",
    )
    assert trained.returncode == 0, trained.stderr
    refused = run("--mode=port", "--weights=keras-imagenet", "--workdir=none")
    assert refused.stderr.startswith("error: there is no home directory")
    assert "SIGNJAX_CACHE" in refused.stderr
