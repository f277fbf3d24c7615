"""metrics.jsonl and JSON files: on disk whole or not at all."""

import errno
import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from signjax.errors import InputError, RunError
from signjax.runtime.files import (
    MetricsFile,
    cache_directory,
    new_folder,
    read_json,
    write_json,
    write_text,
)

RECORD = {"epoch": 3, "step": 99, "data": "signs", "train_loss": 1.2345}


def test_metrics_are_on_disk_line_by_line_as_strict_json(tmp_path):
    path = tmp_path / "metrics.jsonl"
    metrics = MetricsFile(path)
    assert metrics.read() == []
    metrics.append({"step": 1, "loss": math.nan, "more": [math.inf, 0.1]})
    metrics.append({"step": np.int32(2), "loss": np.float32(0.5)})

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    lines = path.read_text().splitlines()
    assert [json.loads(line, parse_constant=refuse) for line in lines] == [
        {"step": 1, "loss": None, "more": [None, 0.1]},
        {"step": 2, "loss": 0.5},
    ]
    assert metrics.read() == [json.loads(line) for line in lines]


def test_killed_and_resumed_metrics_equal_those_never_stopped(tmp_path):
    records = [dict(RECORD, epoch=e, step=33 * e, train_loss=1 / e) for e in (1, 2, 3)]
    whole = MetricsFile(tmp_path / "whole.jsonl")
    resumed = MetricsFile(tmp_path / "resumed.jsonl")
    for record in records:
        whole.append(record)
    resumed.truncate_after(0)
    assert not resumed.path.exists()
    # Killed before the newline of epoch 3; the last checkpoint is that of epoch 1.
    resumed.path.write_bytes(whole.path.read_bytes()[:-1])
    assert resumed.read() == records[:2]
    resumed.truncate_after(33)
    assert resumed.read() == records[:1]
    for record in records[1:]:
        resumed.append(record)
    assert resumed.path.read_bytes() == whole.path.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "resumed.jsonl",
        "whole.jsonl",
    ]


@pytest.mark.parametrize("damage", [b"{broken", b"\xff\xfe", b"[1]", b"{}", b""])
def test_damaged_line_is_named(tmp_path, damage):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + damage + b'\n{"step": 3}\n')
    with pytest.raises(InputError, match=r"metrics\.jsonl, line 2: expected a JSON"):
        MetricsFile(path).read()


def test_json_file_is_sorted_strict_and_read_back(tmp_path):
    path = tmp_path / "new" / "result.json"
    confusion = np.eye(2, dtype=np.int64)
    write_json(path, {"loss": math.nan, "confusion": confusion, "accuracy": 0.5})
    assert path.read_text() == (
        '{\n  "accuracy": 0.5,\n  "confusion": [\n    [\n      1,\n      0\n    ],\n'
        '    [\n      0,\n      1\n    ]\n  ],\n  "loss": null\n}\n'
    )
    assert read_json(path)["confusion"] == [[1, 0], [0, 1]]
    assert [p.name for p in path.parent.iterdir()] == ["result.json"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    write_json(path, {"old": 1})

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        write_json(path, {"new": 2})
    assert read_json(path) == {"old": 1}


@pytest.mark.parametrize("names", ["of its own", "shared"])
def test_many_write_into_a_new_folder_at_once(tmp_path, names):
    start = Barrier(16, timeout=30)

    def write(writer: int) -> None:
        for turn in range(20):
            file = "0" if names == "shared" else str(writer)
            start.wait()
            write_json(tmp_path / str(turn) / "new" / file, [writer] * 10_000)

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(write, range(16))) == [None] * 16
    for turn in range(20):
        found = list((tmp_path / str(turn) / "new").iterdir())
        assert len(found) == (1 if names == "shared" else 16)
        assert all(len(set(read_json(file))) == 1 for file in found)


def test_writing_keeps_links_and_pipes_what_they_are(tmp_path):
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    write_json(target, 1)
    link.symlink_to(target)
    write_json(link, 2)
    assert link.is_symlink() and read_json(target) == 2

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_json(pipe, [1])
    assert json.loads(os.read(reader, 100)) == [1] and pipe.is_fifo()
    os.close(reader)


def test_a_full_disk_is_one_line_and_no_fault_of_what_was_given(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    told = "cannot be written: No space left on device; free some space"
    with pytest.raises(RunError, match=rf"metrics\.jsonl: {told}"):
        MetricsFile(tmp_path / "metrics.jsonl").append(RECORD)
    with pytest.raises(RunError, match=rf"result\.json: {told}"):
        write_json(tmp_path / "result.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("none.json", "cannot be read: No such file"),
        (".", "cannot be read: Is a directory"),
        ("page.json", "page.json: expected a JSON file: .*line 1"),
        ("latin.json", "latin.json: expected a JSON file"),
    ],
)
def test_a_json_file_that_cannot_be_read_is_named(tmp_path, name, told):
    (tmp_path / "page.json").write_text("<html>")
    (tmp_path / "latin.json").write_bytes(b'"\xe9"')
    with pytest.raises(InputError, match=told):
        read_json(tmp_path / name)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "notes").write_text("mine")
    for path, told in ((tmp_path, "Is a"), (tmp_path / "notes" / "a.json", "Not a")):
        with pytest.raises(InputError, match=f"cannot be written: {told} directory"):
            write_json(path, {})


def test_a_file_name_that_is_no_text_is_written_as_an_escape(tmp_path):
    write_text(tmp_path / "page.html", "of caf\u00e9/\udcff.png")
    assert (tmp_path / "page.html").read_text() == "of caf\u00e9/\\udcff.png"


def test_the_cache_is_where_the_person_wants_it(monkeypatch):
    for name in ("SIGNJAX_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache_directory() == Path.home() / ".cache" / "signjax"
    monkeypatch.setenv("XDG_CACHE_HOME", os.path.join("some", "cache"))
    assert cache_directory() == Path("some/cache/signjax")
    monkeypatch.setenv("SIGNJAX_CACHE", "mine")
    assert cache_directory() == Path("mine")


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "folder"
    with pytest.raises(ZeroDivisionError), new_folder(path) as folder:
        (folder / "part").write_text("half")
        1 / 0  # noqa: B018
    assert list(path.parent.iterdir()) == []
    # What a kill has left is no obstacle, nor is an empty folder.
    path.with_name(".folder.unfinished").mkdir()
    (path.with_name(".folder.unfinished") / "old").write_text("")
    path.mkdir()
    with new_folder(path) as folder:
        (folder / "part").write_text("whole")
        assert list(path.iterdir()) == []
    assert [x.name for x in path.parent.iterdir()] == ["folder"]
    assert [x.name for x in path.iterdir()] == ["part"]
    assert (path / "part").read_text() == "whole"


def test_a_folder_is_not_written_over(tmp_path):
    (tmp_path / "file").write_text("mine")
    cases = ((tmp_path, "a folder with files"), (tmp_path / "file", "a file"))
    for path, what in cases:
        with pytest.raises(InputError, match=what), new_folder(path):
            raise AssertionError("the block has run")
    assert (tmp_path / "file").read_text() == "mine"
