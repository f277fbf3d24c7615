"""--mode=predict of a network of pixels where hands can be found in photographs."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from signjax.commands import cut_out
from signjax.commands.cli import run
from signjax.commands.parse import parse
from signjax.errors import InputError
from signjax.hands.boxes import Box
from signjax.hands.weights import PALM
from tests.conftest import ROOT

pytestmark = pytest.mark.usefixtures("shared_cache")
HAND = ROOT / "docs" / "hand.jpg"
CAT = ROOT / "tests" / "golden" / "chelsea.png"


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A photograph with two hands, 160 pixels wide, at (40, 30) and at (300, 200)."""
    photograph = np.full((480, 640, 3), 120, np.uint8)
    with Image.open(HAND) as hand:
        pixels = np.asarray(hand.convert("RGB").resize((160, 160)))
    for left, top in ((40, 30), (300, 200)):
        photograph[top : top + 160, left : left + 160] = pixels
    Image.fromarray(photograph).save(tmp_path / "room.png")
    return tmp_path / "room.png"


def predicted(
    capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[list[str], str]:
    capsys.readouterr()
    run(parse(["main.py", "--mode=predict", *arguments]))
    out, err = capsys.readouterr()
    return out.splitlines(), err


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finder that knows where the room's hands are, in place of a network's."""

    class Finder:
        def find(self, photograph: np.ndarray) -> list[Box]:
            if photograph.shape[:2] != (480, 640):
                return []
            return [Box(40, 30, 160, 0.9), Box(300, 200, 160, 0.8)]

    monkeypatch.setattr(cut_out, "open_networks", lambda given, parts: [given])
    monkeypatch.setattr(cut_out, "make_box_finder", lambda palm, device: Finder())


def test_each_hand_is_answered_where_it_is(
    found: None, capsys: pytest.CaptureFixture[str], room: Path, tmp_path: Path
) -> None:
    sheet = f"--sheet={tmp_path / 'sheet.png'}"
    flags = ("--weights=somewhere", "--json", sheet, str(room), str(CAT))
    lines, told = predicted(capsys, *flags)
    one, other, cat = (json.loads(line) for line in lines)
    assert [answer["label"] for answer in (one, other)] == ["3", "3"]
    assert [answer["path"] for answer in (one, other)] == [str(room)] * 2
    assert one["box"] == [40, 30, 200, 190] and other["box"] == [300, 200, 460, 360]
    assert cat["box"] is None and cat["label"] is None
    assert "hands: found by MediaPipe's palm detector (somewhere; Apache-2.0)" in told
    assert (tmp_path / "sheet.png").exists()

    lines, _ = predicted(capsys, "--weights=somewhere", str(room), str(CAT))
    assert lines[0].endswith(" at 40,30 to 200,190") and "  3  " in lines[0]
    assert lines[2].endswith("no hand found: of the middle of the picture")


def test_a_reduced_jpeg_s_box_is_of_the_photograph(
    found: None,
    capsys: pytest.CaptureFixture[str],
    room: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cut_out, "_ENOUGH", 480)
    large = tmp_path / "large.jpg"
    with Image.open(room) as photograph:
        photograph.resize((1280, 960)).save(large, quality=95)
    lines, _ = predicted(capsys, "--weights=somewhere", "--json", str(large))
    one, _ = (json.loads(line) for line in lines)
    assert one["label"] == "3" and one["box"] == [80, 60, 400, 380]


def test_the_network_in_the_cache_is_for_the_recogniser_in_the_box_alone(
    shared: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = shared / "weights" / "mediapipe_hands"
    if not folder.is_dir():
        pytest.skip("the weights mediapipe_hands are not in shared/")
    monkeypatch.setenv("SIGNJAX_CACHE", str(tmp_path))
    (tmp_path / "weights").mkdir()
    shutil.copy(folder / PALM.file.name, tmp_path / "weights")
    photograph = np.full((600, 800, 3), 120, np.uint8)
    with Image.open(HAND) as hand:
        photograph[250:450, 500:700] = np.asarray(
            hand.convert("RGB").resize((200, 200))
        )
    Image.fromarray(photograph).save(tmp_path / "photo.png")
    arguments = ("--json", str(tmp_path / "photo.png"))

    lines, told = predicted(capsys, *arguments)
    answer = only(lines)
    assert answer["label"] == "3"
    left, top, right, bottom = answer["box"]
    assert 450 < left < 560 and 200 < top < 320
    assert 640 < right < 750 and 380 < bottom < 500
    assert "mediapipe-hands" in told

    lines, told = predicted(capsys, "--workdir=signjax/recogniser", *arguments)
    assert "box" not in only(lines) and told == ""


def only(lines: list[str]) -> dict[str, Any]:
    (line,) = lines
    return json.loads(line)


def test_another_word_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="expected mediapipe-hands, or a folder"):
        predicted(capsys, "--weights=mediapipe", str(HAND))
