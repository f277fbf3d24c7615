"""Writes the weights that all baselines start from: signjax's, but for LAST_SCALE.

python -m benchmarks.baselines.initial_weights --model=resnet --output=FILE.npz
"""

import argparse
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from benchmarks.baselines import measure
from benchmarks.baselines.signjax_step import make_config
from signjax.experiment import make_experiment

# With zeros, signjax's start, the blocks would hardly touch the losses that are to
# agree; with ones, float32 rounding alone parts them within ten steps.
LAST_SCALE = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=("resnet", "cnn"), required=True)
    parser.add_argument("--output", required=True)
    arguments = parser.parse_args()
    config = make_config(arguments.model, batch_size=1, dtype="float32")
    devices = jax.local_devices()[:1]
    experiment = make_experiment(config, measure.CLASSES, measure.IMAGES, devices)
    variables = experiment.initial_state().variables
    leaves = flatten_dict(jax.device_get(variables), sep="/")
    measure.write_weights(
        arguments.output, {place: _start(place, x) for place, x in leaves.items()}
    )


def _start(place: str, leaf: Any) -> np.ndarray:
    """The leaf itself, or LAST_SCALE where a residual branch ends in zeros."""
    is_last = place.endswith("/bn3/scale")
    return np.full_like(leaf, LAST_SCALE) if is_last else np.asarray(leaf)


if __name__ == "__main__":
    main()
