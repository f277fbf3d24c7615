"""--mode=audit: copies, leaks between splits, balance and odd pictures of --data."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from signjax.data.audit import Pictures, digest, summarise, thumbnail
from signjax.data.dataset import Dataset
from signjax.data.folder import list_labelled
from signjax.data.image import load_whole, natural_key
from signjax.data.signs import TEST_FILE, TRAIN_FILE, read_signs, read_signs_file
from signjax.errors import InputError
from signjax.modes.common import refuse_arguments
from signjax.modes.options import Options
from signjax.reporting.logs import Console, write_json

_LISTED = 12
_SETS = 3


def run(options: Options) -> None:
    """Prints what is found; writes it as JSON to --output. Findings are no failure."""
    refuse_arguments(options)
    if not options.data:
        raise InputError(
            "--data is missing: expected an h5 file of the SIGNS layout, a folder with "
            "the two, or a folder of class-named folders"
        )
    report = audit(options.data)
    console = Console()
    for line in describe(report):
        console.info(line)
    if options.output:
        write_json(Path(options.output), report)


def audit(path: str) -> dict[str, Any]:
    """`audit.summarise` of the data at `path`, with `data` and `unreadable`.

    unreadable: what is wrong with each picture that was left out, a line each.
    Raises InputError where `path` is no data set or none of its pictures can be read.
    """
    unreadable: list[str] = []
    rows = list(_read(Path(path), unreadable))
    if not rows:
        raise InputError(f"{path}: no picture can be read; the first: {unreadable[0]}")
    return {"data": path, **_summarise(rows), "unreadable": unreadable}


def count_pictures(path: str) -> int:
    """How many pictures `audit` compares, of all splits. Raises InputError as it."""
    place = Path(path)
    if _is_of_folders(place):
        splits = list_labelled(place).values()
        return sum(len(files) for folders in splits for files in folders.values())
    return sum(len(data.labels) for data in _read_files(place).values())


def audit_parts(origin: str, parts: Mapping[str, Dataset]) -> dict[str, Any]:
    """What `audit` returns, of splits in memory: name -> images as the network has it.

    A picture is called by its split and index, as `test[3]`.
    """
    rows = [
        _row(f"{split}[{index}]", split, data.classes[data.labels[index]], pixels)
        for split, data in parts.items()
        for index, pixels in enumerate(data.images)
    ]
    return {"data": origin, **_summarise(rows), "unreadable": []}


def _summarise(rows: Sequence["_Row"]) -> dict[str, Any]:
    classes = tuple(sorted({row.label for row in rows}, key=natural_key))
    names, splits, labels, sizes, digests, thumbnails = zip(*rows, strict=True)
    return summarise(
        Pictures(
            names=names,
            splits=splits,
            labels=np.array([classes.index(label) for label in labels]),
            classes=classes,
            sizes=np.array(sizes),
            digests=digests,
            thumbnails=np.stack(thumbnails),
        )
    )


class _Row(NamedTuple):
    """One picture; of its pixels only what is compared is kept."""

    name: str
    split: str
    label: str
    size: tuple[int, int]
    digest: str
    thumbnail: np.ndarray


def _row(name: str, split: str, label: str, pixels: np.ndarray) -> _Row:
    height, width = pixels.shape[:2]
    shown = thumbnail(pixels)
    return _Row(name, split, label, (width, height), digest(pixels), shown)


def _read(path: Path, unreadable: list[str]) -> Iterator[_Row]:
    if _is_of_folders(path):
        yield from _read_folder(path, unreadable)
        return
    for split, data in _read_files(path).items():
        file = {"train": TRAIN_FILE, "test": TEST_FILE, "all": path.name}[split]
        for index, pixels in enumerate(data.images):
            label = data.classes[data.labels[index]]
            yield _row(f"{file}[{index}]", split, label, pixels)


def _is_of_folders(path: Path) -> bool:
    return path.is_dir() and not any(
        (path / file).exists() for file in (TRAIN_FILE, TEST_FILE)
    )


def _read_files(path: Path) -> dict[str, Dataset]:
    """Split -> images of one h5 file, or of the two in a folder."""
    if path.is_dir():
        return dict(zip(("train", "test"), read_signs(path), strict=True))
    return {"all": read_signs_file(path, None)}


def _read_folder(path: Path, unreadable: list[str]) -> Iterator[_Row]:
    def read(picture: tuple[str, str, Path]) -> _Row | str:
        split, label, file = picture
        try:
            pixels = load_whole(file)
        except InputError as error:
            return str(error)
        return _row(file.relative_to(path).as_posix(), split, label, pixels)

    pictures = []
    for split, folders in list_labelled(path).items():
        for label, files in folders.items():
            pictures += [(split, label, file) for file in files]
            if not files:
                unreadable.append(f"{label} in {split}: no images in this class")
    with ThreadPoolExecutor() as pool:
        for found in pool.map(read, pictures):
            if isinstance(found, str):
                unreadable.append(found)
            else:
                yield found


def describe(report: Mapping[str, Any]) -> list[str]:
    """A report of `audit` in lines for a person."""
    splits = ", ".join(f"{name} {count}" for name, count in report["splits"].items())
    return [
        f"data         {report['data']}: {report['count']} pictures ({splits})",
        f"sizes        {_listed([f'{s} ({n})' for s, n in report['sizes'].items()])}",
        *_balance(report["classes"], list(report["splits"])),
        *(line for kind in _KINDS for line in _duplicates(kind, report)),
        *_conflicts(report["conflicts"]),
        *_findings("odd", [f"{k}: {', '.join(v)}" for k, v in report["odd"].items()]),
        *_findings("unreadable", report["unreadable"]),
    ]


# Key of the report -> its heading and what the pictures of a set are.
_KINDS = {
    "identical": ("identical", "equal in every pixel"),
    "copies": ("copies", "these, and photographs that were saved or resized again"),
    "look_alikes": ("look-alikes", "these, and the same scene a moment later"),
}


def _balance(
    classes: Mapping[str, Mapping[str, int]], splits: Sequence[str]
) -> list[str]:
    lines = []
    for split in splits:
        counts = {name: of_split[split] for name, of_split in classes.items()}
        low, high = min(counts.values()), max(counts.values())
        many = "equally many" if low == high else f"{low} to {high} pictures each"
        each = _listed([f"{name}: {count}" for name, count in counts.items()])
        lines.append(f"classes      {split}: {len(classes)} classes, {many}; {each}")
    return lines


def _duplicates(kind: str, report: Mapping[str, Any]) -> list[str]:
    heading, meaning = _KINDS[kind]
    sets, leaked = report[kind]["sets"], report[kind]["leaked"]
    lines = [f"{heading:12} sets: {len(sets)}, pictures: {sum(map(len, sets))}"]
    lines[0] += f" ({meaning})"
    lines += [f"  {' = '.join(names[:_LISTED])}" for names in sets[:_SETS]]
    if len(sets) > _SETS:
        lines.append(f"  and {len(sets) - _SETS} more sets")
    for split, names in list(leaked.items())[1:]:  # the first split is what is learned
        count = report["splits"][split]
        what = f"{len(names)} of {count} {split} pictures are in such a set with"
        lines.append(f"  LEAK: {what} pictures of another split: {_listed(names)}")
    return lines


def _conflicts(conflicts: Sequence[Mapping[str, str]]) -> list[str]:
    named = [" = ".join(f"{k} ({v})" for k, v in c.items()) for c in conflicts]
    if not named:
        return []
    return [f"CONFLICT     {len(named)} copies under two classes: {_listed(named)}"]


def _findings(heading: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return [f"{heading:12} none"]
    more = [f"  and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
    return [f"{heading:12} {len(lines)}", *(f"  {x}" for x in lines[:_LISTED]), *more]


def _listed(values: Sequence[str], limit: int = _LISTED) -> str:
    more = len(values) - limit
    named = ", ".join(values[:limit])
    return f"{named} and {more} more" if more > 0 else named
