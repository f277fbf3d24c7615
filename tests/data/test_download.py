"""A download is complete and genuine, or it is refused and leaves nothing behind."""

import hashlib
import io
import signal
import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler

import pytest

from signjax.data import download
from signjax.data.download import RemoteFile, fetch
from signjax.errors import RunError
from tests.helpers.command_line import ROOT
from tests.helpers.http_server import serving
from tests.helpers.refusals import refused

CONTENT = b"hello\n" * 50_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
# Path -> what is sent, and the length that is promised, if any.
ANSWERS = {
    "/good": (CONTENT, len(CONTENT)),
    "/wrong": (CONTENT[::-1], len(CONTENT)),
    "/page": (b"<html>sign in</html>", 20),
    "/cut": (CONTENT[:1000], len(CONTENT)),
    "/cut_without_length": (CONTENT[:1000], None),
    "/endless": (CONTENT + b"more" * 100_000, None),
    "/stuck": (CONTENT[: len(CONTENT) // 2], len(CONTENT)),
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append(self.path)
        if self.path not in ANSWERS:
            self.send_error(404)
            return
        body, length = ANSWERS[self.path]
        self.send_response(200)
        if length:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)
        if self.path == "/stuck":
            self.wfile.flush()
            self.server.release.wait(20)

    def log_message(self, format, *arguments):
        pass


@pytest.fixture
def server():
    with serving(Handler) as server:
        yield server


@pytest.fixture
def refusing():
    """An address that is bound and not listening."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{sock.getsockname()[1]}/x"


def at(server, *names):
    port = server.server_address[1]
    mirrors = tuple(f"http://127.0.0.1:{port}/{name}" for name in names)
    return RemoteFile("data.bin", mirrors, len(CONTENT), DIGEST)


def test_a_good_file_is_fetched_once(server, tmp_path):
    directory = tmp_path / "new" / "cache"
    for _ in range(2):
        assert fetch(at(server, "good"), directory) == directory / "data.bin"
    assert (directory / "data.bin").read_bytes() == CONTENT
    assert len(list(directory.iterdir())) == 1
    assert server.seen == ["/good"]


def test_either_digest_is_enough_and_one_is_needed(tmp_path):
    (tmp_path / "hello").write_bytes(b"hello\n")
    none = RemoteFile("hello", ())
    with refused("cannot download hello", RunError):
        fetch(none, tmp_path)
    for digest in ("sha256", "md5"):
        known = {digest: hashlib.new(digest, b"hello\n").hexdigest()}
        assert fetch(none._replace(**known), tmp_path) == tmp_path / "hello"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("wrong", "wrong checksum"),
        ("page", "20 bytes came where 300,000 were expected"),
        ("cut", "1,000 bytes came|IncompleteRead"),
        ("cut_without_length", "1,000 bytes came where 300,000"),
        ("endless", r"3\d\d,\d{3} bytes or more came where 300,000"),
        ("missing", "HTTP 404 Not Found"),
        ("stuck", "timed out"),
    ],
)
def test_what_is_not_the_file_is_refused(server, tmp_path, monkeypatch, name, reason):
    if name == "stuck":
        monkeypatch.setattr(download, "_TIMEOUT_SECONDS", 0.2)
    with refused(rf"data\.bin: .*/{name}: .*({reason})", RunError):
        fetch(at(server, name), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_unknown_size_is_not_endless(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_MOST_BYTES", 350_000)
    with refused(r"bytes or more came where 350,000 were expected", RunError):
        fetch(at(server, "endless")._replace(size=None), tmp_path)
    assert fetch(at(server, "good")._replace(size=None), tmp_path).exists()


def test_the_next_mirror_is_tried_and_every_reason_told(server, refusing, tmp_path):
    told = f"{refusing}: .*Connection refused; .*HTTP 404.*; .*wrong checksum"
    with refused(told, RunError):
        file = at(server, "missing", "wrong")
        fetch(file._replace(mirrors=(refusing, *file.mirrors)), tmp_path)
    server.seen.clear()
    file = at(server, "missing", "wrong", "good", "page")
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert server.seen == ["/missing", "/wrong", "/good"]


def test_no_network_is_told(tmp_path, monkeypatch):
    def unknown(*arguments, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with refused("host not found; no network", RunError):
        fetch(RemoteFile("x", ("https://example.invalid/x",)), tmp_path)


def test_a_wrong_file_in_the_cache_is_replaced_only_by_a_good_one(server, tmp_path):
    (tmp_path / "data.bin").write_bytes(b"half")
    with refused("wrong checksum", RunError):
        fetch(at(server, "wrong"), tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == b"half"
    assert fetch(at(server, "good"), tmp_path).read_bytes() == CONTENT


def test_a_killed_download_leaves_no_file_under_the_final_name(server, tmp_path):
    code = (
        "import sys; from pathlib import Path;"
        "from signjax.data.download import RemoteFile, fetch;"
        f"fetch(RemoteFile(*{tuple(at(server, 'stuck'))!r}), Path(sys.argv[1]))"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], cwd=ROOT) as process:
        while not any(p.stat().st_size for p in tmp_path.iterdir()):
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    assert [p.suffix for p in tmp_path.iterdir()] == [".part"]
    assert fetch(at(server, "good"), tmp_path).read_bytes() == CONTENT


def test_a_place_that_cannot_be_written_is_told(server, tmp_path):
    (tmp_path / "cache").write_text("a file, not a folder")
    with refused("cannot write data.bin to .*cache: File exists", RunError):
        fetch(at(server, "good"), tmp_path / "cache")


def test_progress_is_shown_on_a_terminal_only(server, tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    for shown in (True, False):
        stream = io.StringIO()
        monkeypatch.setattr(stream, "isatty", lambda shown=shown: shown)
        monkeypatch.setattr(sys, "stderr", stream)
        fetch(at(server, "good"), tmp_path / str(shown))
        assert ("data.bin" in stream.getvalue()) == shown
