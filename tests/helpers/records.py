"""What a run has written about its epochs."""

import json
from pathlib import Path
from typing import Any

_TIMINGS = ("seconds", "images_per_second")


def metrics(workdir: Path) -> list[dict[str, Any]]:
    """The records of metrics.jsonl without timings, which differ from run to run."""
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [{k: v for k, v in r.items() if k not in _TIMINGS} for r in records]
