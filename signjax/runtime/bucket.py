"""Files in a bucket of Google Cloud Storage, in the place of files of this machine.

An object is there whole or not at all, and all see it at once; there are no folders, no
renames and no locks. TensorStore, which Orbax brings, sends the requests, each again
for a minute where the network fails, and finds credentials as Google's programs do.
"""

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PosixPath
from typing import Any

from signjax.errors import InputError, RunError

SCHEME = "gs://"
_FIRST = SCHEME.rstrip("/")  # of a path's parts
_REQUESTS = 16  # at once
_RETRIES = {"max_retries": 6, "initial_delay": "1s", "max_delay": "32s"}


def as_path(named: str) -> Path:
    """What a person named: a path of this machine, or one in a bucket."""
    if not named.startswith(SCHEME):
        return Path(named)
    if not re.match(r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/|$)", named):
        raise InputError(
            f"{named}: expected gs://BUCKET/NAME, the bucket's name of three or more "
            "small letters, digits, dashes and dots"
        )
    return BucketPath(named)


class BucketPath(PosixPath):
    """gs://bucket/name. What is not defined here raises TypeError when it is used.

    Raises InputError where the bucket is not there or closed to this process, RunError
    where it cannot be reached.
    """

    def __str__(self) -> str:
        if self.parts[:1] == (_FIRST,):
            return SCHEME + "/".join(self.parts[1:])
        return "/".join(self.parts)  # of a part, as `relative_to` gives

    def __fspath__(self) -> str:
        raise TypeError(f"{self} is no path of this machine")

    def resolve(self, strict: bool = False) -> "BucketPath":
        return self

    def exists(self, **_: Any) -> bool:
        return self.is_file() or self.is_dir()

    def is_file(self, **_: Any) -> bool:
        return self.read().state == "value"

    def is_dir(self, **_: Any) -> bool:
        return bool(self.files())

    def files(self) -> list["BucketPath"]:
        """All objects below, in the order of their names."""
        import tensorstore

        key = self._key
        # "0" follows "/".
        below = tensorstore.KvStore.KeyRange(f"{key}/", f"{key}0") if key else None
        with _errors_of(self):
            found = self._store.list(below).result()
        root = BucketPath(SCHEME + self.parts[1])
        # A name that ends in a slash is what consoles show as an empty folder.
        names = (name.decode() for name in found if not name.endswith(b"/"))
        # Emulators do not keep to ranges.
        paths = (root / name for name in sorted(names))
        return [path for path in paths if self in path.parents]

    def read(self, *, unless: bytes | None = None) -> Any:
        """TensorStore's ReadResult: state, value, and the generation in its stamp.

        unless: a generation whose content is not asked for again.
        """
        with _errors_of(self):
            return self._store.read(self._key, if_not_equal=unless).result()

    def read_bytes(self) -> bytes:
        found = self.read()
        if found.state != "value":
            reason = os.strerror(errno.ENOENT)
            raise FileNotFoundError(errno.ENOENT, reason, str(self))
        return found.value

    def read_text(self, *_: Any, **__: Any) -> str:
        return self.read_bytes().decode()

    def write(self, content: bytes | None, *, only_after: bytes | None = None) -> bytes:
        """The generation written; empty where the one before is not `only_after`.

        None removes the object; so does an empty content, which emulators refuse.
        """
        with _errors_of(self):
            write = self._store.write(self._key, content or None, if_equal=only_after)
            return write.result().generation

    def write_bytes(self, data: Any) -> int:
        self.write(data)
        return len(data)

    def unlink(self, missing_ok: bool = True) -> None:
        self.write(None)

    @property
    def _key(self) -> str:
        return "/".join(self.parts[2:])

    @property
    def _store(self) -> Any:
        return _open(self.parts[1])


@cache
def _open(bucket: str) -> Any:
    import tensorstore

    spec = {
        "driver": "gcs",
        "bucket": bucket,
        "context": {"gcs_request_retries": _RETRIES},
    }
    return tensorstore.KvStore.open(spec).result()


@contextmanager
def _errors_of(path: BucketPath) -> Iterator[None]:
    """TensorStore's errors in a line; they tell their kind in the first word."""
    try:
        yield
    except ValueError as error:
        kind, _, text = str(error).partition(": ")
        reason = text.partition(" [http_")[0].partition(" [curl_")[0]
        if kind == "PERMISSION_DENIED":
            raise InputError(
                f"{path}: no permission ({reason}): log in, as by gcloud auth "
                "application-default login, or give this machine's account the role "
                "Storage Object User on the bucket"
            ) from error
        if kind == "NOT_FOUND":
            bucket = SCHEME + path.parts[1]
            raise InputError(
                f"{path}: there is no bucket {bucket} ({reason}): make it, as by "
                f"gcloud storage buckets create {bucket}"
            ) from error
        raise RunError(
            f"{path}: the bucket cannot be reached ({reason or error}); the same "
            "command goes on from what was saved"
        ) from error


def upload(folder: Path, path: BucketPath) -> None:
    """Copies a folder: first what its folders hold, then its own files.

    So the last ones can tell that all is there.
    """
    files = [file for file in folder.rglob("*") if file.is_file()]

    def send(file: Path) -> None:
        (path / file.relative_to(folder)).write_bytes(file.read_bytes())

    at_once(send, (file for file in files if file.parent != folder))
    at_once(send, (file for file in files if file.parent == folder))


def remove(path: BucketPath) -> None:
    """Removes all below a name, in the opposite order of `upload`."""
    files = path.files()

    at_once(BucketPath.unlink, (file for file in files if file.parent == path))
    at_once(BucketPath.unlink, (file for file in files if file.parent != path))


def download(path: BucketPath, folder: Path) -> None:
    """Copies all below a name into a folder."""

    def fetch(file: BucketPath) -> None:
        place = folder / file.relative_to(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.read_bytes())

    at_once(fetch, path.files())


def at_once(do: Callable[[Any], Any], files: Iterable[Path]) -> list[Any]:
    """What it does to each, some at a time."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_REQUESTS) as pool:
        return list(pool.map(do, files))
