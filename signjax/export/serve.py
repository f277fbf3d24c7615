"""A web server for a page of this machine, which no other machine reaches."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

# The same from time to time, so that a browser remembers that the camera is allowed.
_PORT = 8642


class _Handler(SimpleHTTPRequestHandler):
    # Not those of the system, which may lack them: no script of another type is run.
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".html": "text/html; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".mjs": "text/javascript; charset=utf-8",
        ".json": "application/json",
        ".md": "text/markdown; charset=utf-8",
        ".wasm": "application/wasm",
        ".onnx": "application/octet-stream",
    }

    def end_headers(self) -> None:
        # Another model may be served here the next time.
        self.send_header("Cache-Control", "no-store")
        # With these two a browser lets WebAssembly use several threads.
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that leaves early is no error."""


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """Serves a folder on 127.0.0.1 while the block runs; gives the page's address."""
    handler = partial(_Handler, directory=str(directory))
    try:
        server = _Server(("127.0.0.1", _PORT), handler)
    except OSError:  # it is taken
        server = _Server(("127.0.0.1", 0), handler)
    with server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
