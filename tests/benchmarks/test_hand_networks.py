"""The comparison of the hand networks with LiteRT, whose rows guide readers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

COMPARED = """
import json, sys
from pathlib import Path
import numpy as np
from benchmarks import hand_networks
from signjax.hands.weights import LANDMARK, PALM

folder, errors = Path(sys.argv[1]), []
for part in (PALM, LANDMARK):
    images = np.random.default_rng(0).random(part.inputs, np.float32)
    ours, theirs = (
        program(folder, part)(images)
        for program in (hand_networks.in_jax, hand_networks.in_litert)
    )
    for shape, own in zip(part.outputs, ours, strict=True):
        same = [x for x in theirs if x.shape == shape]
        errors.append(min(abs(x - own).max() / abs(x).max() for x in same))
print(json.dumps([float(x) for x in errors]))
"""


def test_both_programs_compute_the_same(root: Path, shared: Path) -> None:
    """In a process of its own, as the module keeps its process to one core."""
    pytest.importorskip("ai_edge_litert", reason="needs the parity extra")
    folder = shared / "weights" / "mediapipe_hands"
    if not folder.is_dir():
        pytest.skip("the weights mediapipe_hands are not in shared/")
    command = [sys.executable, "-c", COMPARED, str(folder)]
    found = subprocess.run(command, cwd=root, check=True, capture_output=True)
    errors = json.loads(found.stdout)
    assert len(errors) == 6 and max(errors) < 1e-4
