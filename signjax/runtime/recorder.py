"""Where the record of each epoch goes: metrics.jsonl, the console, TensorBoard."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from signjax.errors import InputError, listed
from signjax.runtime.console import Console
from signjax.runtime.distributed import is_primary, sync_errors
from signjax.runtime.files import MetricsFile


class Recorder:
    """The records of a run's epochs, in the workdir and on the console.

    Of several processes the primary alone writes. A context that closes its files.
    """

    def __init__(
        self, workdir: Path, source: str, console: Console, tensorboard: bool
    ) -> None:
        """source: the data's, which labels every record. tensorboard: whether to."""
        self._directory = workdir / "tensorboard" if tensorboard else None
        self._file = MetricsFile(workdir / "metrics.jsonl")
        self._console = console
        self._source = source
        self._events: Any = None  # tensorboardX's writer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._events:
            self._events.close()

    def resume_after(self, step: int, epochs: int) -> None:
        """Drops the records of steps beyond `step`, which are to be taken again.

        epochs: how many were finished then; a warning tells which have no record.
        """
        with sync_errors():
            if not is_primary():
                return
            self._file.truncate_after(step)
            kept = {record.get("epoch") for record in self._file.read()}
            if missing := [x for x in range(1, epochs + 1) if x not in kept]:
                self._console.warning(
                    f"{self._file.path}: the records of epochs {listed(missing)} are "
                    "lost, and the curves are without them; the model is whole"
                )
            if self._directory:
                self._events = _open_events(self._directory, step)

    def add(self, record: Mapping[str, Any], *, epochs: int) -> None:
        """Writes the record of one of `epochs`; it is on disk when this returns."""
        record = {**record, "data": self._source}
        if is_primary():
            self._file.append(record)
        self._console.epoch(record, epochs=epochs)
        for name, value in record.items() if self._events else ():
            if isinstance(value, int | float) and name != "step":
                self._events.add_scalar(name, value, record["step"])

    def read(self) -> list[dict[str, Any]]:
        """All records of the run so far, in order."""
        return self._file.read()


def _open_events(directory: Path, step: int) -> Any:
    """A writer of event files, whose points beyond `step` are drawn anew."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise InputError(
            "TensorBoard output needs tensorboardX: "
            'pip install "signjax[tensorboard]", or turn it off'
        ) from error
    # Files are named by the second; a quick resume must not overwrite one.
    return SummaryWriter(
        str(directory), purge_step=step + 1, flush_secs=1, filename_suffix=f".{step}"
    )
