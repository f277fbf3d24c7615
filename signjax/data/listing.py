"""Which files of a folder are images, of which class and split; nothing is read."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from signjax.errors import InputError

# What counts as an image when a folder is searched; a file that is named is tried
# whatever its suffix.
IMAGE_SUFFIXES = frozenset(
    ".apng .avif .bmp .gif .heic .heif .jfif .jp2 .jpe .jpeg .jpg .mpo .pbm .pgm .png"
    " .pnm .ppm .tga .tif .tiff .webp".split()
)

# Customary names of the folders of a split, in any case, as train, Training_set, VAL.
_SPLITS = {
    "train": r"train(ing)?",
    "validation": r"val(id(ation)?)?|dev|eval(uation)?",
    "test": r"test(ing)?",
}
_SUFFIXES = r"[-_ ]?(set|split|data|dataset|images)?"
_SYSTEM = frozenset(("__MACOSX", "__pycache__"))

LAYOUT = "one folder of images a class, or train/ and test/ of such folders"


class Listing(NamedTuple):
    """The images of a folder.

    splits: `train`, `validation` and `test`, or `all` where the folder has no splits ->
    class -> its images in natural order. depth: how many parts of a path come before
    what is below the class folder. left_out: reason -> number of files that are there
    and not used.
    """

    splits: dict[str, dict[str, list[Path]]]
    depth: int
    left_out: Counter[str]


def list_folder(directory: str | Path, *, nested: bool = False) -> Listing:
    """Finds the images of class-named folders, or of folders of splits of those.

    Folders that bear the names of splits are classes only where others are there too
    and none of them holds folders. nested: whether class folders may hold folders of
    images. A class may have no images. Class names are in Unicode's composed form.

    Raises InputError for another layout, naming the folder that was probably meant.
    """
    directory = Path(directory)
    folders = _folders(directory)
    named = {folder: split for folder in folders if (split := _split_of(folder))}
    left_out: Counter[str] = Counter()
    if not any(map(_folders, named)) and len(named) < max(1, len(folders)):
        classes = _classes(directory, left_out, nested)
        return Listing({"all": classes}, len(directory.parts) + 1, left_out)
    parts: dict[str, Path] = {}
    for folder, split in named.items():
        other = parts.setdefault(split, folder)
        if other != folder:
            raise InputError(
                f"{directory}: {other.name}/ and {folder.name}/ name the same split: "
                "leave one of them"
            )
    _count_others(directory, tuple(named), "beside the splits", left_out)
    splits = {
        split: _classes(parts[split], left_out, nested)
        for split in _SPLITS
        if split in parts
    }
    return Listing(splits, len(directory.parts) + 2, left_out)


def list_images(path: str | Path) -> list[Path]:
    """The image at `path`, or all below the folder `path`, in natural order.

    Hidden files and folders are passed over, and so are files without a suffix of
    `IMAGE_SUFFIXES`. Raises InputError where nothing is there or nothing is left.
    """
    path = Path(path)
    try:
        if path.is_file():
            return [path]
        if not path.is_dir():
            raise InputError(
                f"{path}: no such file or folder; expected an image or folder"
            )
    except OSError as error:
        raise _unreadable(error, path) from error
    images = _images_below(path, Counter())
    if not images:
        raise InputError(f"{path}: no images in this folder; expected .jpg, .png, ...")
    return images


def natural_key(text: str) -> tuple[list[str | int], str]:
    """A sort key that counts: IMG_2 before IMG_10, case aside."""
    parts = re.split(r"(\d+)", text.casefold())
    return [int(part) if part.isdecimal() else part for part in parts], text


def _split_of(folder: Path) -> str | None:
    """The split that a folder's name stands for."""
    for split, names in _SPLITS.items():
        if re.fullmatch(f"({names}){_SUFFIXES}", folder.name, re.IGNORECASE):
            return split


def _folders(directory: Path) -> list[Path]:
    """The folders in `directory`, but for hidden ones, in natural order."""
    if not directory.is_dir():
        problem = "is not a folder" if directory.exists() else "no such folder"
        raise InputError(f"{directory}: {problem}; expected {LAYOUT}")
    try:
        folders = [p for p in directory.iterdir() if p.is_dir()]
    except OSError as error:
        raise _unreadable(error, directory) from error
    folders = [folder for folder in folders if not _is_hidden(folder.name)]
    return sorted(folders, key=lambda folder: natural_key(folder.name))


def _classes(
    directory: Path, left_out: Counter[str], nested: bool
) -> dict[str, list[Path]]:
    """Class name -> its images, in label order, which is the natural one."""
    folders = _folders(directory)
    if not folders:
        raise InputError(f"{directory}: no class folders in it; expected {LAYOUT}")
    classes: dict[str, list[Path]] = {}
    for folder in folders:
        images = _images_below(folder, left_out)
        deeper = [image for image in images if image.parent != folder]
        if deeper and not nested:
            raise InputError(_refuse_deeper(directory, deeper[0]))
        name = unicodedata.normalize("NFC", folder.name)
        classes[name] = classes.get(name, []) + images
    _count_others(directory, folders, "beside the class folders", left_out)
    return {name: classes[name] for name in sorted(classes, key=natural_key)}


def _refuse_deeper(directory: Path, image: Path) -> str:
    """What is wrong with an image below a folder in a class folder, and what to do."""
    # Folder that may be meant -> class folders in it -> their images.
    found: dict[Path, Counter[Path]] = {}
    for path in _images_below(directory, Counter()):
        root = path.parent.parent
        if _split_of(root):
            root = root.parent
        found.setdefault(root, Counter())[path.parent] += 1
    meant = [root for root, of in found.items() if len(of) > 1 and root != directory]
    hint = max(meant, key=lambda root: found[root].total(), default=None)
    return (
        f"{directory}: {image.relative_to(directory)} is deeper than a class folder; "
        f"expected {LAYOUT}{f', as in {hint}: name that folder' if hint else ''}. "
        "Where folders in a class folder name people, set --config.data.group='^(.+)/'"
    )


def _images_below(folder: Path, left_out: Counter[str]) -> list[Path]:
    """All images below a folder in natural order; what else is there is counted."""
    images = []
    for path, hidden in _walk(folder):
        suffix = path.suffix.lower()
        if hidden:
            left_out["hidden files"] += 1
        elif path.exists() and not path.is_file():
            left_out["links to folders" if path.is_dir() else "no regular files"] += 1
        elif suffix in IMAGE_SUFFIXES:
            images.append(path)
        else:
            left_out[f"{suffix} files" if suffix else "files without a suffix"] += 1
    return sorted(images, key=lambda path: natural_key(str(path.relative_to(folder))))


def _count_others(
    directory: Path, used: Sequence[Path], where: str, left_out: Counter[str]
) -> None:
    """Counts what lies in `directory` but not in the folders `used`."""
    for path in directory.iterdir():
        if path in used:
            continue
        for file, hidden in _walk(path) if path.is_dir() else [(path, False)]:
            kind = "images" if file.suffix.lower() in IMAGE_SUFFIXES else "files"
            hidden = hidden or _is_hidden(path.name)
            left_out["hidden files" if hidden else f"{kind} {where}"] += 1


def _walk(folder: Path) -> Iterator[tuple[Path, bool]]:
    """(path, whether it is hidden) of each file below, and of each link to a folder."""

    def refuse(error: OSError) -> None:
        raise _unreadable(error, folder) from error

    for root, names, files in os.walk(folder, onerror=refuse):
        place = Path(root)
        hidden = any(map(_is_hidden, place.relative_to(folder).parts))
        links = [name for name in names if (place / name).is_symlink()]
        for name in (*files, *links):
            yield place / name, hidden or _is_hidden(name)


def _is_hidden(name: str) -> bool:
    """Whether people do not mean it: .git, ._photo.jpg, __MACOSX."""
    return name.startswith(".") or name in _SYSTEM


def _unreadable(error: OSError, path: Path) -> InputError:
    return InputError(
        f"{error.filename or path}: {error.strerror}; expected an image or a folder "
        "that can be read"
    )
