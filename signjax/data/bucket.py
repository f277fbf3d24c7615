"""Data in a bucket, copied to this machine before they are read."""

import os
from hashlib import sha256
from pathlib import Path

from signjax.errors import InputError
from signjax.runtime.bucket import BucketPath, as_path, at_once
from signjax.runtime.files import cache_directory, read_json, write_bytes, write_json


def copied_here(named: str | Path) -> Path:
    """A path of this machine as it is; of an object, or of all below a name, a copy.

    The copy is in the cache. What has not changed since it was made is not sent again,
    and what is gone from the bucket is gone from the copy.

    Raises InputError where nothing is there.
    """
    path = as_path(os.path.expanduser(named))
    if not isinstance(path, BucketPath):
        return path
    from filelock import FileLock

    cache = cache_directory() / "buckets"
    place = cache.joinpath(*path.parts[1:])
    # File -> generation, as they are here.
    record = cache / f"{sha256(str(path).encode()).hexdigest()}.json"
    files = path.files() or [path] * path.is_file()
    if not files:
        raise InputError(f"{path}: nothing there; expected an h5 file or a folder")
    if outside := [file for file in files if ".." in file.parts]:
        raise InputError(f"{outside[0]}: a name that leads elsewhere: rename it")
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(record.with_suffix(".lock")):
        known = read_json(record) if record.exists() else {}

        def fetch(file: BucketPath) -> tuple[str, str]:
            copy = place / file.relative_to(path)
            before = bytes.fromhex(known.get(str(file), "")) if copy.exists() else b""
            found = file.read(unless=before or None)
            if found.state == "value":
                write_bytes(copy, found.value)
            return str(file), found.stamp.generation.hex()

        record.unlink(missing_ok=True)  # a copy cut short knows of no file
        fetched = dict(at_once(fetch, files))
        for copy in [x for x in place.rglob("*") if x.is_file()]:
            if str(path / copy.relative_to(place)) not in fetched:
                copy.unlink()
        write_json(record, fetched)
    return place
