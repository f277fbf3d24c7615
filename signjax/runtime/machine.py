"""What a measurement was taken on, when and of what: processor, memory, commit."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

ROOT = Path(__file__).resolve().parents[2]


def device_name(device: jax.Device) -> str:
    """The device's kind; for the CPU its name and the cores that may be used."""
    if device.platform != "cpu":
        return device.device_kind
    return f"{processor()}, {core_count()} cores"


def processor() -> str:
    """The CPU's name, as well as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.split(":", 1)[1] for line in lines if line.startswith("model name")]
    return names[0].strip() if names else platform.processor() or platform.machine()


def core_count() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_memory_bytes(devices: list[jax.Device]) -> int | None:
    """The most memory in use at any time since the process began.

    On accelerators that of the fullest device, on the CPU that of the whole process.
    None where the device, or Windows, does not tell.
    """
    if devices[0].platform == "cpu":
        if sys.platform == "win32":
            return None
        import resource  # which Windows lacks

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    stats = [device.memory_stats() or {} for device in devices]
    peaks = [s["peak_bytes_in_use"] for s in stats if "peak_bytes_in_use" in s]
    return max(peaks, default=None)


def provenance() -> dict[str, Any]:
    """Where, when and of what commit something is measured, for a result's row.

    load_average: over the last minute; None on Windows, which has none.
    """
    return {
        "processor": processor(),
        "cores": core_count(),
        "load_average": None if sys.platform == "win32" else os.getloadavg()[0],
        "git_commit": git_commit(),
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def git_commit() -> str | None:
    """The commit that runs, with `+` where files differ from it; None: no checkout."""
    command = ["git", "describe", "--always", "--exclude=*", "--dirty=+"]
    if not (ROOT / ".git").exists():
        return None
    try:
        done = subprocess.run(
            command, cwd=ROOT, check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
