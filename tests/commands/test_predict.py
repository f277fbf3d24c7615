"""--mode=predict without --workdir: the recogniser in the box."""

import json
import math
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from signjax.commands import cut_out, predict
from signjax.commands.cli import Options, run
from signjax.errors import InputError
from signjax.evaluation import sheet
from signjax.runtime import console
from signjax.runtime.packed import FILE
from signjax.workdir import RECOGNISER
from tests.conftest import ROOT

pytestmark = pytest.mark.usefixtures("shared_cache")
HAND = ROOT / "docs" / "hand.jpg"
CAT = ROOT / "tests" / "golden" / "chelsea.png"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is taken for slow, however busy the machine."""
    monkeypatch.setattr(console, "SLOW", math.inf)


def predicted(
    capsys: pytest.CaptureFixture[str], *paths: Path
) -> tuple[list[dict[str, Any]], str]:
    """The answers on stdout and what is said on stderr."""
    run(Options("predict", json=True, arguments=tuple(map(str, paths))))
    out, err = capsys.readouterr()
    return [json.loads(line) for line in out.splitlines()], err


@pytest.mark.smoke
def test_it_reads_a_hand_and_refuses_a_cat(capsys: pytest.CaptureFixture[str]) -> None:
    (hand, cat), told = predicted(capsys, HAND, CAT)
    assert hand["label"] == "3"
    assert cat["label"] is None
    assert list(hand["probabilities"]) == list("0123456789")
    assert told.count("\n") == 1
    assert told.startswith("model: the recogniser in the box (digits 0 to 9; ")


def test_each_name_stands_on_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(HAND, tmp_path / "a\nb.jpg")
    (tmp_path / "c\nd\x1b[2J.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="1 could not be read"):
        run(Options("predict", arguments=(str(tmp_path),)))
    out, err = capsys.readouterr()
    assert out == f"{tmp_path}/a\\nb.jpg  3  0.996\n"
    assert f"{tmp_path}/c\\nd\\x1b[2J.jpg: " in err and err.count("\n") == 2


def test_what_takes_long_is_told_beside_the_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "SLOW", 0)
    monkeypatch.setattr(console, "_POLL", 0.0001)

    def slowly(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        time.sleep(0.2)
        return function(*arguments, **options)

    for module, name in (
        (cut_out, "load_image"),
        (predict, "predict_logits"),
        (sheet, "occlusion_maps"),
    ):
        function = partial(slowly, getattr(module, name))
        monkeypatch.setattr(module, name, function)
    page = str(tmp_path / "sheet.png")
    run(Options("predict", json=True, sheet=page, arguments=(str(HAND),)))
    out, err = capsys.readouterr()
    assert [json.loads(line)["label"] for line in out.splitlines()] == ["3"]
    for told in ("images read: 0 of 1", "images to answer: 1", "looked: 0 of 1"):
        assert f"{told}\n" in err


def test_it_reads_ankara_hands(
    capsys: pytest.CaptureFixture[str], shared: Path
) -> None:
    folder = shared / "datasets" / "ankara_digits"
    files = [sorted((folder / str(digit)).iterdir())[5] for digit in range(10)]
    answers, _ = predicted(capsys, *files)
    right = [answer["likeliest"] == str(i) for i, answer in enumerate(answers)]
    assert sum(right) >= 9


def test_it_is_small() -> None:
    assert (RECOGNISER / FILE).stat().st_size <= 3_000_000


@pytest.mark.parametrize("file", ["run.json", "calibration.json", "result.json"])
def test_it_names_no_path_of_a_machine(file: str) -> None:
    text = (RECOGNISER / file).read_text()
    assert "/tmp" not in text and "/home" not in text
