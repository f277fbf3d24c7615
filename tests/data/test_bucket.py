"""Data in a bucket are those of the folder that was copied there."""

from pathlib import Path
from typing import Any

import pytest

from configs import cnn
from signjax.data.bucket import copied_here
from signjax.data.image import WHOLE_SQUARE
from signjax.data.load import load_splits
from signjax.data.parts import load_labelled, open_parts
from signjax.errors import InputError
from signjax.runtime.bucket import BucketPath, upload
from tests.helpers.datasets import write_signs_pair


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIGNJAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("stream", [False, True])
def test_a_run_reads_the_same_images(
    bucket: BucketPath, image_folder: Path, stream: bool
) -> None:
    upload(image_folder, bucket)
    found = []
    for place in image_folder, bucket:
        config: Any = cnn.get_config("")
        config.data.update(source="folder", dir=str(place), stream=stream)
        found.append(load_splits(config, pytest.fail).fingerprint())
    assert found[0] == found[1]


def test_what_has_changed_is_sent_again_and_what_is_gone_goes(
    bucket: BucketPath, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(image_folder / "test", bucket)
    copy = copied_here(str(bucket))
    sent: list[str] = []
    read = BucketPath.read

    def note(path: BucketPath, **words: Any) -> Any:
        found = read(path, **words)
        if found.state == "value":
            sent.append(str(path.relative_to(bucket)))
        return found

    monkeypatch.setattr(BucketPath, "read", note)
    assert copied_here(str(bucket)) == copy and sent == []
    (bucket / "a" / "0.png").write_bytes((image_folder / "test/b/1.png").read_bytes())
    (bucket / "b" / "0.png").unlink()
    (copy / "c" / "0.png").unlink()
    copied_here(str(bucket))
    assert sorted(sent) == ["a/0.png", "c/0.png"]
    files = {str(f.relative_to(bucket)): f.read_bytes() for f in bucket.files()}
    copies = [f for f in copy.rglob("*") if f.is_file()]
    assert {str(f.relative_to(copy)): f.read_bytes() for f in copies} == files


def test_one_file_serves_as_data(bucket: BucketPath, tmp_path: Path) -> None:
    upload(write_signs_pair(tmp_path / "signs"), bucket)
    test, _ = load_labelled(str(bucket / "test_signs.h5"), 64, WHOLE_SQUARE)
    both, _ = open_parts(str(bucket))
    assert both["test"].images.tobytes() == test.images.tobytes()
    assert both.keys() == {"train", "test"}


def test_where_nothing_is_a_line_says_so(bucket: BucketPath) -> None:
    with pytest.raises(InputError, match=f"{bucket}: nothing there; expected an h5"):
        copied_here(str(bucket))
