"""The page that finds hands, in headless Chromium, answers as predict does."""

import os
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from signjax.runtime.files import read_json
from signjax.workdir import RECOGNISER
from tests.conftest import ROOT
from tests.helpers.browser import Browser, browsing, fake_camera
from tests.helpers.page import (
    FRAME,
    NEEDS,
    PACKAGE,
    opened,
    predicted,
    printed,
    shown,
    write_camera,
)

pytest.importorskip("onnxruntime", reason='needs pip install "signjax[export]"')

from signjax.export.serve import serving  # noqa: E402

pytestmark = NEEDS
THRESHOLD = read_json(RECOGNISER / "calibration.json")["threshold"]


@pytest.fixture(scope="module")
def weights(shared: Path) -> str:
    """The flag that names MediaPipe's networks."""
    folder = shared / "weights" / "mediapipe_hands"
    if not folder.is_dir():
        pytest.skip("the weights mediapipe_hands are not in shared/")
    return f"--weights={folder}"


@pytest.fixture(scope="module")
def scenes(shared: Path) -> list[Path]:
    """A photograph of each digit: people in rooms."""
    folders = sorted((shared / "datasets" / "scenes").glob("[0-9]"))
    if not folders:
        pytest.skip("the scenes are not in shared/")
    return [sorted(folder.iterdir())[2] for folder in folders]


@pytest.fixture(scope="module")
def person(scenes: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A camera's frame of a person in a room, who shows a two."""
    frame = Image.new("RGB", FRAME, "gray")
    with Image.open(scenes[1]) as scene:
        frame.paste(scene.convert("RGB").resize((480, 480)), (160, 0))
    frame.save(path := tmp_path_factory.mktemp("person") / "frame.png")
    return path


@pytest.fixture(scope="module")
def page(
    shared_cache: None,
    person: Path,
    weights: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Browser, str]]:
    """A browser whose camera shows the person, and the page's address."""
    shutil.copy(PACKAGE, os.environ["SIGNJAX_CACHE"])
    folder = tmp_path_factory.mktemp("page")
    flags = ("--mode=export", f"--output={folder / 'site'}", "--page", weights)
    assert "palm.onnx" in printed(*flags)
    with Image.open(person) as frame:
        write_camera(frame, folder / "camera.mjpeg")
    with (
        serving(folder / "site") as address,
        browsing(folder, *fake_camera(folder / "camera.mjpeg")) as browser,
    ):
        yield browser, address


def test_a_hand_is_found_anywhere_as_predict_finds_it(
    page: tuple[Browser, str], scenes: list[Path], weights: str
) -> None:
    browser = opened(page)
    none = ROOT / "tests" / "golden" / "chelsea.png"
    photographs = [ROOT / "docs" / "hand.jpg", *scenes, none]
    answers = predicted(weights, *photographs)
    for photograph, answer in zip(photographs, answers, strict=True):
        digit, sure = shown(browser, photograph)
        assert sure == pytest.approx(answer["confidence"], abs=0.1), photograph
        clear = abs(answer["confidence"] - THRESHOLD) > 0.1
        assert digit == (answer["label"] or "?") or not clear, photograph
        if answer["box"]:
            with Image.open(photograph) as image:
                assert box(browser, image.size) == pytest.approx(answer["box"], abs=8)
    assert "No hand found" in browser.text("#hint")
    assert browser.console() == []


def test_the_camera_s_hand_is_found_too(
    page: tuple[Browser, str], person: Path, weights: str
) -> None:
    (answer,) = predicted(weights, person)
    browser = opened(page)
    browser.click("#camera")
    browser.wait("Number(document.body.dataset.answers) > 10")
    assert browser.text("#digit") == answer["label"]
    assert "The box is where a hand was found" in browser.text("#hint")
    # Mirrored, as people expect of a camera.
    left, top, right, bottom = answer["box"]
    wanted = [FRAME[0] - right, top, FRAME[0] - left, bottom]
    assert box(browser, FRAME) == pytest.approx(wanted, abs=8)
    with urllib.request.urlopen(page[1] + "mediapipe/LICENSE.txt") as response:
        text = response.read().decode()
    assert "The MediaPipe Authors" in text and "Apache License" in text
    assert "MediaPipe Hands (Apache-2.0)" in browser.text("#finder")


def box(browser: Browser, size: tuple[int, int]) -> list[float]:
    """left, top, right and bottom of the box that is drawn, in pixels of a picture."""
    shares = browser.run(
        "const { left, top, width, height } = document.querySelector('#box').style;"
        "return [left, top, width, height].map((share) => parseFloat(share) / 100)"
    )
    left, top, width, height = np.array(shares) * [*size, *size]
    return [left, top, left + width, top + height]
