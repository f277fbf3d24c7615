"""The Ankara images arrive complete and known to the byte, or not at all."""

import csv
import hashlib
import io
import sys
import zipfile
from pathlib import Path

import pytest

from signjax.data import ankara
from signjax.data.ankara import RemoteImages, ankara_digits, fetch_images
from signjax.errors import RunError

COMMIT = "4b09433ef9d5c60602e8805bb54b8aa2428527f8"

IMAGES = {f"{c}/IMG_{i}.JPG": f"{c} {i} ".encode() * 400 for c in "01" for i in "78"}
DIGESTS = {name: hashlib.sha256(data).hexdigest() for name, data in IMAGES.items()}


def packed(images: dict[str, bytes], folder: str = "Signs-1234/Dataset/") -> bytes:
    """A zip archive as the host packs it: everything in one folder, and more in it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Signs-1234/README.md", "read me")
        for name, data in images.items():
            archive.writestr(folder + name, data)
    return content.getvalue()


GOOD = packed(
    IMAGES
    | {
        "0/IMG_9.JPG": b"not in the table",
        "../../../escaped.JPG": b"outside",
        "/escaped.JPG": b"outside",
    }
)
CONTENTS = {
    "good": GOOD,
    "wrong": packed(IMAGES | {"1/IMG_8.JPG": b"other"}),
    "short": packed({k: v for k, v in IMAGES.items() if k != "1/IMG_7.JPG"}),
    "cut": GOOD[: len(GOOD) // 2],
    "page": b"<html>sign in</html>",
    # The first image's compressed bytes are damaged, the list of contents is not.
    "damaged": GOOD.replace(GOOD[200:210], b"\xff" * 10),
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stands for the network: the addresses asked for, whose names are of CONTENTS."""
    seen: list[str] = []

    def download(url: str, part: Path, *_: object) -> str | None:
        seen.append(url)
        part.write_bytes(CONTENTS[url])

    monkeypatch.setattr("signjax.data.download._download", download)
    return seen


def at(*names: str) -> RemoteImages:
    return RemoteImages("hands", names, DIGESTS)


def read(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_images_of_the_table_are_fetched_once(
    asked: list[str], tmp_path: Path
) -> None:
    cache = tmp_path / "a" / "b" / "cache"
    folder = fetch_images(at("good"), cache)
    assert folder == cache / "hands"
    assert read(tmp_path) == {f"a/b/cache/hands/{k}": v for k, v in IMAGES.items()}
    assert sorted(cache.iterdir()) == [folder]
    assert fetch_images(at("good"), cache) == folder
    assert asked == ["good"]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("wrong", "wrong checksum: 1/IMG_8.JPG is not the known image"),
        ("short", "1 images are not in it, such as 1/IMG_7.JPG"),
        ("cut", "the archive is incomplete or damaged"),
        ("damaged", "the archive is incomplete or damaged"),
        ("page", "not an archive: it is a saved web page"),
    ],
)
def test_what_is_not_all_the_images_is_refused(
    asked: list[str], tmp_path: Path, behaviour: str, reason: str
) -> None:
    with pytest.raises(RunError) as caught:
        fetch_images(at(behaviour), tmp_path)
    message = str(caught.value)
    assert f"{behaviour}: {reason}" in message and "\n" not in message
    assert "by hand" in message and "--config.data.dir=DIR" in message
    assert list(tmp_path.iterdir()) == []


def test_a_stop_while_unpacking_leaves_no_folder(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def stop(path: Path, data: bytes) -> int:
        if path.name == "IMG_8.JPG":
            raise KeyboardInterrupt
        assert not (tmp_path / "hands").exists()
        return write(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", stop)
        with pytest.raises(KeyboardInterrupt):
            fetch_images(at("good"), tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert read(fetch_images(at("good"), tmp_path)) == IMAGES


def test_two_runs_that_fetch_at_once_both_have_them(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one ends between this one's look into the cache and its publishing."""
    publish = ankara.publish
    published = []

    def after_the_other(path: Path, target: Path) -> None:
        assert read(path) == IMAGES
        published.append(target)
        for name, data in IMAGES.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(data)
        publish(path, target)

    monkeypatch.setattr(ankara, "publish", after_the_other)
    folder = fetch_images(at("good"), tmp_path)
    assert published == [folder]
    assert read(tmp_path) == {f"{folder.name}/{k}": v for k, v in IMAGES.items()}


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("0/IMG_7.JPG", None, "0/IMG_7.JPG is missing"),
        ("0/IMG_7.JPG", b"other", "0/IMG_7.JPG is not the published image"),
        ("0/mine.png", b"mine", "0/mine.png is not one of the published images"),
    ],
)
def test_a_changed_folder_in_the_cache_is_told_and_left(
    asked: list[str], tmp_path: Path, name: str, data: bytes | None, told: str
) -> None:
    folder = fetch_images(at("good"), tmp_path)
    if data is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(data)
    before = read(folder)
    with pytest.raises(RunError, match=f"hands: {told}; delete this folder"):
        fetch_images(at("good"), tmp_path)
    assert read(folder) == before
    assert asked == ["good"]


def test_the_published_address_and_table() -> None:
    images = ankara_digits()
    (address,) = images.mirrors
    assert address.startswith("https://") and address.endswith(f"/zip/{COMMIT}")
    assert len(images.digests) == 1032
    assert {name.split("/")[0] for name in images.digests} == set("0123456789")
    assert all(len(digest) == 64 for digest in images.digests.values())
    assert len(set(images.digests.values())) == 1032


def test_the_table_is_of_the_known_pictures(shared: Path) -> None:
    folder = shared / "datasets" / "ankara_digits"
    found = {
        f"{path.parent.name}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.glob("*/*.JPG")
    }
    assert found == ankara_digits().digests


def test_the_table_is_written_by_the_committed_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from experiments import ankara_signers

    for name, data in IMAGES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    table = tmp_path / "table.csv"
    monkeypatch.setattr(ankara_signers, "DIGESTS", table)
    monkeypatch.setattr(sys, "argv", ["ankara_signers", str(tmp_path), "--digests"])
    ankara_signers.main()
    with table.open() as file:
        rows = [(row["image"], row["sha256"]) for row in csv.DictReader(file)]
    assert rows == list(DIGESTS.items())
    monkeypatch.setattr(ankara, "DIGESTS", table)
    assert ankara_digits().digests == DIGESTS
