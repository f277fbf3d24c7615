"""What every table of docs/results.md is made with."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Rows = Sequence[Mapping[str, Any]]


def table(header: str, lines: Iterable[Sequence[object]], note: str = "") -> str:
    """A Markdown table and a paragraph below it. header: columns, parted by |."""
    rows = [[cell.strip() for cell in header.split("|")], *lines]
    text = [f"| {' | '.join(map(str, row))} |" for row in rows]
    text.insert(1, f"|{'---|' * len(rows[0])}")
    return "\n".join(text) + (f"\n\n{note}\n" if note else "")


def measured_on(rows: Rows) -> str:
    """The processors of a table's rows, and the versions, the same for all of them."""
    first = rows[0]
    versions = first.get("versions") or first["pairs"][0]["signjax"]["versions"]
    processors = " or ".join(dict.fromkeys(row["processor"] for row in rows))
    counts = sorted({row["cores"] for row in rows})
    cores = f"{' or '.join(map(str, counts))} core{'s' * (counts != [1])}"
    return f"{processors}, {cores}, Python {versions['python']}, jax {versions['jax']}"
