"""Which images of a data set are held out: for the test, or for validation."""

import numpy as np

from signjax.data.dataset import Dataset
from signjax.errors import InputError

_DRAWS = 100


def hold_out(
    data: Dataset, *, fraction: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Sorted image indices (kept, held out), int64, that divide no group of `data`.

    About `fraction`, in (0, 1), is held out: of each class's images, or of its groups
    where there are any, a class of one image or group keeping it; or of the whole where
    a group shows several classes, as `grouped_split`, which raises InputError.
    """
    labels, groups = data.labels, data.groups
    if groups is None:
        return stratified_holdout(labels, fraction=fraction, rng=rng)
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    label_of = labels[first]
    if not np.array_equal(label_of[group], labels):
        return grouped_split(labels, groups, fraction=fraction, rng=rng)
    _, drawn = stratified_holdout(label_of, fraction=fraction, rng=rng)
    held_out = np.isin(group, drawn)
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


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
