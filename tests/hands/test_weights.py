"""The hand networks by name: from a server, from the cache, from a folder."""

import hashlib
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import jax
import numpy as np
import pytest

from signjax.errors import InputError, RunError
from signjax.hands import weights
from signjax.hands.weights import LANDMARK, NAME, PALM, Part, open_finder
from tests.helpers.http_server import serving
from tests.helpers.tflite_files import small_network

CONTENT = small_network()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append(self.path)
        kind = self.path.split("/")[1]
        if kind == "missing":
            self.send_error(404)
            return
        content = {"wrong": CONTENT[::-1], "cut": CONTENT[:999]}.get(kind, CONTENT)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIGNJAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


def point_to(monkeypatch: pytest.MonkeyPatch, port: int, kind: str) -> None:
    """Both files are the small network, at the server's address of that kind."""
    for name in ("PALM", "LANDMARK"):
        old: Part = getattr(weights, name)
        address = f"http://127.0.0.1:{port}/{kind}/{old.file.name}"
        digest = hashlib.sha256(CONTENT).hexdigest()
        file = old.file._replace(mirrors=(address,), size=len(CONTENT), sha256=digest)
        shapes = ((1, 8, 8, 3), ((1, 2, 2, 8), (1, 96), (1, 5)))
        monkeypatch.setattr(weights, name, Part(file, *shapes))


def test_both_are_fetched_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Handler) as server:
        point_to(monkeypatch, server.server_port, "good")
        for _ in range(2):
            found = open_finder(NAME, jax.devices()[0])
        assert len(server.seen) == 2
    assert sorted(path.name for path in cache.iterdir()) == [
        "hand_landmark_full.tflite",
        "palm_detection_full.tflite",
    ]
    images = np.zeros((1, 8, 8, 3), np.float32)
    assert [x.shape for x in found.palm(found.palm_params, images)] == [
        (1, 2, 2, 8),
        (1, 96),
        (1, 5),
    ]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("wrong", "wrong checksum"),
        ("cut", "999 bytes came where"),
        ("missing", "HTTP 404"),
    ],
)
def test_what_is_not_the_file_is_refused(
    cache: Path, monkeypatch: pytest.MonkeyPatch, kind: str, words: str
) -> None:
    with serving(Handler) as server:
        point_to(monkeypatch, server.server_port, kind)
        with pytest.raises(RunError, match=words) as caught:
            open_finder(NAME, jax.devices()[0])
    assert "--config.model.hands=FOLDER" in str(caught.value)
    assert list(cache.iterdir()) == []


def test_without_a_network_it_says_what_is_missing(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Handler) as server:
        port = server.server_port
    point_to(monkeypatch, port, "good")
    with pytest.raises(RunError) as caught:
        open_finder(NAME, jax.devices()[0])
    text = str(caught.value)
    assert "cannot download palm_detection_full.tflite" in text
    assert "put palm_detection_full.tflite and hand_landmark_full.tflite into" in text


def test_another_word_or_an_incomplete_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected mediapipe-hands, or a folder"):
        open_finder("mediapipe-hand", jax.devices()[0])
    with pytest.raises(InputError, match="palm_detection_full.tflite: No such file"):
        open_finder(str(tmp_path), jax.devices()[0])


@pytest.mark.parametrize("part", [PALM, LANDMARK], ids=["palm", "landmark"])
def test_the_published_checksums_are_those_of_the_files(part: Part, shared) -> None:
    path = shared / "weights" / "mediapipe_hands" / part.file.name
    if not path.exists():
        pytest.skip(f"the weights {path.name} are not in shared/")
    content = path.read_bytes()
    assert hashlib.sha256(content).hexdigest() == part.file.sha256
    assert len(content) == part.file.size
