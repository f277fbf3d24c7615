"""Weights made from a seed for any source's names and shapes, the same everywhere.

The proofs of porting need no downloads: Keras or PyTorch computes with these
values under its own names, and the test writes them to a file under those names.
"""

from collections.abc import Mapping

import numpy as np

Shapes = Mapping[str, tuple[int, ...]]

# Of 60 tried, the noise [8, 32, 32, 3] that leaves ReLUs' inputs farthest from zero.
STEP_SEED = 29


def draw(shapes: Shapes, seed: int = 0) -> dict[str, np.ndarray]:
    """float32 arrays by name, in the order given; activations stay within range.

    Names end in Keras' or PyTorch's leaf names; PyTorch's kernels have their outputs
    first.
    """
    generator = np.random.default_rng(seed)
    return {name: _leaf(name, shape, generator) for name, shape in shapes.items()}


def _leaf(
    name: str, shape: tuple[int, ...], generator: np.random.Generator
) -> np.ndarray:
    leaf = name.replace(".", "/").split("/")[-1]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if len(shape) > 1:
        outputs = shape[0] if leaf == "weight" else shape[-1]
        deviation = np.sqrt(2 * outputs / np.prod(shape))
        return generator.standard_normal(shape, np.float32) * np.float32(deviation)
    if leaf in ("gamma", "weight", "moving_variance", "running_var"):
        return generator.uniform(0.5, 1.5, shape).astype(np.float32)
    return 0.1 * generator.standard_normal(shape, np.float32)


def calm(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """torchvision's arrays with the blocks' last scales made small.

    Else rounding errors grow until they flip ReLUs, and gradients in float32, PyTorch's
    too, differ from those in float64 by up to a third of the largest.
    """
    return {
        name: array * np.float32(0.2) if name.endswith("bn3.weight") else array
        for name, array in arrays.items()
    }


def random_images(count: int, size: int, seed: int = 1) -> np.ndarray:
    """uint8 [count, size, size, 3] of noise."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (count, size, size, 3), np.uint8)


def sample(tensor: np.ndarray, count: int = 200) -> np.ndarray:
    """Up to `count` values of a tensor at even distances, the first and last too."""
    flat = np.asarray(tensor).ravel()
    return flat[np.linspace(0, flat.size - 1, min(count, flat.size)).astype(int)]
