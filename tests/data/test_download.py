"""A download is complete and genuine, or it is refused and leaves nothing behind."""

import hashlib
import io
import signal
import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from signjax.data import download
from signjax.data.download import RemoteFile, fetch
from signjax.errors import RunError
from tests.helpers.http_server import serving

ROOT = Path(__file__).parents[2]

CONTENT = b"hello\n" * 50_000
REMOTE = RemoteFile(
    name="data.bin",
    mirrors=(),
    size=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append(self.path)
        getattr(self, self.path[1:])()

    def send(self, body, length=None):
        self.send_response(200)
        if length != -1:
            self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def good(self):
        self.send(CONTENT)

    def wrong(self):
        self.send(CONTENT[::-1])

    def page(self):
        self.send(b"<html>sign in</html>")

    def cut(self):
        self.send(CONTENT[:1000], length=len(CONTENT))

    def cut_without_length(self):
        self.send(CONTENT[:1000], length=-1)

    def endless(self):
        self.send(CONTENT + b"more" * 100_000, length=-1)

    def missing(self):
        self.send_error(404)

    def stuck(self):
        self.send(CONTENT[: len(CONTENT) // 2], length=len(CONTENT))
        self.wfile.flush()
        self.server.release.wait(20)

    def log_message(self, format, *arguments):
        pass


@pytest.fixture
def server():
    with serving(Handler) as server:
        yield server


def at(server, *behaviours):
    port = server.server_address[1]
    return REMOTE._replace(
        mirrors=tuple(f"http://127.0.0.1:{port}/{b}" for b in behaviours)
    )


@pytest.fixture
def closed_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]  # bound and not listening: refuses


def test_a_good_file_is_fetched_once(server, tmp_path):
    directory = tmp_path / "new" / "cache"
    path = fetch(at(server, "good"), directory)
    assert path == directory / "data.bin"
    assert path.read_bytes() == CONTENT
    assert list(directory.iterdir()) == [path]
    assert fetch(at(server, "good"), directory) == path
    assert server.seen == ["/good"]


def test_either_digest_is_enough_and_one_is_needed(tmp_path):
    (tmp_path / "hello").write_bytes(b"hello\n")
    none = RemoteFile("hello", ())
    with pytest.raises(RunError):
        fetch(none, tmp_path)
    for digest in ("sha256", "md5"):
        known = {digest: hashlib.new(digest, b"hello\n").hexdigest()}
        assert fetch(none._replace(**known), tmp_path) == tmp_path / "hello"


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("wrong", "wrong checksum"),
        ("page", "20 bytes came where 300,000 were expected"),
        ("cut", "1,000 bytes came|IncompleteRead"),
        ("cut_without_length", "1,000 bytes came where 300,000"),
        ("endless", r"3\d\d,\d{3} bytes or more came where 300,000"),
        ("missing", "HTTP 404 Not Found"),
    ],
)
def test_what_is_not_the_file_is_refused(server, tmp_path, behaviour, reason):
    with pytest.raises(RunError, match=rf"/{behaviour}: .*({reason})") as caught:
        fetch(at(server, behaviour), tmp_path)
    assert "data.bin" in str(caught.value) and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_next_mirror_is_tried(server, closed_port, tmp_path):
    file = at(server, "missing", "wrong", "good", "page")
    refusing = f"http://127.0.0.1:{closed_port}/x"
    file = file._replace(mirrors=(refusing, *file.mirrors))
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert server.seen == ["/missing", "/wrong", "/good"]


def test_every_address_is_named_with_its_reason(server, closed_port, tmp_path):
    file = at(server, "missing", "wrong")
    refusing = f"http://127.0.0.1:{closed_port}/x"
    file = file._replace(mirrors=(*file.mirrors, refusing))
    with pytest.raises(RunError) as caught:
        fetch(file, tmp_path)
    message = str(caught.value)
    for url, reason in zip(
        file.mirrors, ("HTTP 404", "wrong checksum", "connection refused"), strict=True
    ):
        assert f"{url}: {reason}" in message


def test_no_network_is_told(tmp_path, monkeypatch):
    def unknown(*arguments, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    file = REMOTE._replace(mirrors=("https://example.invalid/data.bin",))
    with pytest.raises(RunError, match="host not found; no network"):
        fetch(file, tmp_path)


def test_a_server_that_stops_sending_is_left(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_TIMEOUT_SECONDS", 0.2)
    with pytest.raises(RunError, match=r"/stuck: no answer for 0\.2 s"):
        fetch(at(server, "stuck"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_file_in_the_cache_is_replaced_only_by_a_good_one(server, tmp_path):
    (tmp_path / "data.bin").write_bytes(b"half")
    with pytest.raises(RunError):
        fetch(at(server, "wrong"), tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == b"half"
    assert fetch(at(server, "good"), tmp_path).read_bytes() == CONTENT


def test_a_killed_download_leaves_no_file_under_the_final_name(server, tmp_path):
    file = at(server, "stuck")
    code = (
        "import sys; from pathlib import Path;"
        "from signjax.data.download import RemoteFile, fetch;"
        f"fetch(RemoteFile(*{tuple(file)!r}), Path(sys.argv[1]))"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], cwd=ROOT) as process:
        while not any(p.stat().st_size for p in tmp_path.iterdir()):
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    assert [p.suffix for p in tmp_path.iterdir()] == [".part"]
    assert fetch(at(server, "good"), tmp_path).read_bytes() == CONTENT


def test_a_place_that_cannot_be_written_is_told(server, tmp_path):
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(RunError, match="cannot write data.bin to .*cache: File exists"):
        fetch(at(server, "good"), tmp_path / "cache")


def test_progress_is_shown_on_a_terminal_only(server, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("TERM", "xterm")
        fetch(at(server, "good"), tmp_path / str(shown))
        assert ("data.bin" in stream.getvalue()) == shown
