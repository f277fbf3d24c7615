"""Runs in processes of their own that are stopped and killed, and how they end."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import jax
import numpy as np

from signjax.runtime.bucket import BucketPath
from signjax.workdir import load_trained
from tests.helpers.command_line import CNN, ROOT, command
from tests.helpers.records import metrics

LONG = (  # epochs of many steps, so that most moments lie in the middle of one
    *CNN,
    "--config.data.synthetic_train=144",
    "--config.train.batch_size=4",
    "--config.train.epochs=8",
)


def start(
    arguments: tuple[str, ...],
    workdir: Path,
    *,
    stdout: int | IO[str] = subprocess.PIPE,
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments, f"--workdir={workdir}"),
        cwd=ROOT,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


def freeze_when(process: subprocess.Popen[str], seen: Callable[[], bool]) -> bool:
    """Brings the process to a standstill in a moment at which `seen()` holds.

    False where it ended before that moment came.
    """
    while process.poll() is None:
        if seen():
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            if process.poll() is None and seen():
                return True
            process.send_signal(signal.SIGCONT)
        time.sleep(0.003)
    return False


def saved_steps(workdir: Path) -> list[int]:
    if isinstance(workdir, BucketPath):
        manifests = (f for f in workdir.files() if f.name == "manifest.json")
        names = [manifest.parent.name for manifest in manifests]
    else:
        names = [path.name for path in workdir.glob("checkpoints/*")]
    return sorted(int(name) for name in names if name.isdigit())


def is_inside_a_later_save(workdir: Path) -> bool:
    return bool(saved_steps(workdir)) and bool(unfinished_files(workdir))


def unfinished_files(workdir: Path) -> list[Path]:
    """What is there of saves and removals that have not ended."""
    if not isinstance(workdir, BucketPath):
        return [*workdir.glob("checkpoints/*.tmp/*")]
    files = (workdir / "checkpoints").files()
    whole = [file.parent for file in files if file.name == "manifest.json"]
    return [file for file in files if not any(x in file.parents for x in whole)]


def differences(one: Path, other: Path) -> list[str]:
    """What two finished runs differ in, bit by bit: arrays, metrics, result.json."""
    states = [
        load_trained(workdir, devices=jax.devices()[:1], warn=print).state
        for workdir in (one, other)
    ]
    leaves = [
        {
            jax.tree_util.keystr(path): np.asarray(leaf).tobytes()
            for path, leaf in jax.tree.leaves_with_path(state)
        }
        for state in states
    ]
    assert len(leaves[0]) > 10
    different = [path for path in leaves[0] if leaves[0][path] != leaves[1].get(path)]
    if metrics(one) != metrics(other):
        different.append("metrics.jsonl")
    if _result(one) != _result(other):
        different.append("result.json")
    return different


def _result(workdir: Path) -> dict[str, Any]:
    result = json.loads((workdir / "result.json").read_text())
    return {key: value for key, value in result.items() if key != "train_seconds"}
