"""Reading .tflite files: what is refused, and in which words."""

from pathlib import Path

import numpy as np
import pytest

from signjax.errors import InputError
from signjax.hands.network import read_network
from signjax.hands.tflite import read_tflite
from tests.hands import fuzz_networks
from tests.helpers.tflite_files import Step, Tensor, small_network, write_tflite

INPUT = Tensor("in", (1, 4, 4, 3))
OUTPUT = Tensor("out", (1, 4, 4, 3))
LOGISTIC = 14


def refusal(tmp_path: Path, content: bytes) -> str:
    path = tmp_path / "x.tflite"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_network(path, (1, 4, 4, 3), [(1, 4, 4, 3)])
    text = str(caught.value)
    assert text.startswith(str(path)) and text.isprintable() and len(text) <= 300
    return text


def test_float16_constants_become_float32(tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"
    path.write_bytes(small_network())
    graph, params = read_tflite(path)
    assert {value.dtype for value in params.values()} == {np.dtype(np.float32)}
    assert params["stem/w"].shape == (5, 5, 3, 4)
    assert not any("half" in name for name in params)
    assert graph.outputs == ("joined", "reshaped", "sigmoid")


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([Step(51, ["in"], "out")], "operation 51 is not known"),
        ([Step(LOGISTIC, ["out"], "out")], "not computed before"),
        ([Step(0, ["in", "in"], "out", {0: ("<b", 2)})], "activation of code 2"),
        (
            [Step(LOGISTIC, ["in"], "out"), Step(LOGISTIC, ["in"], "out")],
            "computed twice",
        ),
        ([Step(2, ["in", "in"], "out", {0: ("<i", 3)})], "gives (1, 4, 4, 6)"),
        (
            [
                Step(
                    17,
                    ["in"],
                    "out",
                    {i: ("<i", 0) for i in (1, 2, 3, 4)},
                )
            ],
            "a window of (0, 0)",
        ),
    ],
    ids=["operation", "order", "activation", "twice", "shape", "window"],
)
def test_what_cannot_be_computed_is_named(
    tmp_path: Path, steps: list[Step], words: str
) -> None:
    content = write_tflite([INPUT, OUTPUT], steps, ["in"], ["out"])
    assert words in refusal(tmp_path, content)


def test_another_network_is_refused_by_its_shapes(tmp_path: Path) -> None:
    assert "expected (1, 4, 4, 3)" in refusal(tmp_path, small_network())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html>", "a saved web page"),
        (b"\0\0\0\0TFL3", "cannot be read as a .tflite network"),
        (b"\xff\xff\xff\xffTFL3", "leads to byte 4,294,967,295 of 8"),
    ],
    ids=["empty", "page", "head", "offset"],
)
def test_other_files_are_told(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in refusal(tmp_path, content)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file.*expected a .tflite"):
        read_tflite(tmp_path / "absent.tflite")


def test_a_tensor_larger_than_its_bytes_is_refused(tmp_path: Path) -> None:
    values = np.zeros((1, 4, 4, 3), np.float32)
    huge = Tensor("w", (1 << 12, 1 << 12), values)
    content = write_tflite([INPUT, OUTPUT, huge], [], ["in"], ["out"])
    assert "192 bytes for a tensor of shape (4096, 4096)" in refusal(tmp_path, content)


def test_mutated_files_are_read_or_refused_in_one_line() -> None:
    outcomes, faults = fuzz_networks.run("tflite", 60, seed=1)
    assert faults == []
    assert outcomes.total() == 60
    assert outcomes["refused"] > 20
