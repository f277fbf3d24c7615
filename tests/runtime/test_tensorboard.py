"""TensorBoard's event files, read as TensorBoard reads them."""

import struct
import sys
from pathlib import Path

import pytest

from signjax.errors import InputError
from signjax.runtime.tensorboard import TensorBoard

RECORD = {"epoch": 3, "data": "signs", "train_accuracy": 0.6, "test_accuracy": 0.65}


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
