"""Files fetched once into the user's cache, none of them unchecked."""

import contextlib
import hashlib
import http.client
import os
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from signjax.errors import RunError, one_line
from signjax.runtime.files import publish

_TIMEOUT_SECONDS = 10
_CHUNK_BYTES = 1 << 16
_MOST_BYTES = 1 << 30  # of a file of unknown size


class RemoteFile(NamedTuple):
    """A file at fixed addresses and what it must be.

    mirrors: addresses, tried in order. size: bytes, None if not known. sha256, md5: of
    the content, hex; either vouches for the file.
    """

    name: str
    mirrors: tuple[str, ...]
    size: int | None = None
    sha256: str = ""
    md5: str = ""


def fetch(file: RemoteFile, directory: Path) -> Path:
    """Downloads `file` into `directory`, or finds it there: the path of a checked file.

    Raises RunError as `obtain` does.
    """
    target = directory / file.name
    if target.is_file() and _is_genuine(target, file):
        return target

    def accept(part: Path) -> str | None:
        if not _is_genuine(part, file):
            return "wrong checksum: the content is not the known one"
        publish(part, target)

    obtain(file.name, file.mirrors, directory, accept=accept, size=file.size)
    return target


def obtain(
    name: str,
    mirrors: Sequence[str],
    directory: Path,
    *,
    accept: Callable[[Path], str | None],
    size: int | None = None,
) -> None:
    """Downloads the first of `mirrors` whose content is complete and accepted.

    Nothing stands under a final name before that: the download goes to a .part file in
    `directory`, which is given to `accept`. That must check the content, whatever its
    origin, and either put it in its place or return why it is refused. size: bytes to
    expect, None if not known.

    Raises RunError, naming each address and why it failed.
    """
    # One .part a process: two runs that start together do not write into one file.
    part = directory / f"{name}.{os.getpid()}.part"
    failures = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for url in mirrors:
            failure = _download(url, part, name, size) or accept(part)
            if failure is None:
                return
            failures.append(f"{url}: {failure}")
    except OSError as error:
        raise RunError(
            f"cannot write {name} to {directory}: {error.strerror}"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    raise RunError(f"cannot download {name}: {'; '.join(failures)}")


def _download(url: str, part: Path, name: str, size: int | None) -> str | None:
    """Writes what `url` serves to `part`: None, or why it is not of that size.

    It stops at more than `size`. A terminal sees a progress bar.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "signjax"})
    columns = "{task.description}", BarColumn(), DownloadColumn(), TimeRemainingColumn()
    console, quiet = Console(stderr=True), not sys.stderr.isatty()
    received, limit = 0, _MOST_BYTES if size is None else size
    with open(part, "wb") as output:
        try:
            with (
                urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response,
                Progress(*columns, console=console, disable=quiet) as bar,
            ):
                task = bar.add_task(name, total=size)
                while received <= limit and (chunk := response.read(_CHUNK_BYTES)):
                    output.write(chunk)
                    received += len(chunk)
                    bar.advance(task, len(chunk))
        except (OSError, http.client.HTTPException) as error:
            return _reason(error)
    if received > limit or size not in (None, received):
        over = "or more " if received > limit else ""
        return f"{received:,} bytes {over}came where {limit:,} were expected"
    return None


def _is_genuine(path: Path, file: RemoteFile) -> bool:
    """Whether the content has one of the digests that are given."""
    content = path.read_bytes()
    return (
        hashlib.sha256(content).hexdigest() == file.sha256
        or hashlib.md5(content, usedforsecurity=False).hexdigest() == file.md5
    )


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return f"HTTP {error.code} {error.reason}"
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, socket.gaierror):
        return "host not found; no network?"
    return one_line(cause) or repr(cause)
