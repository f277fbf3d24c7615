"""Every config file, in every variant, is complete and legal."""

import importlib.util
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ml_collections import ConfigDict

from signjax.config import check, default_config
from signjax.errors import InputError

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "configs").glob("*.py"))


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def from_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


def variants(path: Path) -> list[str]:
    """The default and what the file compares its argument with."""
    return ["", *re.findall(r"variant == \"(\w+)\"", path.read_text("utf-8"))]


CASES = [
    pytest.param(path, variant, id=f"{path.stem}:{variant}")
    for path in FILES
    for variant in variants(path)
]


def keys(config: ConfigDict) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            found |= {f"{name}.{key}": x for key, x in keys(value).items()}
        else:
            found[name] = value
    return found


def test_both_networks_and_their_seed_variants_are_there() -> None:
    found = {case.id for case in CASES}
    assert {"cnn:", "cnn:seed", "resnet:", "resnet:seed"} <= found


@pytest.mark.parametrize(("path", "variant"), CASES)
def test_it_is_legal(path: Path, variant: str) -> None:
    check(load(path).get_config(variant))


@pytest.mark.parametrize(("path", "variant"), CASES)
def test_it_has_the_keys_and_types_of_the_default(path: Path, variant: str) -> None:
    base = keys(default_config())
    found = keys(load(path).get_config(variant))
    assert found.keys() == base.keys()
    assert {key: type(value) for key, value in found.items()} == {
        key: type(value) for key, value in base.items()
    }


@pytest.mark.parametrize(("path", "variant"), CASES)
def test_its_name_is_that_of_its_workdir(path: Path, variant: str) -> None:
    expected = "-".join(filter(None, (path.stem, variant)))
    assert load(path).get_config(variant).name == expected


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_an_unknown_variant_is_refused_by_name(path: Path) -> None:
    with pytest.raises(ValueError, match=r"'nonsense'.*it has"):
        load(path).get_config("nonsense")


def test_every_key_is_explained() -> None:
    lines = (ROOT / "signjax" / "config.py").read_text("utf-8").splitlines()
    assigned = [line for line in lines if re.match(r"    \w+\.\w+ = [^C]*$", line)]
    assert len(assigned) >= 30
    assert [
        line for line in assigned if "#" not in line and " config." not in line
    ] == []


def test_a_config_is_read_without_loading_jax() -> None:
    program = (
        "import sys; from configs import cnn, resnet; "
        "cnn.get_config(); resnet.get_config(); print('jax' in sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert ended.stdout == "False\n", ended.stderr


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", ""),
        ("name", ".."),
        ("name", "../elsewhere"),
        ("name", "runs\\resnet"),
        ("seed", -1),
        ("seed", 2**32),  # jax.random.key(2**32) is that of 0
        ("optimizer.learning_rate", math.nan),
        ("optimizer.learning_rate", math.inf),
        ("optimizer.learning_rate", 0.0),
        ("optimizer.weight_decay", math.nan),
        ("optimizer.weight_decay", math.inf),
        ("optimizer.weight_decay", -0.1),
        ("optimizer.warmup_epochs", math.inf),
        ("optimizer.epsilon", math.inf),
        ("train.label_smoothing", math.nan),
        ("train.label_smoothing", 1.0),
        ("augment.scale", math.inf),
        ("augment.scale", 2.0),
        ("data.mean", (0.5, math.nan, 0.5)),
        ("data.std", (1.0, 1.0, math.inf)),
    ],
)
def test_a_value_out_of_range_is_named_with_its_key(key: str, value: Any) -> None:
    config: Any = default_config()
    config.update_from_flattened_dict({key: value})
    with pytest.raises(InputError) as error:
        check(config)
    assert str(error.value).startswith(f"config.{key} is {value!r}: expected ")


@pytest.mark.parametrize(
    ("key", "value"),
    [("name", "my run, é 2"), ("seed", 2**32 - 1), ("optimizer.weight_decay", 0.0)],
)
def test_the_last_legal_value_passes(key: str, value: Any) -> None:
    config: Any = default_config()
    config.update_from_flattened_dict({key: value})
    check(config)
