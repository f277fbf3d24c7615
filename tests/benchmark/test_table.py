"""Rows as people read them: of known and unknown accelerators."""

from typing import Any

from signjax.benchmark.table import HEADER, line, notes

# As a GPU that no table has would give it.
ROW: dict[str, Any] = {
    **{"model": "cnn", "variant": "cnn-seed", "backend": "gpu", "device": "GPU 1"},
    **{"device_count": 1, "batch_size": 32, "image_size": 64, "dtype": "bfloat16"},
    **{"program": "step", "flops_per_image": 2 * 10**9},
    **{"step_ms": {"median": 2.0, "p25": 1.9, "p75": 2.1, "n": 30}},
    **{"compile_seconds": 1.0, "images_per_second": 16000.0, "mfu": None},
    **dict.fromkeys(("peak_flops", "ridge_flops_per_byte", "flops_per_byte"), None),
    **{"peak_memory_bytes": None},
}


def test_an_unknown_accelerator_has_no_mfu() -> None:
    assert line(ROW).split().count("-") == 2
    told = "\n".join(notes([ROW]))
    assert "peak for bfloat16: not known for GPU 1" in told
    assert "nominal" in told and "Winograd" in told
    unknown = "\n".join(notes([ROW | {"flops_per_byte": 81.5}]))
    assert "81.5 FLOP/byte; what limits it is not known" in unknown


def test_a_known_accelerator_is_told_with_its_limits() -> None:
    limits = {"peak_flops": 989.4e12, "ridge_flops_per_byte": 206.1, "mfu": 0.1634}
    known = ROW | limits | {"flops_per_byte": 81.5, "peak_memory_bytes": 3 << 30}
    assert "16.3%" in line(known) and line(known).endswith("3072")
    told = "\n".join(notes([known]))
    assert "peak for bfloat16: 989.4 TFLOP/s" in told
    assert "81.5 FLOP/byte, 41% of what that allows: below 206.1 memory is" in told
    launches = notes([known | {"mfu": 0.02}])[-1]
    assert launches.endswith("so a larger batch_size would help")
    assert "5% of what that allows: launches and small operations" in launches
    assert "arithmetic" in notes([known | {"flops_per_byte": 400.0, "mfu": 0.5}])[-1]


def test_the_table_fits_a_terminal_of_100_columns() -> None:
    assert len(HEADER) == len(line(ROW)) <= 100
