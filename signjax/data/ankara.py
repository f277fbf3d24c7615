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

from signjax.data.content import HEAD_BYTES, describe_content
from signjax.data.download import obtain
from signjax.data.listing import IMAGE_SUFFIXES
from signjax.errors import RunError
from signjax.runtime.files import publish

NAME = "ankara_digits"  # of the folder that they make

# 1,032 of the 2,062 published ones. Written by experiments/ankara_signers.py --digests.
DIGESTS = Path(__file__).with_name("ankara_digits.csv")

ARCHIVE = (
    "https://codeload.github.com/ardamavi/Sign-Language-Digits-Dataset/zip/"
    "4b09433ef9d5c60602e8805bb54b8aa2428527f8"
)
_MOST_BYTES = 1 << 24  # of an image; a bomb would unpack to more


def read_digests() -> dict[str, str]:
    """The sha256 of each image, hex, by its path, as 0/IMG_1118.JPG."""
    with DIGESTS.open(encoding="utf-8", newline="") as file:
        return {row["image"]: row["sha256"] for row in csv.DictReader(file)}


def fetch_ankara(directory: Path) -> Path:
    """Downloads the images into `directory`, or finds them there: their own folder.

    The folder holds the images of the table and no others. It gets its name when all
    are in it and checked, so that a download that is stopped leaves none.
    Raises RunError where they cannot be had, and where a folder of the name has others.
    """
    target, digests = directory / NAME, read_digests()
    advice = "name a folder of class-named folders with --config.data.dir=DIR"
    if target.exists():
        if difference := _difference(_read_folder(target), digests):
            raise RunError(
                f"{target}: {difference}; delete this folder to have it downloaded "
                f"again, or {advice}"
            )
        return target
    try:
        obtain(
            f"{NAME}.zip",
            (ARCHIVE,),
            directory,
            accept=lambda archive: _unpack(archive, digests, target),
        )
    except RunError as error:
        raise RunError(
            f"{error}. Download and unpack it by hand, or take images of your own, "
            f"and {advice}"
        ) from error
    return target


def _difference(contents: Mapping[str, bytes], digests: Mapping[str, str]) -> str:
    """The first that tells images from the table; empty if none does."""
    for name in sorted(contents.keys() | digests):
        if name not in contents:
            return f"{name} is missing"
        if hashlib.sha256(contents[name]).hexdigest() != digests.get(name):
            return f"{name} is not the published image"
    return ""


def _read_folder(directory: Path) -> dict[str, bytes]:
    images = [x for x in directory.rglob("*") if x.suffix.lower() in IMAGE_SUFFIXES]
    return {x.relative_to(directory).as_posix(): x.read_bytes() for x in images}


def _read_archive(path: Path, digests: Mapping[str, str]) -> dict[str, bytes]:
    """Those of the table, by class folder and own name, whatever folders are above."""
    with zipfile.ZipFile(path) as archive:
        place = {"/".join(PurePosixPath(x).parts[-2:]): x for x in archive.namelist()}
        names = place.keys() & digests
        return {name: archive.open(place[name]).read(_MOST_BYTES) for name in names}


def _unpack(archive: Path, digests: Mapping[str, str], target: Path) -> str | None:
    """Makes the folder `target` of the archive's images: None, or why it is refused.

    Names come from the table alone, so nothing is written that it does not tell.
    """
    try:
        contents = _read_archive(archive, digests)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        with open(archive, "rb") as file:
            head = file.read(HEAD_BYTES)
        if head.startswith(b"PK"):
            return f"the archive is incomplete or damaged ({error})"
        return f"not an archive: it is {describe_content(head)}"
    if difference := _difference(contents, digests):
        return difference
    # One a process, as with the archive itself; beside the target, to be renamed.
    unpacked = target.with_name(f"{target.name}.{os.getpid()}.unpacked")
    try:
        for name, content in contents.items():
            (unpacked / name).parent.mkdir(parents=True, exist_ok=True)
            (unpacked / name).write_bytes(content)
        publish(unpacked, target)
    except OSError:
        # Another run may have been first.
        if not target.is_dir() or _difference(_read_folder(target), digests):
            raise
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
