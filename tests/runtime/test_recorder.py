"""Records on disk, and TensorBoard's event files read as TensorBoard reads them."""

import struct
import sys
from pathlib import Path

import pytest

from signjax.errors import InputError
from signjax.runtime.console import Console
from signjax.runtime.recorder import Recorder

RECORD = {"epoch": 3, "learning_rate": 0.1, "images_per_second": 1, "lost": None}


def recorder(workdir: Path) -> Recorder:
    return Recorder(workdir, "signs", Console(quiet=True), tensorboard=True)


def test_tensorboard_shows_each_step_once_after_a_resume(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    with recorder(tmp_path) as killed:
        killed.resume_after(0, 0)
        for step in (33, 66, 99):
            killed.add(RECORD | {"step": step, "momentum": 1.0}, epochs=3)
    with recorder(tmp_path) as resumed:
        resumed.resume_after(66, 0)
        for step in (99, 132):
            resumed.add(RECORD | {"step": step, "momentum": 2.0}, epochs=4)
        assert [record["step"] for record in resumed.read()] == [33, 66, 99, 132]
    points = _points_shown(tmp_path / "tensorboard")
    assert points["momentum"] == {33: 1.0, 66: 1.0, 99: 2.0, 132: 2.0}
    assert points["learning_rate"].keys() == {33, 66, 99, 132}
    assert not points.keys() & {"data", "lost", "step"}


@pytest.mark.parametrize(
    ("content", "lost"),
    [
        ("", "epochs 1, 2, 3 are lost"),
        ('{"epoch": 1, "step": 4}\n{"epoch": 2, "st', "epochs 2, 3 are lost"),
        ("\0" * 50, "epochs 1, 2, 3 are lost"),
        ('{"epoch": 1, "step": 4}\n{"epoch": 3, "step": 12}\n', "epochs 2 are lost"),
        ("".join(f'{{"epoch": {x}, "step": {4 * x}}}\n' for x in (1, 2, 3, 4)), ""),
    ],
)
def test_records_that_are_lost_are_told(
    content: str, lost: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "metrics.jsonl").write_text(content)
    with Recorder(tmp_path, "signs", Console(), tensorboard=False) as resumed:
        resumed.resume_after(12, 3)
    told = capsys.readouterr().err
    assert lost in told and bool(told) == bool(lost)


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


def test_tensorboard_not_installed_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(InputError, match=r'pip install "signjax\[tensorboard\]"'):
        recorder(tmp_path).resume_after(0, 0)
