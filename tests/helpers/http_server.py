"""A server on localhost for tests of downloads."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """seen: the paths asked for. release: set at the end, for handlers that wait."""

    seen: list[str]
    release: threading.Event

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up early is part of these tests."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[Server]:
    """A server at a free port, whose requests `handler` answers."""
    with Server(("127.0.0.1", 0), handler) as server:
        server.seen, server.release = [], threading.Event()
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.release.set()
        server.shutdown()
        thread.join()
