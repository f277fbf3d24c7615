"""Console lines on a terminal and off it, metrics.jsonl and JSON files, TensorBoard."""

import errno
import json
import math
import os
import pty
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from signjax.errors import InputError, RunError
from signjax.runtime import console as logs
from signjax.runtime.console import Console, epoch_line
from signjax.runtime.files import MetricsFile, read_json, write_json
from signjax.runtime.tensorboard import TensorBoard

ROOT = Path(__file__).parents[1]

RECORD = {
    "epoch": 3,
    "step": 99,
    "data": "signs",
    "train_loss": 1.2345,
    "train_accuracy": 0.612,
    "test_loss": 1.1,
    "test_accuracy": 0.65,
    "learning_rate": 0.01,
    "seconds": 4.5,
    "images_per_second": 31.2,
}
EPOCH_LINE = (
    "epoch  3/30  signs  step    99  train loss 1.2345 accuracy 0.612"
    "  test loss 1.1000 accuracy 0.650  lr 1.0e-02  31.2 images/s"
)

# A short run as the training loop drives the console, resumed at step 90.
RUN = f"""
import sys
from signjax.runtime.console import Console
console = Console()
console.header({{"device": "cpu", "model": "résnet"}})
console.warning("only synthetic [hands] \u65e5")
with console.progress(120, 90) as progress:
    progress.update(99, loss=1.2345, accuracy=0.612, images_per_second=31.2)
    console.epoch({RECORD!r}, epochs=30)
    console.warning("careful now")
    progress.update(120, loss=0.5, accuracy=0.75, images_per_second=31.2)
console.info("rich imported" if "rich" in sys.modules else "no rich")
"""


def _environment(**changes: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"} | changes


def _run_on_terminal(code: str = RUN, **environment: str) -> str:
    """What a run shows on a terminal of 160 columns."""
    ours, theirs = pty.openpty()
    size = {"TERM": "xterm-256color", "COLUMNS": "160", "LINES": "40"}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=_environment(**(size | environment)),
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:  # how Linux ends the reading side of a closed terminal
        pass
    os.close(ours)
    assert process.wait() == 0, shown.decode()
    return shown.decode()


def _run_piped(**environment: str) -> tuple[list[str], list[str]]:
    process = subprocess.run(
        [sys.executable, "-c", RUN],
        capture_output=True,
        env=_environment(**environment),
    )
    out, err = process.stdout.decode(), process.stderr.decode()
    assert process.returncode == 0, err
    return out.splitlines(), err.splitlines()


def test_piped_output_is_plain_lines_without_rich():
    out, err = _run_piped()
    assert out == ["device: cpu", "model:  résnet", EPOCH_LINE, "no rich"]
    assert err == ["WARNING: only synthetic [hands] \u65e5", "WARNING: careful now"]


def test_only_what_takes_long_is_announced_and_before_it_ends(capsys, monkeypatch):
    console = Console()
    with console.if_slow("compiling"):
        pass
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(logs, "SLOW", 0.0)
    with console.if_slow("compiling"):
        while not (out := capsys.readouterr().out):
            time.sleep(0.001)
    assert out == "compiling\n"


def test_terminal_shows_bar_numbers_eta_and_boxed_warnings():
    shown = _run_on_terminal()
    plain = _without_escapes(shown)
    assert "90/120" in plain and "compiling" in plain  # before the first step is done
    assert "120/120" in plain and "loss 0.5000  accuracy 0.750  31.2 images/s" in plain
    assert "ETA" in plain
    assert EPOCH_LINE in plain
    assert "─ WARNING ─" in plain and "only synthetic [hands] \u65e5" in plain
    assert "careful now" in plain
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is back
    assert plain.rstrip().endswith("rich imported")


def _without_escapes(shown: str) -> str:
    from rich.text import Text

    return Text.from_ansi(shown.replace("\r", "\n")).plain


def test_dumb_terminal_gets_plain_lines():
    shown = _run_on_terminal(TERM="dumb")
    assert "\x1b" not in shown and "120/120" not in shown
    assert EPOCH_LINE in shown and "WARNING: careful now" in shown


def test_ascii_only_output_is_escaped_not_a_crash():
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    out, err = _run_piped(**ascii_only)
    assert out[1] == r"model:  r\xe9snet"
    assert err[0] == r"WARNING: only synthetic [hands] \u65e5"
    # Narrow, so that rich cuts columns with an ellipsis, which ASCII has not.
    shown = _run_on_terminal(**ascii_only, COLUMNS="60")
    assert r"r\xe9snet" in shown and "WARNING" in shown


def test_an_error_under_the_bar_leaves_a_usable_terminal():
    code = """
from signjax.runtime.console import Console
console = Console()
try:
    with console.progress(10):
        raise ZeroDivisionError
except ZeroDivisionError:
    console.info("lines as before")
"""
    shown = _run_on_terminal(code)
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is back
    assert shown.endswith("lines as before\r\n")


def test_epoch_line_names_the_split_that_was_measured():
    record = {k: v for k, v in RECORD.items() if not k.startswith("test")}
    held_out = {"validation_loss": math.nan, "validation_accuracy": 0.25}
    line = epoch_line(record | held_out | {"data": "synthetic"}, epochs=5)
    assert "validation loss nan accuracy 0.250" in line
    assert line.startswith("epoch 3/5  synthetic  step") and "test" not in line


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
    # Killed while writing epoch 3; the last checkpoint is that of epoch 1.
    resumed.path.write_bytes(whole.path.read_bytes()[:-30])
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


def test_resuming_at_the_last_step_drops_only_the_half_written_line(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.truncate_after(0)
    assert not metrics.path.exists()
    metrics.append({"step": 33})
    with metrics.path.open("a") as file:
        file.write('{"step": 66}')  # all but its newline: not finished
    metrics.truncate_after(66)
    metrics.append({"step": 66, "again": True})
    assert metrics.read() == [{"step": 33}, {"step": 66, "again": True}]


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


def test_json_files_that_cannot_be_used_are_named(tmp_path):
    (tmp_path / "page.json").write_text("<html>")
    (tmp_path / "latin.json").write_bytes(b'"\xe9"')
    with pytest.raises(InputError, match="none.json: cannot be read: No such file"):
        read_json(tmp_path / "none.json")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_json(tmp_path)
    with pytest.raises(InputError, match=r"page.json: expected a JSON file: .*line 1"):
        read_json(tmp_path / "page.json")
    with pytest.raises(InputError, match="latin.json: expected a JSON file"):
        read_json(tmp_path / "latin.json")
    with pytest.raises(InputError, match="cannot be written: Is a directory"):
        write_json(tmp_path, {})
    with pytest.raises(InputError, match="cannot be written: Not a directory"):
        write_json(tmp_path / "page.json" / "result.json", {})


def test_tensorboard_shows_each_step_once_after_a_resume(tmp_path):
    pytest.importorskip("tensorboardX")
    killed = TensorBoard(tmp_path)
    for step in (33, 66, 99):
        killed.write(step, RECORD | {"step": step, "train_loss": 1.0, "lost": None})
    killed.close()
    resumed = TensorBoard(tmp_path, first_step=66)
    for step in (99, 132):
        resumed.write(step, {"train_loss": 2.0})
    resumed.close()
    points = _points_shown(tmp_path)
    assert points["train_loss"] == {33: 1.0, 66: 1.0, 99: 2.0, 132: 2.0}
    assert points["test_accuracy"].keys() == {33, 66}
    assert not points.keys() & {"data", "lost", "step"}


def _points_shown(directory: Path) -> dict[str, dict[int, float]]:
    """Points by TensorBoard's rule: a START at a step drops that step and later ones.

    Event files are TFRecords: length uint64, its crc, the bytes, their crc; little
    endian (tensorflow/core/lib/io/record_writer.h).
    """
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    shown: dict[str, dict[int, float]] = {}
    for path in sorted(directory.iterdir()):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            event = Event.FromString(content[at + 12 : at + 12 + length])
            at += 12 + length + 4
            if event.session_log.status == SessionLog.START:
                for points in shown.values():
                    for step in [step for step in points if step >= event.step]:
                        del points[step]
            for value in event.summary.value:
                points = shown.setdefault(value.tag, {})
                assert event.step not in points, "a step is drawn twice"
                points[event.step] = value.simple_value
    return shown


def test_tensorboard_not_installed_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(InputError, match=r'pip install "signjax\[tensorboard\]"'):
        TensorBoard(tmp_path)


def test_a_file_name_that_is_no_text_is_written_as_an_escape(tmp_path):
    logs.write_text(tmp_path / "page.html", "of caf\u00e9/\udcff.png")
    assert (tmp_path / "page.html").read_text() == "of caf\u00e9/\\udcff.png"
