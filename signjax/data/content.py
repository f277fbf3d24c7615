"""What a file really is when it is not what it should be, told by its first bytes."""

import re

HEAD_BYTES = 512

_HEIC = rb"....ftyp(heic|heix|hevc|heim|heis|mif1|msf1)"

_SIGNATURES = (
    (
        rb"\s*(\xef\xbb\xbf)?\s*<(!doctype\s+html|html|head)",
        "a saved web page (HTML), not the file it links to; "
        "download it again by the page's 'raw' or 'download' link",
    ),
    (
        rb"version https://git-lfs\.github\.com/spec/",
        "a Git LFS pointer, not the file it stands for; "
        "run `git lfs pull` in that clone or download the file itself",
    ),
    (
        rb"PK\x03\x04.{26}[^/]{1,100}\.npy",
        "an .npz archive; save its arrays as X.npy and Y.npy in a folder instead",
    ),
    (rb"PK\x03\x04", "a zip archive; unpack it first"),
    (rb"\x1f\x8b", "a gzip archive; unpack it first"),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (rb"\x89PNG\r\n\x1a\n", "a PNG image"),
    (rb"\xff\xd8\xff", "a JPEG image"),
    (rb"\x93NUMPY", "an array without labels; X.npy is to lie beside Y.npy"),
    (rb"%PDF-", "a PDF document"),
    (
        _HEIC,
        "a HEIC photo, for which `pip install pillow-heif` is needed; or export it as "
        "JPEG",
    ),
)


def is_heic(head: bytes) -> bool:
    """Whether a file's first bytes are a HEIC photo's."""
    return re.match(_HEIC, head, re.DOTALL) is not None


def describe_content(head: bytes) -> str:
    """Name a file's real content from its first `HEAD_BYTES` bytes, as a noun phrase.

    The phrase ends with what to do about it where that is known.
    """
    if not head:
        return "an empty file; get it again"
    for signature, phrase in _SIGNATURES:
        if re.match(signature, head, re.IGNORECASE | re.DOTALL):
            return phrase
    return f"of unknown content (it begins with {head[:8]!r})"
