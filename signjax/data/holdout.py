"""Which images of a data set are held out: for the test, or for validation.

What is held out says nothing about new images where its like is trained on. So no
split parts the images of one group, such as a person's, nor images that are equal in
every pixel, of which the training images of SIGNS hold 43 pairs.
"""

import hashlib

import numpy as np

from signjax.data.dataset import Dataset
from signjax.data.stream import Images, in_parts
from signjax.errors import InputError

_DRAWS = 100


def hold_out(
    data: Dataset, *, fraction: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Sorted image indices (kept, held out), int64; copies and groups stay together.

    About `fraction`, in (0, 1), is held out: of each class where the images have no
    groups, else of the whole. It reads every image. Raises InputError where the groups
    cannot be split with every class on both sides.
    """
    copies = _first_equal(data.images)
    if data.groups is not None:
        groups = _connected(data.groups, copies)
        return grouped_split(data.labels, groups, fraction=fraction, rng=rng)
    different = np.flatnonzero(copies == np.arange(len(copies)))
    _, drawn = stratified_holdout(data.labels[different], fraction=fraction, rng=rng)
    held_out = np.isin(copies, different[drawn])
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _first_equal(images: Images) -> np.ndarray:
    """For each image the index of the first with the same pixels, int64 [N]."""
    first_of: dict[bytes, int] = {}
    digests = (
        hashlib.sha256(np.ascontiguousarray(image).data).digest()
        for part in in_parts(images)
        for image in part
    )
    return np.array([first_of.setdefault(key, i) for i, key in enumerate(digests)], int)


def _connected(groups: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """Groups, int [N], in which those that share a copy are one; both int [N], >= 0."""
    joined = groups
    while True:
        lowest = joined
        for sets in (groups, copies):
            of_set = np.full(sets.max() + 1, groups.max())
            np.minimum.at(of_set, sets, lowest)
            lowest = of_set[sets]
        if np.array_equal(lowest, joined):
            return joined
        joined = lowest


def stratified_holdout(
    labels: np.ndarray, *, fraction: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Sorted indices (kept, held out) with `fraction` of each class held out.

    labels: int [N]. fraction in (0, 1); each class gives at least one image and keeps
    at least one, which comes first where it has but one.
    """
    held: list[np.ndarray] = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        share = max(1, round(fraction * len(members)))
        held.append(members[: min(share, len(members) - 1)])
    held_out = np.sort(np.concatenate(held))
    kept = np.setdiff1d(np.arange(len(labels)), held_out)
    return kept, held_out


def grouped_split(
    labels: np.ndarray,
    groups: np.ndarray,
    *,
    fraction: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Sorted image indices (kept, held out), int64, that divide no group.

    Groups are drawn until about `fraction`, in (0, 1), of the images is held out, and
    drawn anew if a class is not on both sides. labels, groups: int [N].
    Raises InputError where no such split is found.
    """
    names, sizes = np.unique(groups, return_counts=True)
    wanted = fraction * len(groups)
    for _ in range(_DRAWS if len(names) > 1 else 0):
        order = rng.permutation(len(names))
        drawn = np.cumsum(sizes[order])[:-1]  # one group at least is kept
        count = int(np.abs(drawn - wanted).argmin()) + 1
        held_out = np.isin(groups, names[order[:count]])
        if set(labels[held_out]) == set(labels[~held_out]):
            return np.flatnonzero(~held_out), np.flatnonzero(held_out)
    raise InputError(
        f"the group rule finds {len(names)} groups among {len(groups)} images, which "
        f"cannot be split in {fraction:g} and the rest with every class on both sides: "
        "give images of more people, or another rule"
    )
