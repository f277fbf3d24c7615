"""The command line in a process of its own, as people run it, warnings being errors."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CNN = (  # trains in seconds
    "--config=configs/cnn.py:seed",
    "--config.data.source=synthetic",
    "--config.data.synthetic_train=72",
    "--config.data.synthetic_test=24",
    "--config.train.batch_size=16",
    "--config.run.checkpoint_every_epochs=1",
)


def command(*arguments: str) -> list[str]:
    """Of `python main.py` with these arguments, a warning ending it."""
    return [sys.executable, "-W", "error", "main.py", *arguments]


def main(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs it to its end in the repository's root, with what it printed."""
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
