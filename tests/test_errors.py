"""Lines for a person: what differs, and nothing that a terminal would obey."""

import pytest

from signjax.errors import leaf_differences, one_line, printable


def test_leaves_are_counted_and_the_first_of_each_kind_named() -> None:
    wanted = {"a": (1,), "b": (2,), "c": (3,), **{f"m{i}": (0,) for i in range(5)}}
    found = {"a": (1,), "b": (9,), "x": (4,)}
    assert leaf_differences(wanted, wanted) == ""
    assert leaf_differences(found, wanted, limit=2) == (
        "6 missing: c (3,), m0 (0,) and 4 more; 1 unexpected: x (4,); "
        "1 of another shape: b (9,) instead of (2,)"
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\nb\tc", "a b c"),
        ("\x1b[31mred\u202e", "[31mred"),
        ("x" * 21, "x" * 16 + " ..."),
        (KeyError("k"), "'k'"),
    ],
)
def test_a_line_is_printable_and_short(text: object, line: str) -> None:
    assert one_line(text, 20) == line


def test_what_a_terminal_would_obey_is_escaped() -> None:
    text = "caf\u00e9  a\nb\x1b[2J\udcff"
    assert printable(text) == "caf\u00e9  a\\nb\\x1b[2J\\udcff"
