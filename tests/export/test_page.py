"""The files of the page, and the package that it needs: genuine, or refused."""

import hashlib
import io
import json
import re
import tarfile
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from signjax.errors import InputError, RunError
from signjax.export import page
from signjax.export.page import onnxruntime_web, write_page
from tests.helpers.http_server import serving

RUNTIMES = (page._WEBASSEMBLY, page._WEBGPU)
NAMES = [name for each in RUNTIMES for name in (each.script, each.program)]


def tarball() -> bytes:
    """With the files of the package, each its own name."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name in NAMES:
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    return file.getvalue()


CONTENT = tarball()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append(self.path)
        behaviour = self.path.split("/")[1]
        if behaviour == "missing":
            return self.send_error(404)
        body = {"wrong": CONTENT[::-1], "cut": CONTENT[:100]}.get(behaviour, CONTENT)
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *arguments):
        pass


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, a package whose content is known, and no npm."""
    known = {"size": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
    monkeypatch.setattr(page, "TARBALL", page.TARBALL._replace(**known))
    monkeypatch.setenv("SIGNJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NPM_CONFIG_REGISTRY", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "cache"


@pytest.fixture
def registry(monkeypatch):
    """behaviour -> npm's registry is a server that behaves so; the paths it saw."""
    with serving(Handler) as server:

        def choose(behaviour):
            address = f"http://127.0.0.1:{server.server_address[1]}/{behaviour}/"
            monkeypatch.setenv("NPM_CONFIG_REGISTRY", address)
            return server.seen

        yield choose


def test_the_package_is_fetched_once_from_npm_s_registry(cache, registry):
    seen = registry("good")
    for _ in range(2):
        assert onnxruntime_web().read_bytes() == CONTENT
    assert seen == [f"/good/onnxruntime-web/-/{page.TARBALL.name}"]
    assert list(cache.iterdir()) == [cache / page.TARBALL.name]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("wrong", "wrong checksum"),
        ("cut", "100 bytes came|IncompleteRead|broken transfer"),
        ("missing", "HTTP 404"),
    ],
)
def test_what_is_not_the_package_is_refused(cache, registry, behaviour, reason):
    registry(behaviour)
    with pytest.raises(RunError, match=reason) as told:
        onnxruntime_web()
    assert f"put {page.TARBALL.name} into {cache}" in str(told.value)
    assert list(cache.iterdir()) == []


def test_without_a_network_it_is_told_where_to_put_it(cache, monkeypatch):
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://registry.invalid")
    with pytest.raises(RunError, match="no network.*Without a network: put"):
        onnxruntime_web()


def test_without_npm_it_is_told_what_to_do(cache):
    with pytest.raises(InputError, match="install npm, set NPM_CONFIG_REGISTRY"):
        onnxruntime_web()
    cache.mkdir()
    (cache / page.TARBALL.name).write_bytes(CONTENT)
    assert onnxruntime_web().read_bytes() == CONTENT


def test_npm_tells_its_own_registry(cache, registry, tmp_path, monkeypatch):
    seen = registry("good")
    address = page.os.environ["NPM_CONFIG_REGISTRY"]
    monkeypatch.delenv("NPM_CONFIG_REGISTRY")
    npm = tmp_path / "npm"
    npm.write_text(f'#!/bin/sh\n[ "$*" = "config get registry" ] && echo {address}\n')
    npm.chmod(0o755)
    onnxruntime_web()
    assert len(seen) == 1


@pytest.mark.parametrize("finds", [False, True])
@pytest.mark.parametrize("model_bytes", [10, 8_000_000])
def test_the_page_has_all_that_it_names(
    tmp_path: Path, model_bytes: int, finds: bool
) -> None:
    (tmp_path / "package.tgz").write_bytes(CONTENT)
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(bytes(model_bytes))
    (folder / "README.md").write_text("card")
    if finds:
        (folder / "palm.onnx").write_bytes(b"")
    write_page(folder, tmp_path / "package.tgz")
    texts = {path.name: path.read_text() for path in folder.glob("*.[hjc]*")}
    named = re.findall(r'(?:href|src)="([^"]+)"', texts["index.html"])
    named += re.findall(r'from "\./([^"]+)"', texts["app.js"])
    named += re.findall(r'new Worker\("([^"]+)"', texts["app.js"])
    runtimes = json.loads(texts["page.json"])["runtimes"]
    for runtime in runtimes:
        named += [f"onnxruntime-web/{runtime[x]}" for x in ("script", "program")]
    assert len(named) > 6
    missing = [name for name in named if not (folder / name).is_file()]
    # Named where the page finds hands alone.
    assert missing == ([] if finds else ["mediapipe/LICENSE.txt"])
    assert json.loads(texts["page.json"])["palm"] == ("palm.onnx" if finds else None)
    providers = [runtime["provider"] for runtime in runtimes]
    assert providers == (["wasm"] if model_bytes < 100 else ["webgpu", "wasm"])
    for runtime in RUNTIMES:
        for name in (runtime.script, runtime.program):
            file = folder / "onnxruntime-web" / name
            assert file.exists() == (runtime.provider in providers)
            assert not file.exists() or file.read_text() == name
    # It loads nothing from elsewhere: addresses are links alone.
    for text in texts.values():
        assert re.findall(r"(?:src|import|fetch)\W+https?:", text) == []
