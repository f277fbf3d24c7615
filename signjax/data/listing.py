"""Which files of a folder are images, of which class and split; nothing is read."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple, NoReturn

from signjax.errors import InputError, listed

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
_HIDDEN = "hidden files"

LAYOUT = "one folder of images a class, or train/ and test/ of such folders"


class Listing(NamedTuple):
    """The images of a folder.

    splits: `train`, `validation` and `test`, or `all` where the folder has no splits ->
    class -> its images in natural order. left_out: reason -> number of files that are
    there and not used.
    """

    splits: dict[str, dict[str, list[Path]]]
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
    roots = {"all": directory}
    left_out: Counter[str] = Counter()
    if any(map(_folders, named)) or (folders and len(named) == len(folders)):
        roots = {split: folder for folder, split in named.items()}
        if len(roots) < len(named):
            raise InputError(
                f"{directory}: two of {listed(f'{f.name}/' for f in named)} name the "
                "same split: leave one of them"
            )
        _count_others(directory, folders_used=named, what="splits", into=left_out)
    splits = {
        split: _classes(roots[split], left_out, nested)
        for split in ("all", *_SPLITS)
        if split in roots
    }
    return Listing(splits, left_out)


def list_images(path: str | Path) -> list[Path]:
    """The image at `path`, or all below the folder `path`, in natural order.

    Hidden files and folders are passed over, and so are files without a suffix of
    `IMAGE_SUFFIXES`. Raises InputError where nothing is there or nothing is left.
    """
    path = Path(path)
    if os.path.isfile(path):
        return [path]
    if not os.path.isdir(path):
        raise InputError(f"{path}: no such file or folder; expected an image or folder")
    if images := _images_below(path):
        return images
    raise InputError(f"{path}: no images in this folder; expected .jpg, .png, ...")


def natural_key(text: str) -> tuple[list[str | float], str]:
    """A sort key that counts: IMG_2 before IMG_10, case aside."""
    parts = re.split(r"(\d+)", text.casefold())
    return [float(part) if part.isdecimal() else part for part in parts], text


def _split_of(folder: Path) -> str | None:
    for split, names in _SPLITS.items():
        if re.fullmatch(f"({names}){_SUFFIXES}", folder.name, re.IGNORECASE):
            return split


def _folders(directory: Path) -> list[Path]:
    """The folders in `directory`, but for hidden ones, in natural order."""
    _, names, _ = next(os.walk(directory, onerror=_refuse))
    names = [name for name in names if not _is_hidden(name)]
    return [directory / name for name in sorted(names, key=natural_key)]


def _classes(
    directory: Path, left_out: Counter[str], nested: bool
) -> dict[str, list[Path]]:
    """Class name -> its images, in label order, which is the natural one."""
    folders = _folders(directory)
    if not folders:
        advice = "; if its images have no labels, name the folder beside it that has"
        raise InputError(
            f"{directory}: no class folders in it; expected {LAYOUT}"
            f"{advice if _split_of(directory) else ''}"
        )
    classes: dict[str, list[Path]] = {}
    for folder in folders:
        images = classes.setdefault(unicodedata.normalize("NFC", folder.name), [])
        for path, problem in _walk(folder):
            if problem:
                left_out[problem] += 1
            elif path.parent == folder or nested:
                images.append(path)
            else:
                raise InputError(_refuse_deeper(directory, path))
    _count_others(directory, folders_used=folders, what="class folders", into=left_out)
    return {name: classes[name] for name in sorted(classes, key=natural_key)}


def _count_others(
    directory: Path, *, folders_used: Collection[Path], what: str, into: Counter[str]
) -> None:
    for _, problem in _walk(directory, skip=folders_used):
        kind = "files" if problem else "images"
        into[problem if problem == _HIDDEN else f"{kind} beside the {what}"] += 1


def _refuse_deeper(directory: Path, image: Path) -> str:
    """What is wrong with an image below a folder in a class folder, and what to do."""
    # Folder that may be meant -> class folders in it -> their images.
    found: dict[Path, Counter[Path]] = {}
    for path in _images_below(directory):
        root = path.parent.parent
        if _split_of(root):
            root = root.parent
        found.setdefault(root, Counter())[path.parent] += 1
    given = directory.parent if _split_of(directory) else directory
    meant = [root for root, of in found.items() if len(of) > 1 and root != given]
    hint = max(meant, key=lambda root: found[root].total(), default=None)
    wanted = f"name {hint}, which holds class folders" if hint else f"expected {LAYOUT}"
    return (
        f"{directory}: {image.relative_to(directory)} is deeper than a class folder: "
        f"{wanted}; where folders in a class folder name people, set "
        "--config.data.group='^(.+)/'"
    )


def _images_below(folder: Path) -> list[Path]:
    return [path for path, problem in _walk(folder) if not problem]


def _walk(folder: Path, skip: Collection[Path] = ()) -> list[tuple[Path, str]]:
    """(path, why it is no image or "") of all files below, in natural order.

    A link to a folder, which is not followed, counts as a file. skip: folders.
    """
    found = []
    for root, names, files in os.walk(folder, onerror=_refuse):
        place = Path(root)
        names[:] = [name for name in names if place / name not in skip]
        links = [name for name in names if (place / name).is_symlink()]
        paths = [place / name for name in (*files, *links)]
        found += [(path, _problem(path, folder)) for path in paths]
    return sorted(found, key=lambda x: natural_key(str(x[0].relative_to(folder))))


def _problem(path: Path, below: Path) -> str:
    """Why a file is no image, as people count such; empty if it is one."""
    if any(map(_is_hidden, path.relative_to(below).parts)):
        return _HIDDEN
    if os.path.exists(path) and not os.path.isfile(path):
        return "links to folders" if os.path.isdir(path) else "no regular files"
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return ""
    return f"{suffix} files" if suffix else "files without a suffix"


def _is_hidden(name: str) -> bool:
    """Whether people do not mean it: .git, ._photo.jpg, __MACOSX."""
    return name.startswith(".") or name in _SYSTEM


def _refuse(error: OSError) -> NoReturn:
    raise InputError(
        f"{error.filename}: {error.strerror}; expected {LAYOUT}"
    ) from error
