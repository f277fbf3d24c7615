"""A lock for a folder in a bucket, which has none: an object that is written anew."""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from signjax.errors import InputError, RunError, SignjaxError
from signjax.runtime.bucket import BucketPath

# Seconds between two beats, and without one until another process may take over.
BEAT, LAPSE = 5.0, 20.0


def in_use(workdir: Path) -> InputError:
    """The error of a process that finds another there."""
    return InputError(
        f"--workdir {workdir} is in use by another process that trains there: "
        "wait for its end, stop it, or give another --workdir"
    )


class Lease:
    """Held from `take` on by a thread that writes the object every `BEAT` seconds.

    Each write names the generation that it replaces, so of two processes one alone can
    write next, and the other knows that it has lost.
    """

    def __init__(self, path: BucketPath) -> None:
        self.path = path
        self._token = (
            f"{os.uname().nodename}, process {os.getpid()}, {os.urandom(8).hex()}"
        )
        self._beats = 0
        self._generation = b""  # of the object as this process wrote it
        self._last = 0.0  # when it did
        self._writing = threading.Lock()
        self._over = threading.Event()

    def take(self) -> None:
        """Raises InputError where another process writes the object.

        One that nobody writes for `LAPSE` seconds was left by a process that was
        killed.
        """
        found = self.path.read()
        deadline = time.monotonic() + LAPSE
        before = found.value
        while found.value and time.monotonic() < deadline:
            time.sleep(min(1.0, LAPSE / 4))
            found = self.path.read()
            if found.value and found.value != before:
                raise in_use(self.path.parent)
        self._generation = found.stamp.generation
        if not self._beat():
            raise in_use(self.path.parent)
        # TensorStore takes a list that is refused for an empty one, and the run would
        # begin anew.
        if self.path not in self.path.parent.files():
            self.release()
            raise InputError(
                f"--workdir {self.path.parent}: its objects may not be listed: give "
                "this machine's account the role Storage Object User on the bucket"
            )
        threading.Thread(target=self._run, daemon=True).start()

    def require(self) -> None:
        """Raises RunError where another process may have taken over.

        A process that was held up, as by its machine, asks before it writes on.
        """
        if time.monotonic() - self._last > LAPSE / 2:
            self._beat()
        if not self._generation:
            raise RunError(
                f"{self.path.parent}: another process trains there since this one was "
                "held up, and goes on from what was saved"
            )

    def release(self) -> None:
        self._over.set()
        with self._writing, suppress(SignjaxError):
            if self._generation:
                self.path.write(None, only_after=self._generation)

    def _run(self) -> None:
        while not self._over.wait(BEAT):
            with suppress(SignjaxError):  # the run's own writes tell of it
                self._beat()

    def _beat(self) -> bool:
        """Writes the object; whether this process holds it."""
        with self._writing:
            if not self._generation or self._over.is_set():
                return False
            self._beats += 1
            content = json.dumps({"holder": self._token, "beats": self._beats}).encode()
            before = self._generation
            # Servers for tests tell no generation of what is read.
            known = before if before.strip(b"\0") else None
            self._generation = self.path.write(content, only_after=known)
            if not self._generation:  # or an answer was lost, and this one has it
                found = self.path.read()
                if self._token.encode() in found.value:
                    self._generation = found.stamp.generation
            self._last = time.monotonic()
            return bool(self._generation)


_held: list[Lease] = []


@contextmanager
def lease(path: BucketPath) -> Iterator[None]:
    """Keeps the folder of `path` for this process while the block runs.

    Raises InputError where another has it.
    """
    held = Lease(path)
    held.take()
    _held.append(held)
    try:
        yield
    finally:
        _held.remove(held)
        held.release()


def require_leases(path: BucketPath) -> None:
    """Raises RunError where this process has lost the lease on a folder of `path`."""
    for held in _held:
        if held.path.parent in path.parents:
            held.require()
