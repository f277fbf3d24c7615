"""Scalars for TensorBoard, by tensorboardX (the tensorboard extra)."""

import os
from collections.abc import Mapping
from typing import Any

from signjax.errors import InputError


class TensorBoard:
    """Writes event files into a directory that `tensorboard --logdir` reads.

    first_step: the step the run starts from. Points beyond it, left by a run that
    was killed after its last checkpoint, are purged: no step is drawn twice.
    """

    def __init__(self, directory: str | os.PathLike[str], first_step: int = 0) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise InputError(
                "TensorBoard output needs tensorboardX: "
                'pip install "signjax[tensorboard]", or turn it off'
            ) from error
        self._writer = SummaryWriter(
            os.fspath(directory),
            purge_step=first_step + 1,  # this step and later ones go
            flush_secs=1,
            # Files are named by the second; a quick resume must not overwrite one.
            filename_suffix=f".{first_step}",
        )

    def write(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Adds one point a name at `step`; entries that are not numbers are left out.

        A metrics.jsonl record can be given as it is.
        """
        for name, value in scalars.items():
            if isinstance(value, int | float) and name != "step":
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flushes what is pending; nothing can be written afterwards."""
        self._writer.close()
