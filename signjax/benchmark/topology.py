"""--topology: a program compiled for chips that are not here, and what comes of it.

From shapes alone, by libtpu or JAX's CUDA plugin, without any such chip. Cycles are the
TPU compiler's own estimate, never a measurement, and incomplete: `hlo.unestimated`.
"""

import os
import re
import time
from importlib import metadata
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

from signjax.benchmark import hlo
from signjax.benchmark.comparison import Row
from signjax.benchmark.measure import identity, nominal_flops
from signjax.benchmark.peaks import PEAKS
from signjax.benchmark.programs import lower_program
from signjax.benchmark.sweep import SweepPoint
from signjax.benchmark.timing import without_persistent_cache
from signjax.errors import InputError, RunError
from signjax.runtime.machine import provenance
from signjax.workdir import versions

GB = 10**9


class Tpu(NamedTuple):
    """sides: how many a topology has. memory: bytes of a device, as the maker says."""

    sides: int
    memory: int


class Gpu(NamedTuple):
    """kind: as JAX names it. capability: CUDA's. shared: bytes of a multiprocessor.

    l2: bytes. clock: GHz, boost. memory: bytes. By NVIDIA's A100 and H100 whitepapers,
    the H200 datasheet and the CUDA programming guide's table of compute capabilities.
    """

    kind: str
    capability: int
    multiprocessors: int
    shared: int
    l2: int
    clock: float
    memory: int


# cloud.google.com/tpu/docs, a page a version; a TPU7x chip is two devices.
TPUS = {
    "v4": Tpu(3, 32 * GB),
    "v5e": Tpu(2, 16 * GB),
    "v5p": Tpu(3, 95 * GB),
    "v6e": Tpu(2, 32 * GB),
    "tpu7x": Tpu(3, 96 * GB),
}
GPUS = {
    "a100": Gpu("NVIDIA A100-SXM4-80GB", 8, 108, 164 << 10, 40 << 20, 1.41, 80 * GB),
    "h100": Gpu("NVIDIA H100 80GB HBM3", 9, 132, 228 << 10, 50 << 20, 1.98, 80 * GB),
    "h200": Gpu("NVIDIA H200", 9, 132, 228 << 10, 50 << 20, 1.98, 141 * GB),
}


def open_topology(name: str) -> list[jax.Device]:
    """The devices of a topology, such as v5e:2x4 or h200, none of which is here.

    Raises InputError for a name that is none and where an extra is missing, RunError
    where the compiler does not take it.
    """
    chip, _, size = name.partition(":")
    sides = TPUS[chip].sides if chip in TPUS else 1
    if chip not in {*TPUS, *GPUS} or not re.fullmatch(
        rf"([1-9]\d*(x[1-9]\d*){{{sides - 1}}})?", size
    ):
        raise InputError(
            f"--topology={name}: expected one of {', '.join([*TPUS, *GPUS])}, with how "
            "many if not one, as v5e:2x4, v4:2x2x1 or h200:8"
        )
    _require(name, "libtpu" if chip in TPUS else "jax-cuda13-pjrt")
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "1":  # JAX's own choice
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # a row's error says it in one line
    if "JAX_PLATFORMS" not in os.environ:  # keys are made here; no chip is looked for
        jax.config.update("jax_platforms", "cpu")
    try:
        if chip in TPUS:
            return _tpu(chip, size or "x".join("1" * sides))
        return _gpu(GPUS[chip], int(size or 1))
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        raise RunError(f"--topology={name}: {_one_line(error)}") from error


def _require(name: str, package: str) -> None:
    extra = "aot-tpu" if package == "libtpu" else "aot-cuda"
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise InputError(
            f"--topology={name} needs {package}, which is not installed: pip install "
            f'"signjax[{extra}]"'
        ) from error


def _tpu(chip: str, size: str) -> list[jax.Device]:
    alone = {
        "TPU_SKIP_MDS_QUERY": "1",  # that of Google's cloud, which has machines
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_WORKER_ID": "0",
        "TPU_ACCELERATOR_TYPE": "v5litepod-4",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # no chip is opened, so none is locked
    }
    for variable, value in alone.items():
        os.environ.setdefault(variable, value)
    sides = [int(side) for side in size.split("x")]
    options: dict[str, Any] = {"chips_per_host_bounds": (*sides, 1, 1)[:3]}
    if chip == "v4":
        options["chip_config_name"] = "megacore"
    topology = topologies.get_topology_desc(
        platform="tpu", topology_name=f"{chip}:{size}", **options
    )
    return list(topology.devices)


def _gpu(gpu: Gpu, count: int) -> list[jax.Device]:
    peaks = PEAKS[gpu.kind]
    accelerated = (
        "feature_extension: ACCELERATED_FEATURES" if gpu.capability > 8 else ""
    )
    # GpuTargetConfigProto in XLA's device_description.proto.
    target = f"""
        platform_name: "CUDA" device_description_str: "{gpu.kind}"
        dnn_version_info {{ major: 9 minor: 10 }}
        gpu_device_info {{
          cuda_compute_capability {{ major: {gpu.capability} minor: 0 {accelerated} }}
          core_count: {gpu.multiprocessors} fpus_per_core: 128
          clock_rate_ghz: {gpu.clock}
          threads_per_warp: 32 threads_per_block_limit: 1024
          threads_per_core_limit: 2048
          registers_per_block_limit: 65536 registers_per_core_limit: 65536
          shared_memory_per_block: 49152 shared_memory_per_core: {gpu.shared}
          shared_memory_per_block_optin: {gpu.shared - 1024}
          block_dim_limit_x: 2147483647 block_dim_limit_y: 65535
          block_dim_limit_z: 65535
          l2_cache_size: {gpu.l2} device_memory_size: {gpu.memory}
          memory_bandwidth: {peaks.bandwidth:.0f}
        }}"""
    topology = topologies.get_topology_desc(
        platform="cuda", topology_name="", target_config=target, topology=f"1x1x{count}"
    )
    return list(topology.devices)


def estimate(point: SweepPoint, name: str) -> Row:
    """The row of a point whose devices are those of the topology `name`.

    `estimate` is None and `error` says why, in one line, where the program does not
    compile or does not fit the chip's memory.
    """
    row = {
        **identity(point),
        "topology": name,
        "flops_per_image": nominal_flops(point),
        "trace_seconds": None,
        "compile_seconds": None,
        "estimate": None,
        "error": None,
        "versions": _versions(point.devices[0].platform),
        **provenance(),
    }
    started = time.perf_counter()
    lowered = lower_program(point)
    row["trace_seconds"] = time.perf_counter() - started
    try:
        with without_persistent_cache():  # which cannot read such programs back
            compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        return row | {"error": _one_line(error)}
    row["compile_seconds"] = time.perf_counter() - started - row["trace_seconds"]
    found = _read(compiled, name.partition(":")[0])
    needed, memory = found["argument_bytes"] + found["temp_bytes"], found["chip_bytes"]
    if needed > memory:
        text = f"needs {needed / GB:.1f} GB of the {memory / GB:.0f} GB of a chip"
        return row | {"error": text}
    return row | {"estimate": found}


def _read(compiled: jax.stages.Compiled, chip: str) -> dict[str, Any]:
    """What the compiler says of a program; None stands for what it does not tell."""
    text, is_tpu = compiled.as_text() or "", chip in TPUS
    memory: Any = compiled.memory_analysis()
    cost = compiled.cost_analysis() or {}
    parts = hlo.cycles_by_part(text) if is_tpu else None
    return {
        "estimated_cycles": sum(parts.values()) if parts is not None else None,
        "cycles_by_part": parts,
        "unestimated": hlo.unestimated(text) if is_tpu else None,
        "kernels": None if is_tpu else hlo.kernels_by_kind(text),
        "argument_bytes": memory.argument_size_in_bytes,
        "temp_bytes": memory.temp_size_in_bytes,
        "chip_bytes": TPUS[chip].memory if is_tpu else GPUS[chip].memory,
        "flops": cost.get("flops"),
        "bytes_accessed": cost.get("bytes accessed"),
        "collectives": hlo.collectives(text),
    }


def _versions(platform: str) -> dict[str, str]:
    compiler = "libtpu" if platform == "tpu" else "jax-cuda13-pjrt"
    return {**versions(), compiler: metadata.version(compiler)}


def _one_line(error: Exception) -> str:
    line = next(filter(None, map(str.strip, str(error).splitlines())), repr(error))
    return line if len(line) <= 200 else f"{line[:199]}…"
