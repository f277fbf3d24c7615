"""Tables of a FlatBuffers file, in which nothing is believed before it is checked.

A table is at an offset and begins with the distance back to its vtable, which has the
place of each field in the table (flatbuffers.dev/internals). Every offset is checked
against the file's end, so a damaged or hostile file ends in a ValueError.
"""

import struct
from typing import NamedTuple

import numpy as np

_MOST_TEXT = 256  # bytes of a name


class Table(NamedTuple):
    """A table of `content` at the byte `place`; fields are counted from 0."""

    content: bytes
    place: int

    @classmethod
    def root(cls, content: bytes) -> "Table":
        return cls(content, _unpack("<I", content, 0))

    def number(self, field: int, form: str, default: int = 0) -> int:
        """A scalar of a struct format such as `<i`; left out, it is the default."""
        place = self._field(field)
        return default if place is None else _unpack(form, self.content, place)

    def table(self, field: int) -> "Table":
        """The table that a field leads to; ValueError where it has none."""
        place = self._field(field)
        if place is None:
            raise ValueError(f"field {field} of the table at {self.place} is missing")
        return Table(self.content, place + _unpack("<I", self.content, place))

    def tables(self, field: int, most: int) -> list["Table"]:
        """The tables of a vector of at most `most`."""
        first, count = self._vector(field, 4)
        if count > most:
            raise ValueError(f"{count:,} entries where at most {most:,} are expected")
        places = range(first, first + 4 * count, 4)
        return [
            Table(self.content, place + _unpack("<I", self.content, place))
            for place in places
        ]

    def array(self, field: int, dtype: str) -> np.ndarray:
        """A vector of numbers, little-endian as `<i4`; a view, not a copy."""
        first, count = self._vector(field, np.dtype(dtype).itemsize)
        return np.frombuffer(self.content, dtype, count, first)

    def text(self, field: int) -> str:
        """A string, cut to what a name needs; bytes that are no UTF-8 are replaced."""
        first, count = self._vector(field, 1)
        return self.content[first : first + min(count, _MOST_TEXT)].decode(
            "utf-8", "replace"
        )

    def _field(self, field: int) -> int | None:
        """Where the field is, or None where the table leaves it out."""
        vtable = self.place - _unpack("<i", self.content, self.place)
        size = _unpack("<H", self.content, vtable)
        entry = 4 + 2 * field
        if entry + 2 > size:
            return None
        offset = _unpack("<H", self.content, vtable + entry)
        return self.place + offset if offset else None

    def _vector(self, field: int, item_bytes: int) -> tuple[int, int]:
        """(where a vector begins, its length), all of it in the file; (0, 0): none."""
        place = self._field(field)
        if place is None:
            return 0, 0
        place += _unpack("<I", self.content, place)
        count = _unpack("<I", self.content, place)
        if place + 4 + count * item_bytes > len(self.content):
            raise ValueError(f"a vector of {count:,} entries leads out of the file")
        return place + 4, count


def _unpack(form: str, content: bytes, place: int) -> int:
    if not 0 <= place <= len(content) - struct.calcsize(form):
        raise ValueError(f"an offset leads to byte {place:,} of {len(content):,}")
    return struct.unpack_from(form, content, place)[0]
