"""Files of weights of anybody: nothing is followed, unpacked or run for them."""

import io
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from signjax.errors import InputError
from signjax.pretrained import read
from signjax.pretrained.read import read_weights
from signjax.runtime import hdf5
from tests.helpers.weight_files import (
    golden_json,
    write_keras_h5,
    write_keras_weights,
    write_keras_zip,
    write_sparse_safetensors,
)
from tests.pretrained import fuzz_weights

FIRST = "conv2_block1_1_conv"


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_weights(path)
    text = str(caught.value)
    assert text.isprintable() and len(text) <= 300
    return text


@pytest.mark.parametrize("kind", fuzz_weights.WRITERS)
def test_mutated_files_are_read_or_refused_in_one_line(kind: str) -> None:
    outcomes, faults = fuzz_weights.run(kind, 12, seed=1)
    assert faults == []
    assert outcomes.total() == 12


def test_what_a_zip_unpacks_to_is_measured_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", bytes(10_000_000))
        archive.writestr("model.weights.h5", b"")
    monkeypatch.setattr(read, "_MOST_BYTES", 1_000_000)
    assert path.stat().st_size < 20_000
    assert "0.0 GB of values: expected a ResNet-50's" in refusal(path)


def test_a_name_that_leads_out_of_a_zip_leads_nowhere(tmp_path: Path) -> None:
    arrays = fuzz_weights.small("keras_model")
    path = tmp_path / "x.keras"
    write_keras_zip(path, arrays, golden_json()["model_config"])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../outside", b"x")
    assert read_weights(path).arrays.keys() == arrays.keys()
    assert not list(tmp_path.rglob("outside"))


def test_arrays_larger_than_any_network_are_not_read(tmp_path: Path) -> None:
    path = write_keras_weights(tmp_path / "x", {f"{FIRST}/kernel": np.zeros((1, 1))})
    with h5py.File(path, "a") as root:
        root.create_dataset("layers/huge/vars/0", (1 << 40,), "f4")
    assert "4398.0 GB of values" in refusal(path)


def test_compressed_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with h5py.File(path, "w") as root:
        value = np.zeros((100, 100), np.float32)
        root.create_dataset("layers/dense/vars/0", data=value, compression="gzip")
    assert "is compressed or in another file" in refusal(path)


@pytest.mark.parametrize("kind", ["external", "soft", "storage", "virtual"])
def test_no_other_file_is_read_for_an_hdf5_file(kind: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    arrays = {f"{FIRST}/kernel": np.ones((1, 1), np.float32)}
    write_keras_h5(secret, arrays)
    path, name = tmp_path / "x", f"{FIRST}/kernel:0"
    with h5py.File(path, "w") as root:
        root.attrs["layer_names"] = [FIRST]
        layer = root.create_group(FIRST)
        layer.attrs["weight_names"] = [name]
        inside = f"{FIRST}/{name}"
        if kind == "external":
            layer[name] = h5py.ExternalLink(str(secret), inside)
        elif kind == "soft":
            layer[name] = h5py.SoftLink("/elsewhere")
        elif kind == "storage":
            layer.create_dataset(name, (1, 1), "f4", external=[(str(secret), 0, 4)])
        else:
            source = h5py.VirtualSource(str(secret), inside, (1, 1))
            layout = h5py.VirtualLayout((1, 1), "f4")
            layout[:] = source
            layer.create_virtual_dataset(name, layout)
    assert "HDF5 file" in refusal(path) or "in another file" in refusal(path)


def test_names_reach_no_terminal_as_they_are(tmp_path: Path) -> None:
    path = write_sparse_safetensors(tmp_path / "x", {"\x1b[2J\nfc.weight": (1,)})
    assert "[2J fc.weight" in refusal(path)


def test_a_file_that_the_library_does_not_get_through_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_keras_weights(tmp_path / "x", {f"{FIRST}/kernel": np.zeros((1, 1))})
    monkeypatch.setattr(hdf5, "_SECONDS", 0.001)
    assert "does not get through" in refusal(path)
    monkeypatch.setattr(hdf5, "_SECONDS", 120)
    with pytest.raises(ValueError, match="HDF5's library fails"):
        hdf5.refuse_unsound_hdf5(path.read_bytes()[:200])
    sound_file = io.BytesIO()
    with h5py.File(sound_file, "w") as root:
        root["x"] = 1
    hdf5.refuse_unsound_hdf5(sound_file.getvalue())
