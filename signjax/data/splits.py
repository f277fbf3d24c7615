"""Which images are held out, for the test or for validation, and who is in them.

A network knows a hand again, so a test on other images of the people that it was
trained on says little about unseen signers. The `group` rule tells from the files which
images belong together.
"""

import re
from collections.abc import Sequence

import numpy as np

from signjax.data.dataset import Dataset
from signjax.data.listing import natural_key
from signjax.errors import InputError

_TRIES = 100


def hold_out(
    data: Dataset, *, fraction: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Sorted image indices (kept, held out), int64, that divide no group of `data`.

    About `fraction`, in (0, 1), is held out: of each class's images, or of its groups
    where there are any, a class of one image or group keeping it; or of the whole where
    a group shows several classes, as `grouped_split`, which raises InputError.
    """
    labels, groups = data.labels, data.groups
    if groups is None or len(np.unique(groups)) == len(groups):
        return stratified_holdout(labels, fraction=fraction, rng=rng)
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    label_of = labels[first]
    if not np.array_equal(label_of[group], labels):
        return grouped_split(labels, groups, fraction=fraction, rng=rng)
    _, chosen = stratified_holdout(label_of, fraction=fraction, rng=rng)
    held_out = np.isin(group, chosen)
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
        count = max(1, round(fraction * len(members)))
        held.append(members[: min(count, len(members) - 1)])
    held_out = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def grouped_split(
    labels: np.ndarray,
    groups: np.ndarray,
    *,
    fraction: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Sorted image indices (kept, held out), int64, that divide no group.

    Groups in random order until about `fraction`, in (0, 1), of the images is held out;
    in another order if a class is not on both sides. labels, groups: int [N].
    Raises InputError where no such split is found.
    """
    names, sizes = np.unique(groups, return_counts=True)
    wanted = fraction * len(groups)
    for _ in range(_TRIES if len(names) > 1 else 0):
        order = rng.permutation(len(names))
        totals = np.cumsum(sizes[order])[:-1]  # one group at least is kept
        count = int(np.abs(totals - wanted).argmin()) + 1
        held_out = np.isin(groups, names[order[:count]])
        if set(labels[held_out]) == set(labels[~held_out]):
            return np.flatnonzero(~held_out), np.flatnonzero(held_out)
    raise InputError(
        f"the group rule finds {len(names)} groups among {len(groups)} images, which "
        f"cannot be split in {fraction:g} and the rest with every class on both sides: "
        "give images of more people, or another rule"
    )


def by_sequence(names: Sequence[str], labels: np.ndarray) -> np.ndarray:
    """Person numbers, int32 [N], where each showed the classes in turn.

    In natural order of the file names, a new person begins where a class comes that
    the last one has shown already (but at once again is a second try), and at each
    class 0, unless a single image went before it: first images get swapped.
    """
    order = sorted(
        range(len(names)), key=lambda i: natural_key(names[i].split("/")[-1])
    )
    groups = np.zeros(len(names), np.int32)
    person, shown = -1, []
    for index in order:
        label = int(labels[index])
        again = label in shown and label != shown[-1]
        if not shown or again or (label == 0 and len(shown) > 1):
            person, shown = person + 1, []
        shown.append(label)
        groups[index] = person
    return groups


def by_name(names: Sequence[str], pattern: str) -> np.ndarray:
    """Group numbers, int32 [N]: images are together where `pattern` finds equal text.

    pattern: a regular expression, searched in each name. With brackets the bracketed
    part counts: `^(\\w+)_` takes anna from anna_03.jpg, `^(.+)/` a folder a person.
    Raises InputError for the names where it finds nothing.
    """
    found = [re.search(pattern, name) for name in names]
    missed = [name for name, match in zip(names, found, strict=True) if not match]
    if missed:
        raise InputError(
            f"group rule {pattern!r} finds nothing in {len(missed)} of {len(names)} "
            f"file names, such as {missed[0]}: expected a regular expression that fits "
            "all of them"
        )
    keys = [match.groups() or match[0] for match in found if match]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], np.int32)
