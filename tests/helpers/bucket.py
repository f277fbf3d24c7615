"""A server of Google Cloud Storage's interface on this machine, with one bucket.

gcp-storage-emulator, and what it leaves out: preconditions, and the
generation of what is read.
"""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

BUCKET = "signjax-tests"


@contextmanager
def bucket_server() -> Iterator[dict[str, str]]:
    """Serves an empty bucket; gives the environment in which TensorStore finds it."""
    from gcp_storage_emulator.handlers.buckets import create_bucket
    from gcp_storage_emulator.storage import Storage

    for name in ("gcp_storage_emulator", "api"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    storage = Storage(use_memory_fs=True)
    create_bucket(BUCKET, storage)
    with ThreadingHTTPServer(("localhost", 0), partial(_handler(), storage)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://localhost:{server.server_port}"
        yield {
            "TENSORSTORE_GCS_HTTP_URL": address,
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "any",
        }
        server.shutdown()


def without_log(stderr: str) -> str:
    """What a process said, but for TensorStore's line on where it found credentials."""
    lines = stderr.splitlines(keepends=True)
    return "".join(line for line in lines if "google_auth_provider" not in line)


def _handler() -> Any:
    from gcp_storage_emulator.server import RequestHandler

    one_by_one = threading.Lock()  # the emulator is not made for threads

    class Handler(RequestHandler):
        def do_GET(self) -> None:
            self._serve(super().do_GET)

        def do_POST(self) -> None:
            self._serve(super().do_POST)

        def do_DELETE(self) -> None:
            self._serve(super().do_DELETE)

        def _serve(self, serve: Callable[[], None]) -> None:
            url = urlsplit(self.path)
            asked = {key: values[0] for key, values in parse_qs(url.query).items()}
            _, _, place = url.path.partition("/b/")
            bucket, _, name = place.partition("/o")
            name = asked.get("name") or unquote(name[1:])
            with one_by_one:
                there = self.storage.objects.get(bucket, {}).get(name, {})
                self._generation = there.get("generation", "0")
                if asked.get("ifGenerationMatch", self._generation) != self._generation:
                    self.rfile.read(int(self.headers.get("Content-Length") or 0))
                    self._answer(HTTPStatus.PRECONDITION_FAILED)
                elif asked.get("ifGenerationNotMatch") == self._generation:
                    self._answer(HTTPStatus.NOT_MODIFIED)
                else:
                    serve()

        def _answer(self, status: HTTPStatus) -> None:
            body = json.dumps({"error": {"code": status, "message": status.phrase}})
            content = b"" if status == HTTPStatus.NOT_MODIFIED else body.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def end_headers(self) -> None:
            self.send_header("X-Goog-Generation", self._generation)
            super().end_headers()

    return Handler
