"""The two ways a run ends early; main.py prints the one line and exits."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager


class SignjaxError(Exception):
    """A failure with one line for the person: what, where, expected, what to do."""

    exit_status = 1


class InputError(SignjaxError):
    """What the person gave (flag, config key, file, image) is wrong."""

    exit_status = 2


class RunError(SignjaxError):
    """The run cannot go on: diverged loss, out of memory, interrupted."""


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turns running out of memory into a RunError that says what to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # of numpy; of XLA, by its text
        text = str(error)
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in text:
            raise
        raise RunError(
            f"out of memory ({text.partition(chr(10))[0]}): lower "
            "config.data.image_size, config.train.batch_size or the number of images"
        ) from error


def listed(values: Iterable[object], limit: int = 10, separator: str = ", ") -> str:
    """The first `limit` values for one line, as `a, b and 3 more`; none: "nothing"."""
    texts = list(map(str, values))
    named = separator.join(texts[:limit]) or "nothing"
    more = len(texts) - limit
    return f"{named} and {more} more" if more > 0 else named


def printable(text: object) -> str:
    """`text` with what a terminal would obey, as a file's name may hold, escaped."""
    return "".join(
        x if x.isprintable() else x.encode("unicode_escape").decode() for x in str(text)
    )


def one_line(text: object, limit: int = 300) -> str:
    """`text` for a terminal: printable, on one line, of at most `limit` characters."""
    printable = "".join(x if x.isprintable() else " " for x in str(text))
    line = " ".join(printable.split())
    return line if len(line) <= limit else f"{line[: limit - 4].rstrip()} ..."


def leaf_differences(
    found: Mapping[str, object],
    wanted: Mapping[str, object],
    *,
    mismatched: str = "of another shape",
    limit: int = 3,
) -> str:
    """What differs between two trees, as one line; empty where nothing does.

    found, wanted: leaf path -> its shape, or whatever else has to agree. All missing,
    unexpected and `mismatched` leaves are counted, the first `limit` of each named.
    """
    kinds = {
        "missing": [f"{k} {v}" for k, v in wanted.items() if k not in found],
        "unexpected": [f"{k} {v}" for k, v in found.items() if k not in wanted],
        mismatched: [
            f"{key} {found[key]} instead of {value}"
            for key, value in wanted.items()
            if key in found and found[key] != value
        ],
    }
    return "; ".join(
        f"{len(leaves)} {kind}: {listed(leaves, limit)}"
        for kind, leaves in kinds.items()
        if leaves
    )
