"""Compares a ported Keras network with Keras itself on the 120 SIGNS test images.

    python benchmarks/baselines/keras_reference.py --data=DIR --output=KERAS --epochs=30
    python -m benchmarks.keras_parity --data=DIR --keras=KERAS

Ports KERAS/resnet50.h5 by the real command line, predicts the test images with it, and
writes the largest difference in probability to results/keras_parity.json. A network
that has not learned would prove little, and is refused: the running statistics of
Keras' BatchNorm take some 20 epochs to catch up with the weights.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np

from signjax.data.signs import read_signs_file
from signjax.evaluation.metrics import logits_of, softmax
from signjax.runtime.machine import ROOT, provenance
from signjax.workdir import load_trained, versions

FILE = Path(__file__).parent / "results" / "keras_parity.json"
LEARNED = 0.5  # accuracy; chance is one in six


def sha256(path: Path) -> str:
    """The digest of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--keras", type=Path, required=True)
    arguments = parser.parse_args()
    weights = arguments.keras / "resnet50.h5"
    keras = np.load(arguments.keras / "predictions.npz")
    keras_accuracy = float(
        np.mean(keras["probabilities"].argmax(1) == keras["labels"]),
    )
    if keras_accuracy < LEARNED:
        sys.exit(f"{weights}: Keras has {keras_accuracy:.2f} right; train more epochs")
    with tempfile.TemporaryDirectory() as workdir:
        command = [sys.executable, "main.py", "--mode=port", f"--weights={weights}"]
        subprocess.run([*command, f"--workdir={workdir}"], cwd=ROOT, check=True)
        trained = load_trained(Path(workdir), devices=jax.local_devices(), warn=print)
    test_file = arguments.data / "test_signs.h5"
    images = read_signs_file(test_file, "test").images
    logits = logits_of(trained.experiment, trained.state.variables, images)
    probabilities = softmax(logits)
    result = {
        "largest_probability_difference": float(
            np.abs(probabilities - keras["probabilities"]).max()
        ),
        "accuracy": float(np.mean(probabilities.argmax(1) == keras["labels"])),
        "keras_accuracy": keras_accuracy,
        "images": len(images),
        "data_sha256": sha256(test_file),
        "weights_sha256": sha256(weights),
        "versions": versions(),
        **provenance(),
    }
    FILE.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
