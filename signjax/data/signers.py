"""Who is in a picture: images of one person must not be both learned and tested.

A network knows a hand again, so a test on other pictures of the same people says
little about strangers. The `group` rule tells from the files which belong together.
"""

import re
from collections.abc import Sequence

import numpy as np

from signjax.data.image import natural_key
from signjax.errors import InputError

TURNS = "turns"


def find_groups(names: Sequence[str], labels: np.ndarray, rule: str) -> np.ndarray:
    """Group numbers, int32 [N], of the images that belong together.

    names: file paths below the class folder, with slashes. labels: int [N].
    rule: `turns` as in `by_turns`, or a regular expression as in `by_name`.
    """
    return by_turns(names, labels) if rule == TURNS else by_name(names, rule)


def by_turns(names: Sequence[str], labels: np.ndarray) -> np.ndarray:
    """Person numbers, int32 [N], where each showed the classes in turn.

    In natural order of the file names, a new person begins where a class comes that
    the last one has shown already (but at once again is a second try), and at each
    class 0, unless a single picture went before it: first pictures get swapped.
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
