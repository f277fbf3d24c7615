"""Paths in a bucket, and how its errors are told."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from signjax.errors import InputError, RunError, SignjaxError
from signjax.runtime import bucket as module
from signjax.runtime.bucket import BucketPath, as_path, download, remove, upload
from signjax.runtime.files import MetricsFile, read_json, write_json


def test_a_path_in_a_bucket_keeps_its_address() -> None:
    path = as_path("gs://bucket/run") / "checkpoints" / "1"
    assert isinstance(path, BucketPath)
    assert str(path) == "gs://bucket/run/checkpoints/1"
    assert str(path.parent.with_name("lock")) == "gs://bucket/run/lock"
    assert path.relative_to(as_path("gs://bucket/run")).parts == ("checkpoints", "1")
    assert as_path("runs/x") == Path("runs/x")


@pytest.mark.parametrize("named", ["gs://", "gs:///run", "gs://ab/run", "gs://A_B/x"])
def test_what_is_no_bucket_is_refused(named: str) -> None:
    with pytest.raises(InputError, match="expected gs://BUCKET/NAME"):
        as_path(named)


@pytest.mark.parametrize(
    "use", [os.listdir, os.makedirs, open, Path.mkdir, Path.open, Path.stat]
)
def test_no_folder_of_this_machine_is_taken_for_it(
    use: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TypeError, match="gs://bucket/run.* is no path of this machine"):
        use(BucketPath("gs://bucket/run"))
    assert not list(tmp_path.iterdir())


def test_what_is_written_is_there_and_what_is_removed_is_not(
    bucket: BucketPath,
) -> None:
    file = bucket / "folder" / "file"
    assert not (bucket.exists() or file.exists())
    file.write_bytes(b"one")
    (bucket / "folder-2").write_bytes(b"beside")
    assert bucket.is_dir() and file.is_file() and not file.is_dir()
    assert file.read_text() == "one"
    assert (bucket / "folder").files() == [file]
    remove(bucket / "folder")
    assert bucket.files() == [bucket / "folder-2"]
    with pytest.raises(FileNotFoundError, match="No such file"):
        file.read_bytes()


def test_of_two_that_write_after_the_same_one_alone_does(bucket: BucketPath) -> None:
    file = bucket / "file"
    before = file.write(b"0")
    assert before == file.read().stamp.generation
    assert file.write(b"1", only_after=before)
    assert not file.write(b"2", only_after=before)
    assert file.read_bytes() == b"1"


def test_a_folder_comes_back_and_its_own_files_are_sent_last_and_removed_first(
    bucket: BucketPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = {f"state/{i}/data": os.urandom(100) for i in range(20)}
    for name, content in (below | {"manifest.json": b"{}"}).items():
        (tmp_path / "one" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "one" / name).write_bytes(content)
    written: list[str] = []
    write = BucketPath.write

    def note(path: BucketPath, *arguments: bytes | None) -> bytes:
        generation = write(path, *arguments)
        written.append(str(path.relative_to(bucket)))
        return generation

    monkeypatch.setattr(BucketPath, "write", note)
    upload(tmp_path / "one", bucket)
    assert sorted(written[:-1]) == sorted(below) and written[-1] == "manifest.json"
    download(bucket, tmp_path / "other")
    for name, content in below.items():
        assert (tmp_path / "other" / name).read_bytes() == content
    written.clear()
    remove(bucket)
    assert written[0] == "manifest.json" and len(written) == 21


def test_records_and_json_are_what_they_are_on_disk(
    bucket: BucketPath, tmp_path: Path
) -> None:
    for place in bucket, tmp_path:
        metrics = MetricsFile(place / "metrics.jsonl")
        assert metrics.read() == []
        for step in 1, 2, 3:
            metrics.append({"step": step, "loss": 1 / step})
        metrics.truncate_after(2)
        write_json(place / "result.json", {"a": [1.5]})
        assert read_json(place / "result.json") == {"a": [1.5]}
    for name in "metrics.jsonl", "result.json":
        assert (bucket / name).read_bytes() == (tmp_path / name).read_bytes()
    MetricsFile(bucket / "metrics.jsonl").truncate_after(0)
    assert MetricsFile(bucket / "metrics.jsonl").read() == []
    with pytest.raises(InputError, match="gs://.*none.json: cannot be read: No such"):
        read_json(bucket / "none.json")


@contextmanager
def answering(status: int) -> Iterator[str]:
    """The address of a server that gives one answer to all."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = b'{"error": {"message": "as the server says"}}'
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("localhost", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (401, InputError, r"file: no permission \(as the server says\): log in"),
        (403, InputError, r"file: no permission \(as the server says\): log in"),
        (404, InputError, r"file: there is no bucket gs://of-404 \(as the server says"),
        (503, RunError, r"file: the bucket cannot be reached \(All 1 retry.*503|says"),
    ],
)
def test_what_a_server_refuses_is_one_line(
    status: int,
    kind: type[SignjaxError],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    retries = {"max_retries": 1, "initial_delay": "1ms"}
    monkeypatch.setattr(module, "_RETRIES", retries)
    monkeypatch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "any")
    with answering(status) as address:
        monkeypatch.setenv("TENSORSTORE_GCS_HTTP_URL", address)
        with pytest.raises(kind, match=told) as error:
            BucketPath(f"gs://of-{status}/file").write_bytes(b"1")
    assert "\n" not in str(error.value)


def test_without_a_network_a_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    retries = {"max_retries": 1, "initial_delay": "1ms"}
    monkeypatch.setattr(module, "_RETRIES", retries)
    monkeypatch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "any")
    monkeypatch.setenv("TENSORSTORE_GCS_HTTP_URL", "http://localhost:1")
    with pytest.raises(RunError, match="cannot be reached .*Could not connect"):
        BucketPath("gs://of-nobody/file").read_bytes()
