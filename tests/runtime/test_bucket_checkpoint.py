"""Checkpoints in a bucket: the promises of those on disk, without a rename."""

from pathlib import Path
from typing import Any

import pytest

from signjax.errors import RunError
from signjax.runtime import files
from signjax.runtime.bucket import BucketPath
from tests.helpers.checkpoints import (
    abstract,
    assert_same,
    make_state,
    names,
    opened,
    restored_steps,
    save_all,
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIGNJAX_CACHE", str(tmp_path))
    return tmp_path


def test_no_copy_is_left_on_disk_and_a_step_saved_again_has_a_name_of_its_own(
    bucket: BucketPath, cache: Path
) -> None:
    for accuracy in 0.5, 0.9:
        save_all(bucket, {2: accuracy})
    assert restored_steps(bucket) == (2, 2)
    assert names(bucket) == ["00000002.1"]
    assert not [file for file in cache.rglob("*") if file.is_file()]


@pytest.mark.parametrize("cut_short", ["upload", "remove"])
def test_what_is_there_in_part_is_no_checkpoint_and_goes_with_the_next_save(
    bucket: BucketPath, monkeypatch: pytest.MonkeyPatch, cut_short: str
) -> None:
    save_all(bucket, {1: None, 2: None})
    unlink, write_bytes, calls = BucketPath.unlink, BucketPath.write_bytes, []

    def stop_after_some(call: Any, *arguments: Any) -> Any:
        calls.append(call)
        if len(calls) > 3:
            raise RunError("stopped here")
        return call(*arguments)

    with opened(bucket) as checkpoints:
        with monkeypatch.context() as patch:
            method = {"upload": "write_bytes", "remove": "unlink"}[cut_short]
            call = {"upload": write_bytes, "remove": unlink}[cut_short]
            patch.setattr(
                BucketPath, method, lambda *given: stop_after_some(call, *given)
            )
            checkpoints.save(3, make_state(3))
            with pytest.raises(RunError, match="stopped here"):
                checkpoints.wait()
        in_part = {"upload": "00000003", "remove": "00000001"}[cut_short]
        assert in_part in names(bucket)
        newest = {"upload": 2, "remove": 3}[cut_short]
        assert checkpoints.steps() == [newest, newest - 1]
        checkpoints.save(4, make_state(4))
    assert names(bucket) == [f"{newest:08d}", "00000004"]
    assert restored_steps(bucket) == (4, 4)


def test_one_that_is_removed_while_it_is_read_gives_way_to_the_newest(
    bucket: BucketPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a process that trains there."""
    save_all(bucket, {1: None, 2: None})
    read = files.bucket.download

    def train_on(*arguments: Any) -> Any:
        monkeypatch.setattr(files.bucket, "download", read)
        save_all(bucket, {3: None, 4: None})
        return read(*arguments)

    monkeypatch.setattr(files.bucket, "download", train_on)
    with opened(bucket) as checkpoints:
        assert_same(checkpoints.restore(abstract(make_state(0))), make_state(4))
