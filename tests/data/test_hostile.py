"""Damaged files of every kind are read or refused in one line, whatever is in them."""

import json

import h5py
import pytest

from signjax.data import signs
from signjax.data.signs import read_signs_file
from signjax.errors import InputError
from tests.data import fuzz_images
from tests.helpers.datasets import write_signs
from tests.helpers.fuzz import fork_and_touch, main
from tests.helpers.refusals import refused


@pytest.mark.parametrize("kind", fuzz_images.KINDS)
def test_a_mutated_file_is_read_or_refused_in_one_line(kind):
    outcomes, faults = fuzz_images.run(kind, 12, seed=1)
    assert faults == [] and outcomes.total() == 12
    assert outcomes["refused"]


def test_names_of_several_kinds_in_an_hdf5_file_are_listed(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_group("text")
        file.create_group(b"\xff\xfe")
    with refused("no array train_set_x"):
        read_signs_file(path, None)


def test_class_names_that_hdf5_does_not_get_through_are_refused(tmp_path, monkeypatch):
    """The free rest of a heap of texts, after six of 24 bytes, says it is empty."""
    monkeypatch.setattr(signs, "refuse_unsound_hdf5", fork_and_touch)
    path = tmp_path / "x.h5"
    write_signs(path)
    with h5py.File(path, "a") as file:
        del file["list_classes"]
        file["list_classes"] = list("abcdef")
    assert read_signs_file(path, None).classes == tuple("abcdef")
    content = path.read_bytes()
    size = content.index(b"GCOL") + 16 + 6 * 24 + 8
    path.write_bytes(content[:size] + bytes(8) + content[size + 8 :])
    with refused("x.h5: this HDF5 file is damaged; get it again .HDF5's library fails"):
        read_signs_file(path, None)


def test_a_fault_is_told(tmp_path, monkeypatch, capsys):
    """A reader that raises anything else, or says too much, does not pass."""
    name, content, read = fuzz_images.KINDS["PNG"]

    def say_too_much(path):
        if path.read_bytes() != content:
            raise InputError("x" * 301)
        return read(path)

    output = tmp_path / "rows.json"
    monkeypatch.setitem(fuzz_images.KINDS, "PNG", (name, content, say_too_much))
    monkeypatch.setattr("sys.argv", ["x", "--count=3", f"--output={output}", "PNG"])
    assert main("", (), ("refused", "equal"), fuzz_images.run) == 1
    assert "PNG 0 0: a line of 301 characters" in capsys.readouterr().err
    assert json.loads(output.read_text()) == [
        {"promise": "mutated PNG files", "n": 3, "faults": 3}
        | {"refused in one line": 0, "read equal": 0}
    ]
