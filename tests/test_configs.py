"""Every file of configs/, in every variant, is legal and named after itself."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from signjax.config import KEYS, check, field

FILES = sorted((Path(__file__).parents[1] / "configs").glob("[!_]*.py"))
CASES = [
    (path.stem, variant)
    for path in FILES
    for variant in ["", *re.findall(r"variant == \"(\w+)\"", path.read_text("utf-8"))]
]


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_it_is_legal_and_named_after_its_file(name: str, variant: str) -> None:
    config = import_module(f"configs.{name}").get_config(variant)
    check(config)
    assert config.name == "-".join(filter(None, (name, variant)))
    types = {key: type(field(config, key)) for key in KEYS}
    assert types == {name: type(key.default) for name, key in KEYS.items()}


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_an_unknown_variant_is_refused_by_name(path: Path) -> None:
    with pytest.raises(ValueError, match=rf"{path.name} has no variant 'sed'.*it has"):
        import_module(f"configs.{path.stem}").get_config("sed")


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_the_header_says_how_to_run_and_what_it_reaches(path: Path) -> None:
    header = path.read_text("utf-8").split('"""')[1]
    assert f"python main.py --config=configs/{path.name}" in header
