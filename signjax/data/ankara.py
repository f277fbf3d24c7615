"""The Ankara digits: photographs of hands showing 0 to 9, fetched into the cache.

Published by the students of Ayrancı Anadolu High School, Ankara, under Apache-2.0
(github.com/ardamavi/Sign-Language-Digits-Dataset; arXiv:2011.08927). They come as an
archive that the host packs on request, whose own bytes nobody vouches for. So a table
of this package has the digest of each image.
"""

import csv
import hashlib
import os
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from signjax.data.content import HEAD_BYTES, describe_content
from signjax.data.download import obtain
from signjax.data.listing import list_images
from signjax.errors import RunError
from signjax.runtime.files import publish

# 1,032 of the 2,062 published ones. Written by experiments/ankara_signers.py --digests.
DIGESTS = Path(__file__).parent / "ankara_digits.csv"

_COMMIT = "4b09433ef9d5c60602e8805bb54b8aa2428527f8"
_ARCHIVE = (
    f"https://codeload.github.com/ardamavi/Sign-Language-Digits-Dataset/zip/{_COMMIT}"
)


class RemoteImages(NamedTuple):
    """Images of class-named folders in a zip archive at fixed addresses.

    name: of the folder they make. mirrors: addresses of the archive, tried in order.
    digests: sha256 of each image, hex, by its path from the class folder on, as
    0/IMG_1118.JPG; whatever else the archive has is left there.
    """

    name: str
    mirrors: tuple[str, ...]
    digests: Mapping[str, str]


def ankara_digits() -> RemoteImages:
    """The Ankara digits, ten class folders 0 to 9."""
    with DIGESTS.open(encoding="utf-8", newline="") as file:
        digests = {row["image"]: row["sha256"] for row in csv.DictReader(file)}
    return RemoteImages("ankara_digits", (_ARCHIVE,), digests)


def fetch_images(images: RemoteImages, directory: Path) -> Path:
    """Downloads `images` into `directory`, or finds them there: their own folder.

    The folder holds the images of the table and no others. It gets its name when all
    are in it and checked, so that a download that is stopped leaves none.
    Raises RunError where they cannot be had, and where a folder of the name has others.
    """
    target = directory / images.name
    advice = "name a folder of class-named folders with --config.data.dir=DIR"
    if target.exists():
        if difference := _difference(target, images.digests):
            raise RunError(
                f"{target}: {difference}; delete this folder to have it downloaded "
                f"again, or {advice}"
            )
        return target
    try:
        obtain(
            f"{images.name}.zip",
            images.mirrors,
            directory,
            accept=lambda archive: _unpack(archive, images.digests, target),
        )
    except RunError as error:
        raise RunError(
            f"{error}. Download and unpack it by hand, or take images of your own, "
            f"and {advice}"
        ) from error
    return target


def _difference(directory: Path, digests: Mapping[str, str]) -> str:
    """The first that tells the folder's images from the table; empty if none does."""
    for name, digest in digests.items():
        if not (directory / name).is_file():
            return f"{name} is missing"
        if hashlib.sha256((directory / name).read_bytes()).hexdigest() != digest:
            return f"{name} is not the published image"
    found = {path.relative_to(directory).as_posix() for path in list_images(directory)}
    others = sorted(found - digests.keys())
    return f"{others[0]} is not one of the published images" if others else ""


def _unpack(archive: Path, digests: Mapping[str, str], target: Path) -> str | None:
    """Makes the folder `target` of the archive's images: None, or why it is refused.

    Names come from the table alone, so nothing is written that it does not tell.
    """
    contents = _read_images(archive, digests)
    if isinstance(contents, str):
        return contents
    # One a process, as with the archive itself; beside the target, to be renamed.
    unpacked = target.with_name(f"{target.name}.{os.getpid()}.unpacked")
    try:
        for name, content in contents.items():
            (unpacked / name).parent.mkdir(parents=True, exist_ok=True)
            (unpacked / name).write_bytes(content)
        try:
            publish(unpacked, target)
        except OSError:
            # Another run may have been first.
            if not target.is_dir() or _difference(target, digests):
                raise
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _read_images(path: Path, digests: Mapping[str, str]) -> dict[str, bytes] | str:
    """Name -> content of all images of the table, checked, or what is wrong."""
    try:
        with zipfile.ZipFile(path) as archive:
            # By class folder and own name, whatever folders are above.
            members = {
                "/".join(PurePosixPath(info.filename).parts[-2:]): info
                for info in archive.infolist()
            }
            if missing := [name for name in digests if name not in members]:
                return f"{len(missing)} images are not in it, such as {missing[0]}"
            contents = {name: archive.read(members[name]) for name in digests}
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
        if head.startswith(b"PK"):
            return f"the archive is incomplete or damaged ({error})"
        return f"not an archive: it is {describe_content(head)}"
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != digests[name]:
            return f"wrong checksum: {name} is not the known image"
    return contents
