"""A headless Chromium, driven by chromedriver's WebDriver protocol (W3C)."""

import base64
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's key of an element
_FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run
    --disable-background-networking --disable-component-update --disable-sync
    --disable-dev-shm-usage""".split()


class Browser:
    """One window. Errors of the protocol are raised."""

    def __init__(self, address: str, flags: list[str]) -> None:
        self._address = f"{address}/session"
        options = {"binary": CHROMIUM, "args": [*_FLAGS, *flags]}
        capabilities = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        wanted = {"capabilities": {"alwaysMatch": capabilities}}
        self._address += f"/{self._ask('', wanted)['sessionId']}"

    def open(self, url: str) -> None:
        self._ask("/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """What the JavaScript function body returns."""
        return self._ask("/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector: str) -> str:
        """What a person sees of an element."""
        return self.run(
            "return document.querySelector(arguments[0]).innerText", selector
        )

    def wait(self, condition: str, seconds: float = 60) -> None:
        """Until a JavaScript expression is true."""
        end = time.monotonic() + seconds
        while not self.run(f"return Boolean({condition})"):
            assert time.monotonic() < end, f"{condition}: not within {seconds} s"
            time.sleep(0.05)

    def click(self, selector: str) -> None:
        self._ask(f"/element/{self._find(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        """Into an element; into a file input the path of a file."""
        self._ask(f"/element/{self._find(selector)}/value", {"text": text})

    def command(self, name: str, **options: Any) -> Any:
        """One of the DevTools protocol."""
        return self._ask("/goog/cdp/execute", {"cmd": name, "params": options})

    def size(self, width: int, height: int) -> None:
        """Of the page, which may be as narrow as a phone's."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._ask("/screenshot")))

    def console(self) -> list[str]:
        """Warnings and errors since it was last asked."""
        return [
            entry["message"]
            for entry in self._ask("/se/log", {"type": "browser"})
            if entry["level"] in ("WARNING", "SEVERE")
        ]

    def close(self) -> None:
        self._ask("", method="DELETE")

    def _find(self, selector: str) -> str:
        found = self._ask("/element", {"using": "css selector", "value": selector})
        return found[_ELEMENT]

    def _ask(self, path: str, body: Any = None, *, method: str = "") -> Any:
        request = urllib.request.Request(
            self._address + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method or ("GET" if body is None else "POST"),
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from error


@contextmanager
def browsing(folder: Path, *flags: str) -> Iterator[Browser]:
    """A window of a new browser, whose profile is in `folder`."""
    command = [str(CHROMEDRIVER), "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        port = ""
        for line in driver.stdout:
            if "started successfully on port" in line:
                port = line.rpartition(" ")[2].strip(" .\n")
                break
        profile = f"--user-data-dir={folder / 'profile'}"
        try:
            browser = Browser(f"http://127.0.0.1:{port}", [profile, *flags])
            try:
                yield browser
            finally:
                browser.close()
        finally:
            driver.terminate()


def fake_camera(video: Path) -> tuple[str, ...]:
    """Flags for a camera that shows a file, .mjpeg or .y4m, and is allowed."""
    return (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={video}",
    )
