"""How fast a device could be: its peak arithmetic and memory bandwidth."""

import time
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Peaks(NamedTuple):
    """What the maker states of one device, dense (not sparse). None: not stated.

    bfloat16, float32: FLOP/s at JAX's default precision, which for float32 is TF32 on
    NVIDIA GPUs that have it and bfloat16 passes on TPUs. full_float32: FLOP/s with
    jax_default_matmul_precision at `highest` or `float32`. bandwidth: bytes/s.
    """

    bfloat16: float | None
    float32: float
    full_float32: float | None
    bandwidth: float


# By jax.Device.device_kind.
PEAKS = {
    # Blackwell: NVIDIA HGX B200 datasheet (sparse figures halved).
    "NVIDIA B200": Peaks(2.25e15, 1.125e15, 75e12, 7.7e12),
    # Hopper: NVIDIA H100 whitepaper, table 2, and the H100, H200 and GH200 datasheets.
    "NVIDIA H200": Peaks(989.4e12, 494.7e12, 66.9e12, 4.8e12),
    "NVIDIA H100 80GB HBM3": Peaks(989.4e12, 494.7e12, 66.9e12, 3.35e12),
    "NVIDIA H100 PCIe": Peaks(756e12, 378e12, 51.2e12, 2.0e12),
    "NVIDIA GH200 480GB": Peaks(989.4e12, 494.7e12, 66.9e12, 4.0e12),
    # Ada: NVIDIA L4 and L40S datasheets, Ada whitepaper (appendix A).
    "NVIDIA L4": Peaks(121e12, 60e12, 30.3e12, 0.3e12),
    "NVIDIA L40S": Peaks(362e12, 183e12, 91.6e12, 0.864e12),
    "NVIDIA GeForce RTX 4090": Peaks(165.2e12, 82.6e12, 82.6e12, 1.008e12),
    # Ampere: NVIDIA A100 and A10 datasheets, GA102 whitepaper (appendix A).
    "NVIDIA A100-SXM4-40GB": Peaks(312e12, 156e12, 19.5e12, 1.555e12),
    "NVIDIA A100-SXM4-80GB": Peaks(312e12, 156e12, 19.5e12, 2.039e12),
    "NVIDIA A100-PCIE-40GB": Peaks(312e12, 156e12, 19.5e12, 1.555e12),
    "NVIDIA A100 80GB PCIe": Peaks(312e12, 156e12, 19.5e12, 1.935e12),
    "NVIDIA A10": Peaks(125e12, 62.5e12, 31.2e12, 0.6e12),
    "NVIDIA GeForce RTX 3090": Peaks(71e12, 35.6e12, 35.6e12, 0.936e12),
    # Turing and Volta have neither bfloat16 nor TF32: T4 and V100 datasheets.
    "Tesla T4": Peaks(None, 8.1e12, 8.1e12, 0.32e12),
    "Tesla V100-SXM2-16GB": Peaks(None, 15.7e12, 15.7e12, 0.9e12),
    "Tesla V100-SXM2-32GB": Peaks(None, 15.7e12, 15.7e12, 0.9e12),
    # TPUs: cloud.google.com/tpu/docs/system-architecture-tpu-vm, a page a version. JAX
    # shows each of the two cores of a v2, v3 or TPU7x chip as a device.
    "TPU v2": Peaks(23e12, 23e12, None, 0.35e12),
    "TPU v3": Peaks(61.5e12, 61.5e12, None, 0.45e12),
    "TPU v4": Peaks(275e12, 275e12, None, 1.228e12),
    "TPU v5 lite": Peaks(197e12, 197e12, None, 0.82e12),
    "TPU v5": Peaks(459e12, 459e12, None, 2.765e12),
    "TPU v5p": Peaks(459e12, 459e12, None, 2.765e12),
    "TPU v6 lite": Peaks(918e12, 918e12, None, 1.64e12),
    "TPU7x": Peaks(1.15e15, 1.15e15, None, 3.7e12),
}


def peak_flops(peaks: Peaks, dtype: str, precision: str) -> float | None:
    """FLOP/s of matrix products, None where no peak is stated for them.

    dtype: float32 or bfloat16. precision: jax_default_matmul_precision, `default` if
    it is not set.
    """
    if dtype == "bfloat16":
        return peaks.bfloat16
    if precision in ("highest", "float32"):
        return peaks.full_float32
    return peaks.float32 if precision == "default" else None


# Of square matrices; small ones would measure overhead.
_SIZES = (1024, 2048)


@cache
def measure_matmul(device: jax.Device) -> float:
    """FLOP/s of the fastest of several float32 matrix products on a device.

    Measured once in a process.
    """
    product = jax.jit(jnp.matmul)
    rng = np.random.default_rng(0)
    best = 0.0
    for size in _SIZES:
        matrix = jax.device_put(rng.random((size, size), np.float32), device)
        product(matrix, matrix).block_until_ready()
        for _ in range(5):
            started = time.perf_counter()
            product(matrix, matrix).block_until_ready()
            best = max(best, 2 * size**3 / (time.perf_counter() - started))
    return best
