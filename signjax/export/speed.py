"""How long the answer to one photograph takes."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from signjax.export.check import open_session
from signjax.export.onnx_model import LABEL, PHOTOGRAPH

TIMED_CALLS = 30
_WARM_UP_CALLS = 3


def milliseconds(call: Callable[[], Any]) -> np.ndarray:
    """Times of `TIMED_CALLS` calls, each of which waits for its result: float [N]."""
    times = []
    for _ in range(_WARM_UP_CALLS + TIMED_CALLS):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return 1e3 * np.array(times[_WARM_UP_CALLS:])


def onnx_milliseconds(path: Path, image: np.ndarray) -> np.ndarray:
    """Times of model.onnx in ONNX Runtime, for uint8 [1, H, W, 3]."""
    session = open_session(path.read_bytes())
    return milliseconds(lambda: session.run([LABEL], {PHOTOGRAPH: image}))
