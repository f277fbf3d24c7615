"""The page of an export in a browser, and what its tests need."""

from pathlib import Path

import pytest
from PIL import Image

from signjax.export.page import TARBALL
from signjax.runtime.files import cache_directory
from tests.helpers.browser import CHROMEDRIVER, CHROMIUM, Browser

PACKAGE = cache_directory() / TARBALL.name
NEEDS = [
    pytest.mark.slow,
    pytest.mark.usefixtures("module_cache"),
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
