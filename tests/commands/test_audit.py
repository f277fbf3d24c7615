"""--mode=audit: lines for a person, JSON for a program, an error for a wrong path."""

import json
from pathlib import Path

import pytest

from signjax.commands.cli import Options, run
from signjax.data.audit import audit
from signjax.errors import InputError
from tests.helpers.datasets import paint_classes


def test_findings_are_printed_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = paint_classes(tmp_path / "photos", {"a": 2, "b": 1})
    output = tmp_path / "audit.json"
    run(Options("audit", data=str(folder), output=str(output)))
    assert "photos: 3 images (all 3)" in capsys.readouterr().out
    assert json.loads(output.read_text()) == audit(str(folder))


@pytest.mark.parametrize(
    ("path", "told"), [("", "--data is missing"), ("nowhere", "nowhere: no such file")]
)
def test_a_wrong_path_is_an_input_error(path: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        run(Options("audit", data=path))
