"""The page in headless Chromium: it answers as predict does, and says what is wrong."""

import os
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from signjax.runtime.files import read_json, write_json
from tests.helpers.browser import Browser, browsing, fake_camera
from tests.helpers.command_line import CNN, ROOT, command, main
from tests.helpers.page import (
    FRAME,
    NEEDS,
    PACKAGE,
    confidence,
    opened,
    predicted,
    printed,
    shown,
    write_camera,
)

onnx = pytest.importorskip("onnx", reason='needs pip install "signjax[export]"')
pytest.importorskip("onnxruntime", reason='needs pip install "signjax[export]"')
from onnx import helper  # noqa: E402

from signjax.export.check import open_session  # noqa: E402
from signjax.export.serve import serving  # noqa: E402

pytestmark = NEEDS
BOX = 384  # the page's own, 0.8 of a frame's shorter side


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory, shared_cache: None) -> Path:
    """A CNN trained for 10 epochs on synthetic hands."""
    shutil.copy(PACKAGE, os.environ["SIGNJAX_CACHE"])
    workdir = tmp_path_factory.mktemp("run") / "cnn"
    held_out = "--config.data.validation_fraction=0.3"
    done = main(*CNN, "--config.train.epochs=10", held_out, f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr
    return workdir


def export(workdir: Path, name: str) -> Path:
    folder = workdir.parent / name
    flags = ("--mode=export", f"--workdir={workdir}", f"--output={folder}", "--page")
    assert "python -m http.server" in printed(*flags)
    return folder


@pytest.fixture(scope="module")
def site(workdir: Path) -> Path:
    return export(workdir, "site")


@pytest.fixture(scope="module")
def hand(site: Path) -> Image.Image:
    """The synthetic hand that the model is surest of, as large as the box."""
    from signjax.data.synthetic import render_classes

    hands = render_classes(
        tuple("012345"), count=12, seed=5, image_size=64, pose_jitter=0.0
    ).images
    session = open_session((site / "model.onnx").read_bytes())
    (probabilities,) = session.run(["probabilities"], {"photograph": hands})
    surest = probabilities.max(axis=1).argmax()
    return Image.fromarray(hands[surest]).resize((BOX, BOX), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def page(
    site: Path, hand: Image.Image, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Browser, str]]:
    """A browser whose camera shows the hand, and the page's address."""
    folder = tmp_path_factory.mktemp("browser")
    frame = Image.new("RGB", FRAME, "gray")
    frame.paste(hand, ((FRAME[0] - BOX) // 2, (FRAME[1] - BOX) // 2))
    write_camera(frame, folder / "camera.mjpeg")
    with (
        serving(site) as address,
        browsing(folder, *fake_camera(folder / "camera.mjpeg")) as browser,
    ):
        yield browser, address


def test_the_camera_s_digit_is_that_of_predict(
    page: tuple[Browser, str], hand: Image.Image, workdir: Path, tmp_path: Path
) -> None:
    hand.save(tmp_path / "hand.png")
    (answer,) = predicted(f"--workdir={workdir}", tmp_path / "hand.png")
    browser = opened(page)
    # By the keyboard alone.
    browser.type("body", "\ue004")  # Tab
    assert browser.run("return document.activeElement.id") == "camera"
    browser.type("#camera", "\ue007")  # Enter
    browser.wait("Number(document.body.dataset.answers) > 20")
    assert browser.text("#digit") == answer["likeliest"]
    assert confidence(browser) == pytest.approx(answer["confidence"], abs=0.1)
    assert "frames/s" in browser.text("#speed")
    browser.wait("document.querySelector('#spoken').textContent")
    assert browser.text("#spoken").startswith(f"{answer['likeliest']}, ")
    # What the network saw is what the camera showed in the box.
    seen = browser.run(
        "const c = document.querySelector('#seen');"
        "return Array.from(c.getContext('2d').getImageData(0, 0, 64, 64).data)"
    )
    pixels = np.array(seen).reshape(64, 64, 4)[..., :3]
    wanted = np.asarray(hand.resize((64, 64), Image.Resampling.BICUBIC), int)
    # The fake camera's light is a little brighter than that of its file.
    assert np.corrcoef(pixels.ravel(), wanted.ravel())[0, 1] > 0.98
    mirrored = wanted[:, ::-1].ravel()
    assert np.corrcoef(pixels.ravel(), mirrored)[0, 1] < 0.98
    browser.click("#camera")
    assert "Start the camera" in browser.text("#notice")
    assert browser.text("#digit") == "–"
    assert browser.console() == []


def test_photographs_digits_are_those_of_predict(
    page: tuple[Browser, str], hand: Image.Image, workdir: Path, tmp_path: Path
) -> None:
    wide = Image.new("RGB", (600, 400), "white")
    wide.paste(hand.resize((360, 360)), (120, 20))
    wide.save(tmp_path / "wide.png")
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by a quarter, as a phone's
    hand.rotate(90).save(tmp_path / "turned.jpg", quality=95, exif=turned)
    clear = hand.convert("RGBA")
    clear.putalpha(ImageOps.invert(Image.radial_gradient("L").resize(hand.size)))
    clear.save(tmp_path / "clear.png")
    assert_same_as_predict(opened(page), workdir, sorted(tmp_path.iterdir()))


def test_ankara_photographs_too(
    page: tuple[Browser, str], workdir: Path, shared: Path
) -> None:
    folders = sorted((shared / "datasets" / "ankara_digits").glob("[0-9]"))
    photographs = [sorted(folder.iterdir())[0] for folder in folders]
    assert_same_as_predict(opened(page), workdir, photographs)


def assert_same_as_predict(
    browser: Browser, workdir: Path, photographs: list[Path]
) -> None:
    answers = predicted(f"--workdir={workdir}", *photographs)
    for photograph, answer in zip(photographs, answers, strict=True):
        digit, sure = shown(browser, photograph)
        assert sure == pytest.approx(answer["confidence"], abs=0.02), photograph
        assert digit == answer["likeliest"], photograph
    assert browser.console() == []


def test_below_the_threshold_it_says_unsure(
    workdir: Path, hand: Image.Image, tmp_path: Path
) -> None:
    other = shutil.copytree(workdir, tmp_path / "run")
    calibration = read_json(other / "calibration.json")
    write_json(other / "calibration.json", calibration | {"threshold": 0.9999})
    hand.save(tmp_path / "hand.png")
    (answer,) = predicted(f"--workdir={other}", tmp_path / "hand.png")
    assert answer["label"] is None
    with serving(export(other, "unsure")) as address, browsing(tmp_path) as browser:
        browser = opened((browser, address))
        digit, _ = shown(browser, tmp_path / "hand.png")
        assert digit == "?"
        words = browser.text("#words")
        assert "Unsure" in words and f"Likeliest {answer['likeliest']}, " in words
        assert browser.text("#spoken") == "unsure"


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("delete Navigator.prototype.mediaDevices", "https or localhost"),
        ("NotAllowedError", "not allowed: allow it for this page"),
        ("NotFoundError", "No camera was found"),
        ("NotReadableError", "in use by another program"),
    ],
)
def test_without_a_camera_it_says_why(
    page: tuple[Browser, str], script: str, told: str
) -> None:
    if script.endswith("Error"):
        script = (
            "MediaDevices.prototype.getUserMedia = () => "
            f"Promise.reject(new DOMException('', '{script}'))"
        )
    browser = opened(page, script)
    browser.click("#camera")
    browser.wait(
        "document.querySelector('#notice').textContent.includes('instead') "
        "|| document.querySelector('#notice').textContent.includes('same')"
    )
    assert told in browser.text("#notice")
    assert "A photograph works all the same" in browser.text("#notice")


def test_without_webassembly_it_says_so(page: tuple[Browser, str]) -> None:
    browser = opened(page, "delete window.WebAssembly")
    assert "no WebAssembly" in browser.text("#notice")


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("model.json", None, "model.json could not be fetched: HTTP 404"),
        ("model.json", "{not JSON", "model.json is not JSON: export"),
        ("model.json", "[]", "it (name, classes, image_size, threshold, scores"),
        (
            "model.json",
            {"classes": "012345"},
            "as an export writes it (classes): export",
        ),
        (
            "model.json",
            {"licence": {}},
            "an export writes it (licence): export",
        ),
        ("model.json", {"classes": ["a", "b"]}, "6 classes and 64 × 64 pixels, and"),
        ("model.json", {"image_size": 96}, "model.json 6 and 96 × 96: export the"),
        (
            "page.json",
            {"runtimes": None},
            "page.json is not as an export writes it (runt",
        ),
        ("model.onnx", "another's", "model.onnx is of another program: export"),
    ],
)
def test_what_is_damaged_beside_it_is_named_in_one_line(
    page: tuple[Browser, str],
    site: Path,
    tmp_path: Path,
    file: str,
    content: str | dict[str, Any] | None,
    told: str,
) -> None:
    for path in site.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / file).unlink()
    if isinstance(content, dict):
        write_json(tmp_path / file, read_json(site / file) | content)
    elif content == "another's":
        onnx.save(identity(), tmp_path / file)
    elif content:
        (tmp_path / file).write_text(content)
    browser = page[0]
    with serving(tmp_path) as address:
        browser.open(address)
        browser.wait("document.querySelector('#notice').textContent.includes('Sorry')")
    notice = browser.text("#notice")
    assert told in notice and "\n" not in notice
    assert browser.run("return document.querySelector('#file').disabled")
    assert [line for line in browser.console() if "Uncaught" in line] == []


def identity() -> onnx.ModelProto:
    """A network that gives back what it takes."""
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N"])
        for name in ("x", "y")
    ]
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "identity", ends[:1], ends[1:])
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9)


def test_a_file_that_is_no_picture_is_named(
    page: tuple[Browser, str], tmp_path: Path
) -> None:
    (tmp_path / "notes.jpg").write_text("not a picture")
    browser = opened(page)
    browser.type("#file", str(tmp_path / "notes.jpg"))
    browser.wait("document.querySelector('#notice').textContent.includes('notes')")
    assert "not a picture that this browser reads" in browser.text("#notice")


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_wider_than_the_page_or_from_elsewhere(
    page: tuple[Browser, str], width: int
) -> None:
    browser, address = opened(page), page[1]
    browser.size(width, 900)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    browser.click("#camera")
    browser.wait("Number(document.body.dataset.answers) > 2")
    assert browser.run("return document.documentElement.scrollWidth") <= width
    loaded = browser.run(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    assert [name for name in loaded if not name.startswith(address)] == []
    blocked = browser.run(
        "return fetch('http://localhost:9/').then(() => 'sent', () => 'blocked')"
    )
    assert blocked == "blocked"
    assert "Content Security Policy" in browser.console()[0]


def test_the_server_is_for_this_machine_alone(site: Path) -> None:
    with serving(site) as address:
        assert address.startswith("http://127.0.0.1:")
        for name, kind in (
            ("", "text/html"),
            ("app.js", "text/javascript"),
            ("onnxruntime-web/ort.wasm.bundle.min.mjs", "text/javascript"),
            ("onnxruntime-web/ort-wasm-simd-threaded.wasm", "application/wasm"),
        ):
            with urllib.request.urlopen(address + name) as response:
                assert response.headers["Content-Type"].startswith(kind)


def test_the_demo_opens_the_page_until_ctrl_c(tmp_path: Path) -> None:
    """Of the recogniser in the box, as no model is named."""
    shutil.copy(PACKAGE, os.environ["SIGNJAX_CACHE"])
    opener = tmp_path / "opener"
    opener.write_text(f'#!/bin/sh\necho "$1" > {tmp_path / "opened"}\n')
    opener.chmod(0o755)
    with subprocess.Popen(
        command("--mode=demo"),
        cwd=ROOT,
        env=os.environ | {"BROWSER": str(opener)},
        stdout=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        address = ""
        for line in demo.stdout:
            if "the page is at" in line:
                address = line.split()[4].rstrip(";")
                break
        for name in ("index.html", "model.onnx", "model.json", "README.md"):
            with urllib.request.urlopen(address + name) as response:
                assert response.read()
        while not (tmp_path / "opened").exists():
            assert demo.poll() is None
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 0
    assert (tmp_path / "opened").read_text().strip() == address
