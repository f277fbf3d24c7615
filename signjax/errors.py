"""The two ways a run ends early; main.py prints the one line and exits."""

from collections.abc import Iterable


class SignjaxError(Exception):
    """A failure with one line for the person: what, where, expected, what to do."""

    exit_status = 1


class InputError(SignjaxError):
    """What the person gave (flag, config key, file, image) is wrong."""

    exit_status = 2


class RunError(SignjaxError):
    """The run cannot go on: diverged loss, out of memory, interrupted."""


def listed(values: Iterable[object], limit: int = 10, separator: str = ", ") -> str:
    """The first `limit` values for one line, as `a, b and 3 more`; none: "nothing"."""
    texts = list(map(str, values))
    named = separator.join(texts[:limit]) or "nothing"
    more = len(texts) - limit
    return f"{named} and {more} more" if more > 0 else named
