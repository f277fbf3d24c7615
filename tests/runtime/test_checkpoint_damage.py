"""Damaged checkpoints and saves cut short: an intact one is always left, and found."""

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from signjax.errors import InputError, RunError
from signjax.runtime import checkpoint
from signjax.runtime.bucket import BucketPath, download, upload
from tests.helpers.checkpoints import (
    abstract,
    assert_same,
    files_of,
    make_state,
    names,
    opened,
    restored_steps,
    save_all,
)
from tests.promises.damage import HARMS, damage


def change_a_digit(manifest: Path) -> None:
    """Leaves one that reads well, of another network."""
    text = manifest.read_text()
    assert "float32[8,6]" in text
    manifest.write_bytes(text.replace("float32[8,6]", "float32[8,7]").encode())


def leave_another_value(manifest: Path) -> None:
    manifest.write_bytes(b"[1]")


CASES = [
    *(
        (partial(damage, harm=harm), file)
        for harm in HARMS
        for file in ("data", "manifest")
    ),
    (change_a_digit, "manifest"),
    (leave_another_value, "manifest"),
]


@pytest.fixture(scope="module")
def two_saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved")
    save_all(path, {1: 0.5, 2: 0.9})
    return path


@pytest.fixture(scope="module")
def two_saved_in_a_bucket(
    bucket_address: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The files of such a place, as `upload` takes them."""
    path, place = tmp_path_factory.mktemp("saved"), BucketPath(bucket_address) / "two"
    save_all(place, {1: 0.5, 2: 0.9})
    download(place, path)
    return path


@pytest.mark.parametrize(("harm", "which"), CASES)
def test_a_damaged_newest_is_named_passed_over_and_replaced(
    place: Path,
    harm: Callable[[Path], None],
    which: str,
    request: pytest.FixtureRequest,
) -> None:
    if isinstance(place, BucketPath):
        upload(request.getfixturevalue("two_saved_in_a_bucket"), place)
    else:
        shutil.copytree(request.getfixturevalue("two_saved"), place, dirs_exist_ok=True)
    harm(files_of(place, 2)[which])
    warnings: list[str] = []
    with opened(place, warnings.append) as checkpoints:
        assert_same(checkpoints.restore(abstract(make_state(0))), make_state(1))
        [warning] = warnings
        assert f"{place}/checkpoints/00000002 is " in warning
        assert "passed over" in warning and "\n" not in warning
        checkpoints.save(2, make_state(2), {"accuracy": 0.9})
    assert restored_steps(place) == (2, 2)
    assert len(names(place)) == 2


def test_a_damaged_one_is_not_kept_in_place_of_an_intact_one(tmp_path: Path) -> None:
    save_all(tmp_path, {1: None, 2: None})
    damage(files_of(tmp_path, 2)["data"], "truncated")
    with opened(tmp_path, lambda _: None) as checkpoints:
        checkpoints.restore(abstract(make_state(0)))
        checkpoints.save(3, make_state(3))
        checkpoints.wait()
        assert checkpoints.steps() == [3, 1]


def test_a_damaged_best_gives_way_to_the_next_best(tmp_path: Path) -> None:
    save_all(tmp_path, {1: 0.9, 2: 0.8, 3: 0.1})
    damage(files_of(tmp_path, 1)["data"], "truncated")
    warnings: list[str] = []
    with opened(tmp_path, warnings.append) as checkpoints:
        restored = checkpoints.restore(abstract(make_state(0)), best=True)
    assert_same(restored, make_state(2))
    assert len(warnings) == 1


def test_all_damaged_is_an_error_and_leaves_them_in_place(tmp_path: Path) -> None:
    save_all(tmp_path, {1: None, 2: None})
    for step in 1, 2:
        damage(files_of(tmp_path, step)["data"], "truncated")
    with opened(tmp_path, lambda _: None) as checkpoints:
        with pytest.raises(InputError, match="damaged .00000002, 00000001."):
            checkpoints.restore(abstract(make_state(0)))
        assert checkpoints.steps() == [2, 1]


@pytest.mark.parametrize("moment", ["_crc_of_file", "_orbax"])
def test_one_that_is_removed_while_it_is_read_gives_way_to_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """As by a process that trains there."""
    save_all(tmp_path, {1: None, 2: None})
    read = getattr(checkpoint, moment)

    def train_on(*arguments: Any) -> Any:
        monkeypatch.undo()
        save_all(tmp_path, {3: None, 4: None})
        return read(*arguments)

    with opened(tmp_path) as checkpoints:
        monkeypatch.setattr(checkpoint, moment, train_on)
        assert_same(checkpoints.restore(abstract(make_state(0))), make_state(4))


def test_a_removal_cut_short_leaves_no_checkpoint_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove_one_file(path: Path) -> None:
        next(path.rglob("d/*")).unlink()
        raise OSError("stopped here")

    save_all(tmp_path, {1: None, 2: None})
    with opened(tmp_path) as checkpoints:
        with monkeypatch.context() as patch:
            patch.setattr("shutil.rmtree", remove_one_file)
            checkpoints.save(3, make_state(3))
            with pytest.raises(RunError, match="stopped here"):
                checkpoints.wait()
        assert checkpoints.steps() == [3, 2]
        checkpoints.save(4, make_state(4))
    assert names(tmp_path) == ["00000003", "00000004"]


def test_a_save_cut_short_is_no_checkpoint(tmp_path: Path) -> None:
    save_all(tmp_path, {1: None})
    leftover = tmp_path / "checkpoints/00000009.tmp/state.orbax-checkpoint-tmp"
    leftover.mkdir(parents=True)
    with opened(tmp_path) as checkpoints:
        assert checkpoints.steps() == [1]
        assert leftover.exists(), "reading removes nothing: another may be writing"
        checkpoints.save(2, make_state(2))
        checkpoints.wait()
        assert not leftover.parent.exists()
    assert restored_steps(tmp_path) == (2, 2)


def test_all_is_on_disk_before_it_has_its_name_and_before_others_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a power cut only the order of calls can be seen: flush, rename, flush, go."""
    directory = tmp_path / "checkpoints"
    save_all(tmp_path, {1: None, 2: None})
    events: list[tuple[str, int]] = []

    def note(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(path: Any, *arguments: Any) -> Any:
            events.append((name, os.stat(path).st_ino))
            return call(path, *arguments)

        return noted

    monkeypatch.setattr(os, "fsync", note("flush", os.fsync))
    monkeypatch.setattr(Path, "replace", note("rename", Path.replace))
    monkeypatch.setattr("shutil.rmtree", note("remove", shutil.rmtree))
    save_all(tmp_path, {3: None})
    newest = directory / "00000003"
    kinds = [kind for kind, _ in events]
    named = events.index(("rename", newest.stat().st_ino))
    before = {inode for kind, inode in events[:named] if kind == "flush"}
    assert {path.stat().st_ino for path in [newest, *newest.rglob("*")]} <= before
    after = events[named + 1 : kinds.index("remove")]
    for above in directory, tmp_path:
        assert ("flush", above.stat().st_ino) in after
