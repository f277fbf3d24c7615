"""The page of an export in a browser, and what its tests need."""

import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from signjax.commands.cli import run
from signjax.commands.parse import parse
from signjax.export.page import TARBALL
from signjax.runtime.files import cache_directory
from tests.helpers.browser import CHROMEDRIVER, CHROMIUM, Browser

PACKAGE = cache_directory() / TARBALL.name
NEEDS = [
    pytest.mark.slow,
    pytest.mark.usefixtures("shared_cache"),
    pytest.mark.skipif(
        not (CHROMIUM and CHROMEDRIVER), reason="needs Chromium and chromedriver"
    ),
    pytest.mark.skipif(not PACKAGE.is_file(), reason=f"needs {PACKAGE.name} in cache"),
]
FRAME = (640, 480)  # of the fake camera


def write_camera(frame: Image.Image, path: Path) -> None:
    """A video, .mjpeg, that shows the frame."""
    with path.open("wb") as video:
        for _ in range(5):
            frame.save(video, "JPEG", quality=95, subsampling=0)


def opened(page: tuple[Browser, str], script: str = "") -> Browser:
    """The page, ready, after a script that changes what the browser has."""
    browser, address = page
    added = browser.command("Page.addScriptToEvaluateOnNewDocument", source=script)
    browser.open(address)
    browser.command("Page.removeScriptToEvaluateOnNewDocument", **added)
    browser.wait("document.body.dataset.state === 'ready' || !window.WebAssembly")
    return browser


def shown(browser: Browser, photograph: Path) -> tuple[str, float]:
    """The digit on the page, and its confidence, once a photograph is answered."""
    before = browser.run("return Number(document.body.dataset.answers ?? 0)")
    browser.type("#file", str(photograph))
    browser.wait(f"Number(document.body.dataset.answers) > {before}")
    return browser.text("#digit"), confidence(browser)


def confidence(browser: Browser) -> float:
    return float(browser.text(".bars .first .percent").rstrip("%")) / 100


def printed(*words: str) -> str:
    """What the command line prints, in this process."""
    with redirect_stdout(io.StringIO()) as told:
        run(parse(["main.py", *words]))
    return told.getvalue()


def predicted(model: str, *photographs: Path) -> list[dict[str, Any]]:
    """predict's answer to each photograph, to its surest hand. model: a flag."""
    told = printed("--mode=predict", "--json", model, *map(str, photographs))
    first: dict[str, dict[str, Any]] = {}
    for line in told.splitlines():
        answer = json.loads(line)
        first.setdefault(answer["path"], answer)
    return list(first.values())
