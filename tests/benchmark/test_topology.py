"""--topology: names, one line for what goes wrong, and programs that do compile."""

from importlib import metadata
from types import SimpleNamespace
from typing import Any

import jax
import pytest

from configs import cnn, resnet
from signjax.benchmark import topology
from signjax.benchmark.sweep import SweepPoint, plan
from signjax.errors import InputError

TEXT = """ENTRY %main (x: f32[4]) -> f32[4] {
  ROOT %add.1 = f32[4]{0} add(%x, %x), metadata={op_name="jit(s)/jvp(CNN)/add"}, \
backend_config={"estimated_cycles":"7"}
}"""


def point(devices: list[jax.Device], program: str = "step") -> SweepPoint:
    config = cnn.get_config("seed")
    config.data.image_size = 32
    (only,) = plan(config, {"program": [program], "train_size": [40]}, devices)
    return only


def estimate(monkeypatch: pytest.MonkeyPatch, compile_: Any) -> Any:
    """The row of a point whose program a compiler of ours compiles."""
    lowered = SimpleNamespace(compile=compile_)
    monkeypatch.setattr(topology, "lower_program", lambda _: lowered)
    monkeypatch.setattr(topology, "_versions", lambda _: {})
    return topology.estimate(point(jax.local_devices()[:1]), "v5e")


def compiled(argument_bytes: int) -> Any:
    memory = SimpleNamespace(
        argument_size_in_bytes=argument_bytes, temp_size_in_bytes=10**9
    )
    return SimpleNamespace(
        memory_analysis=lambda: memory,
        cost_analysis=lambda: {"flops": 8.0, "bytes accessed": 32.0},
        as_text=lambda: TEXT,
    )


def test_a_row_holds_what_the_compiler_says(monkeypatch: pytest.MonkeyPatch) -> None:
    row = estimate(monkeypatch, lambda: compiled(10**9))
    assert (row["topology"], row["program"], row["train_size"]) == ("v5e", "step", 40)
    assert "step_ms" not in row and row["error"] is None
    assert row["compile_seconds"] >= 0
    assert row["estimate"] == {
        "estimated_cycles": 7,
        "cycles_by_part": {"forward": 7},
        "unestimated": {},
        "kernels": None,
        "argument_bytes": 10**9,
        "temp_bytes": 10**9,
        "chip_bytes": 16 * 10**9,
        "flops": 8.0,
        "bytes_accessed": 32.0,
        "collectives": [],
    }


def test_a_program_too_large_for_the_chip_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = estimate(monkeypatch, lambda: compiled(16 * 10**9))
    assert row["estimate"] is None
    assert row["error"] == "needs 17.0 GB of the 16 GB of a chip"

    def fail() -> None:
        raise jax.errors.JaxRuntimeError("\nRESOURCE_EXHAUSTED: Ran out\nand so on")

    row = estimate(monkeypatch, fail)
    assert row["estimate"] is None
    assert row["error"] == "RESOURCE_EXHAUSTED: Ran out"


@pytest.mark.parametrize(
    "name", ["v7", "v5e:2", "v5e:0x4", "v4:2x2", "h200:1x2", "V5E:2x2", "v5e:2x"]
)
def test_a_wrong_name_is_told_with_the_right_ones(name: str) -> None:
    with pytest.raises(InputError, match="expected one of v4, v5e, .* as v5e:2x4"):
        topology.open_topology(name)


@pytest.mark.parametrize(
    ("name", "told"),
    [("v5e:2x4", r"libtpu.*signjax\[aot-tpu\]"), ("h200", r"signjax\[aot-cuda\]")],
)
def test_a_missing_extra_is_named(
    name: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(package: str) -> str:
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(InputError, match=told):
        topology.open_topology(name)


def require(package: str) -> None:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        pytest.skip(f"needs {package}: an extra of its own")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "package"), [("v5e:2x2", "libtpu"), ("h200:4", "jax-cuda13-pjrt")]
)
def test_four_chips_sum_what_the_page_on_scaling_says(name: str, package: str) -> None:
    require(package)
    config = resnet.get_config()
    config.model.update(width=16, stage_sizes=(1, 1, 1, 1))
    config.data.image_size = 32
    sweep = {"program": ["step"], "train_size": [64]}
    (small,) = plan(config, sweep, topology.open_topology(name))
    found = topology.estimate(small, name)["estimate"]["collectives"]
    sums = {row["type"]: row for row in found}
    assert {row["operation"] for row in found} == {"all-reduce"}
    assert sums["f32"]["count"] == 2 * (1 + 3 * 4)
    params = jax.tree_util.tree_leaves_with_path(
        small.experiment.abstract_state().params
    )
    # All but BatchNorm's: convolutions have no bias, the head has one.
    kernels = sum(leaf.size for path, leaf in params if "bn" not in str(path))
    assert sums["bf16"]["bytes"] == 2 * kernels


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "package"), [("v5e:2x2", "libtpu"), ("h200", "jax-cuda13-pjrt")]
)
def test_the_cnn_compiles_for_a_chip_that_is_not_here(name: str, package: str) -> None:
    require(package)
    row = topology.estimate(point(topology.open_topology(name)), name)
    found = row["estimate"]
    assert row["error"] is None and row["dtype"] == "bfloat16"
    assert 0 < found["argument_bytes"] < 10**7
    if package == "libtpu":
        assert found["estimated_cycles"] == sum(found["cycles_by_part"].values()) > 0
        assert {"forward", "backward"} <= found["cycles_by_part"].keys()
        assert {row["operation"] for row in found["collectives"]} == {"all-reduce"}
    else:
        assert found["kernels"]["cudnn"] >= 4  # two convolutions, and their gradients
        assert "copy" not in found["kernels"]  # the state is updated in place
