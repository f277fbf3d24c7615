"""The Ankara images arrive complete and known to the byte, or not at all."""

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from signjax.data import ankara
from signjax.data.ankara import fetch_ankara, read_digests
from signjax.errors import RunError
from tests.helpers.refusals import refused

IMAGES = {f"{c}/IMG_{i}.JPG": f"{c} {i} ".encode() * 400 for c in "01" for i in "78"}
DIGESTS = {name: hashlib.sha256(data).hexdigest() for name, data in IMAGES.items()}


def packed(images: dict[str, bytes]) -> bytes:
    """A zip archive as the host packs it: everything in one folder, and more in it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Signs-1234/README.md", "read me")
        for name, data in images.items():
            archive.writestr(f"Signs-1234/Dataset/{name}", data)
    return content.getvalue()


OTHERS = {"0/IMG_9.JPG": b"not in the table", "../../../escaped.JPG": b"outside"}
GOOD = packed(IMAGES | OTHERS)


class Host:
    """Stands for the network: it serves `content`, and counts how often."""

    content, asked = GOOD, 0

    def download(self, url: str, part: Path, *_: object) -> None:
        assert url == ankara.ARCHIVE
        self.asked += 1
        part.write_bytes(self.content)


@pytest.fixture
def host(monkeypatch):
    host = Host()
    monkeypatch.setattr("signjax.data.download._download", host.download)
    monkeypatch.setattr(ankara, "read_digests", lambda: DIGESTS)
    return host


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_the_images_of_the_table_are_fetched_once(host, tmp_path):
    cache = tmp_path / "a" / "b" / "cache"
    for _ in range(2):
        assert fetch_ankara(cache) == cache / "ankara_digits"
    assert files(cache) == {f"ankara_digits/{k}": v for k, v in IMAGES.items()}
    assert files(tmp_path).keys() == {f"a/b/cache/{name}" for name in files(cache)}
    assert host.asked == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (packed(IMAGES | {"1/IMG_8.JPG": b"other"}), "1/IMG_8.JPG is not the publ"),
        (packed(dict(list(IMAGES.items())[:3])), "1/IMG_8.JPG is missing"),
        (packed(IMAGES | {"0/IMG_7.JPG": bytes(10**8)}), "0/IMG_7.JPG is not the"),
        (GOOD[: len(GOOD) // 2], "the archive is incomplete or damaged"),
        (GOOD.replace(GOOD[200:210], b"\xff" * 10), "the archive is incomplete or dam"),
        (b"<html>sign in</html>", "not an archive: it is a saved web page"),
    ],
)
def test_what_is_not_all_the_images_is_refused(host, tmp_path, content, reason):
    host.content = content
    with refused(f"{reason}.*by hand.*--config.data.dir=DIR", RunError):
        fetch_ankara(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_stop_while_unpacking_leaves_no_folder(host, tmp_path, monkeypatch):
    write = Path.write_bytes

    def stop(path: Path, data: bytes) -> int:
        if path.name == "IMG_8.JPG":
            raise KeyboardInterrupt
        assert not (tmp_path / ankara.NAME).exists()
        return write(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", stop)
        with pytest.raises(KeyboardInterrupt):
            fetch_ankara(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert files(fetch_ankara(tmp_path)) == IMAGES


def test_two_runs_that_fetch_at_once_both_have_them(host, tmp_path, monkeypatch):
    publish = ankara.publish

    def after_the_other(path: Path, target: Path) -> None:
        monkeypatch.setattr(ankara, "publish", publish)
        assert fetch_ankara(tmp_path) == target
        publish(path, target)

    monkeypatch.setattr(ankara, "publish", after_the_other)
    assert files(fetch_ankara(tmp_path)) == IMAGES
    assert host.asked == 2 and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("0/IMG_7.JPG", None, "0/IMG_7.JPG is missing"),
        ("0/IMG_7.JPG", b"other", "0/IMG_7.JPG is not the published image"),
        ("0/mine.png", b"mine", "0/mine.png is not the published image"),
    ],
)
def test_a_changed_folder_in_the_cache_is_told_and_left(
    host, tmp_path, name, data, told
):
    path = fetch_ankara(tmp_path) / name
    path.unlink() if data is None else path.write_bytes(data)
    before = files(tmp_path)
    with refused(f"ankara_digits: {told}; delete this folder", RunError):
        fetch_ankara(tmp_path)
    assert files(tmp_path) == before and host.asked == 1


def test_the_published_address_and_table():
    assert ankara.ARCHIVE.startswith("https://")
    digests = read_digests()
    assert len(digests) == len(set(digests.values())) == 1032
    assert {name.split("/")[0] for name in digests} == set("0123456789")


def test_the_table_is_of_the_known_pictures(shared):
    folder = shared / "datasets" / "ankara_digits"
    found = {
        f"{path.parent.name}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.glob("*/*.JPG")
    }
    assert found == read_digests()
