"""Damaged files of every kind are read or refused in one line, whatever is in them."""

import h5py
import pytest

from signjax.data.signs import read_signs_file
from signjax.errors import InputError
from tests.data import fuzz_images


@pytest.mark.parametrize("kind", fuzz_images.KINDS)
def test_a_mutated_file_is_read_or_refused_in_one_line(kind: str) -> None:
    outcomes, faults = fuzz_images.run(kind, 12, seed=1)
    assert faults == [] and outcomes.total() == 12
    assert outcomes["refused"]


def test_names_of_several_kinds_in_an_hdf5_file_are_listed(tmp_path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_group("text")
        file.create_group(b"\xff\xfe")
    with pytest.raises(InputError, match="no array list_classes"):
        read_signs_file(path, None)


def test_a_fault_is_told(tmp_path) -> None:
    """A reader that raises anything else, or says too much, does not pass."""
    _, sound, _ = fuzz_images.KINDS["PNG"]

    def refuse_at_length(path: object) -> None:
        raise InputError("x" * 301)

    with pytest.raises(ValueError, match="a line of 301 characters"):
        fuzz_images.outcome(tmp_path, refuse_at_length, sound)  # type: ignore[arg-type]
