"""A packed model keeps its variables to float16 and refuses what is none."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from signjax.errors import InputError
from signjax.runtime.packed import read_packed, write_packed


def variables(**changes: float) -> dict[str, object]:
    rng = np.random.default_rng(0)
    norm = {"mean": rng.normal(size=3), "var": np.full(3, changes.get("var", 0.5))}
    kernel = rng.normal(size=(2, 3)) * changes.get("scale", 1.0)
    return {"params": {"head": {"kernel": kernel}}, "batch_stats": {"bn": norm}}


def test_it_keeps_names_step_and_values(tmp_path: Path) -> None:
    given, file = variables(), tmp_path / "x.safetensors"
    write_packed(file, given, 1720)
    found, step = read_packed(file)
    assert step == 1720
    assert found.keys() == given.keys()
    kernel = found["params"]["head"]["kernel"]
    assert kernel.dtype == np.float32
    # Half a unit in the last of float16's 11 bits.
    np.testing.assert_allclose(kernel, given["params"]["head"]["kernel"], rtol=2**-11)
    assert found["batch_stats"]["bn"]["var"].tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"scale": 1e6}, "head/kernel has values"), ({"var": 1e-9}, "bn/var has")],
)
def test_what_float16_cannot_hold_is_refused(
    tmp_path: Path, changes: dict[str, float], told: str
) -> None:
    with pytest.raises(ValueError, match=told), np.errstate(over="ignore"):
        write_packed(tmp_path / "x", variables(**changes), 1)
    assert not (tmp_path / "x").exists()


def test_another_file_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"a": np.zeros(2)}, file)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(file.read_bytes()[:-8])
    for path in (file, cut):
        with pytest.raises(InputError, match="is not a packed model") as raised:
            read_packed(path)
        assert "\n" not in str(raised.value)
