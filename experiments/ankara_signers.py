"""The signers of the Ankara digits, half of them for development, half held out.

    python -m experiments.ankara_signers DATA [FLAGS]

Without flags it writes ankara_signers.csv; with --links=FOLDER it makes
FOLDER/development and FOLDER/held-out of links, with --fold=K too FOLDER/train and
FOLDER/test; with --digests it writes the table of sha256 that vouches for a download.

The pictures bear no names, but each person showed 0 to 9 in turn, so the order of the
file numbers tells them apart (`signjax.data.splits.by_sequence`). Sequences that begin
with every second 0 are for development, and so is a person with any picture in one of
them; the others are held out. Neighbours share camera, wall and light, so both halves
hold the like of every session, and none holds a hand of the other. Every third of the
signers held out is the test of a fold K, 0 to 2, and all others are trained on.
"""

import argparse
import csv
import hashlib
import re
from pathlib import Path

import numpy as np

from signjax.data.ankara import DIGESTS
from signjax.data.listing import list_folder
from signjax.data.splits import by_sequence

TABLE = Path(__file__).parent / "ankara_signers.csv"
HALVES = ("development", "held-out")
FOLDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with a folder a digit")
    parser.add_argument("--links", type=Path, help="folder to make, of the two parts")
    parser.add_argument("--fold", type=int, choices=range(FOLDS))
    parser.add_argument("--digests", action="store_true", help="write sha256 alone")
    options = parser.parse_args()
    if options.fold is not None and not options.links:
        parser.error("--fold needs --links")
    folders = list_folder(options.data).splits["all"]
    files = [file for paths in folders.values() for file in paths]
    if options.digests:
        return write_digests(files)
    signers, held_out = find_signers(files)
    if options.links and options.fold is not None:
        link_fold(options.data, options.fold, options.links)
    elif options.links:
        link(files, held_out[signers], options.links, HALVES)
    else:
        write_table(file_numbers(files), signers, held_out)


def find_signers(files: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """The signer of each file, and of each signer whether held out, bool."""
    classes = sorted({file.parent.name for file in files})
    labels = np.array([classes.index(file.parent.name) for file in files])
    signers = by_sequence([file.name for file in files], labels)
    return signers, find_held_out(file_numbers(files), labels, signers)


def file_numbers(files: list[Path]) -> np.ndarray:
    """The number in each file's name."""
    return np.array([int(re.sub(r"\D", "", file.stem)) for file in files])


def find_held_out(
    numbers: np.ndarray, labels: np.ndarray, signers: np.ndarray
) -> np.ndarray:
    """Whether each signer is held out, bool [signers]."""
    order = np.argsort(numbers)
    sequences = np.empty(len(numbers), int)
    sequences[order] = np.cumsum(labels[order] == 0) - 1
    developed = signers[sequences % 2 == 0]
    return ~np.isin(np.arange(signers.max() + 1), developed)


def link_fold(data: Path, fold: int, target: Path) -> None:
    """target/train and target/test, whose people are a third of those held out."""
    folders = list_folder(data).splits["all"]
    files = [file for paths in folders.values() for file in paths]
    signers, held_out = find_signers(files)
    tested = np.flatnonzero(held_out)[fold::FOLDS]
    link(files, np.isin(signers, tested), target, ("train", "test"))


def link(
    files: list[Path], second: np.ndarray, target: Path, parts: tuple[str, str]
) -> None:
    """target/PART/DIGIT/FILE for every file, as links. second: bool, a file each."""
    for file, part in zip(files, second.astype(int), strict=True):
        place = target / parts[part] / file.parent.name / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(file.resolve())


def write_digests(files: list[Path]) -> None:
    """A row a picture: its path in the class folders and the sha256 of its bytes."""
    with DIGESTS.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "sha256"])
        for path in files:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            writer.writerow([f"{path.parent.name}/{path.name}", digest])


def write_table(numbers: np.ndarray, signers: np.ndarray, held_out: np.ndarray) -> None:
    """A row a signer: numbers of the first and last file, count and half."""
    with TABLE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["signer", "first", "last", "pictures", "half"])
        for signer in range(signers.max() + 1):
            own = numbers[signers == signer]
            half = HALVES[int(held_out[signer])]
            writer.writerow([signer, own.min(), own.max(), len(own), half])


if __name__ == "__main__":
    main()
