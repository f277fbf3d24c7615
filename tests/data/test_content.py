"""First bytes tell what a file is."""

import io

import numpy as np
import pytest

from signjax.data.content import HEAD_BYTES, describe_content


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, images=np.zeros((9, 8, 8, 3), np.uint8), labels=np.arange(9))
    return file.getvalue()[:HEAD_BYTES]


CASES = [
    (b"", "an empty file"),
    (b"<html><body>", "a saved web page"),
    (b"\xef\xbb\xbf  <!DocType HTML>", "a saved web page"),
    (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    (b"PK\x03\x04\x14", "a zip archive"),
    (npz(), "an .npz archive"),
    (b"\x1f\x8b\x08", "a gzip archive"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff\xe0", "a JPEG image"),
    (b"%PDF-1.7", "a PDF document"),
    (b"\x93NUMPY\x01\0", "an array without labels"),
    (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC photo"),
    (b"\0\0\0\nftypmif1", "a HEIC photo"),
    (b"P6 version https://git-lfs", "of unknown content"),
]


@pytest.mark.parametrize(("head", "phrase"), CASES)
def test_content_is_named(head, phrase):
    assert describe_content(head).startswith(phrase)
