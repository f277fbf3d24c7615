"""Imports go downward only, and few modules know the config's fields."""

import ast
import importlib
import pkgutil
import sys
from collections.abc import Iterator

import pytest

import signjax
from tests.conftest import ROOT

# A module may import what ranks below it, and the modules of its own package.
ORDER = (
    "__version__", "errors", "config runtime", "augment ops synthetic", "models",
    "data", "optim state", "step", "hands", "view", "experiment", "workdir",
    "evaluation pretrained", "loop", "benchmark export train", "commands",
)  # fmt: skip
RANKS = {name: rank for rank, names in enumerate(ORDER) for name in names.split()}
MAIN_IMPORTS = ("signjax.commands", "signjax.errors", "signjax.runtime.console")
# These unpack a config's groups; all others take plain values.
CONFIG_READERS = {
    "config.py", "data/load.py", "view.py", "experiment.py", "workdir.py",
    "evaluation/final.py",
    "pretrained/load.py", "train.py", "benchmark/sweep.py", "commands/train.py",
    "export/trained.py",
}  # fmt: skip
# Which all may call, to store, compare or copy it.
OF_A_WHOLE_CONFIG = {"copy", "to_dict", "update_from_flattened_dict"}
SOURCES = [ROOT / "main.py", *ROOT.glob("configs/*.py"), *ROOT.glob("signjax/**/*.py")]


def imports(path: str, source: str) -> Iterator[str]:
    """Dotted names, of nested imports too; `from a import b` gives a.b."""
    package = path.split("/")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            base += [node.module] if node.module else []
            yield from (".".join([*base, alias.name]) for alias in node.names)


def may_import(path: str, name: str) -> bool:
    top, *rest = name.split(".")
    if path == "main.py":
        return top in sys.stdlib_module_names or name.startswith(MAIN_IMPORTS)
    if path.startswith("configs/"):
        return name.startswith(("configs", "signjax.config"))
    if top != "signjax":
        return top not in {"main", "configs", "tests", "benchmarks", "experiments"}
    importer, imported = path.split("/")[1].removesuffix(".py"), [*rest, "__version__"]
    if importer == imported[0]:
        return True
    return RANKS.get(imported[0], len(RANKS)) < RANKS.get(importer, 0)


def config_reads(source: str) -> Iterator[str]:
    """The expressions that read a field of what is called config; not jax.config."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=value, attr=name) if name not in OF_A_WHOLE_CONFIG:
                pass
            case ast.Subscript(value=value):
                pass
            case ast.Call(func=ast.Name(id="getattr" | "field"), args=[value, *_]):
                pass
            case _:
                continue
        text = ast.unparse(value)
        if text.split(".")[-1] in ("config", "cfg") and text != "jax.config":
            yield ast.unparse(node)


def test_imports_go_downward() -> None:
    for file in SOURCES:
        path = file.relative_to(ROOT).as_posix()
        for name in imports(path, file.read_text("utf-8")):
            assert may_import(path, name), f"{path} imports {name}"


def test_few_modules_read_the_config() -> None:
    for file in ROOT.glob("signjax/**/*.py"):
        if file.relative_to(ROOT / "signjax").as_posix() not in CONFIG_READERS:
            assert [*config_reads(file.read_text("utf-8"))] == [], file


@pytest.mark.parametrize(
    ("path", "statement", "allowed"),
    [
        ("main.py", "import sys\nfrom signjax.commands import cli", True),
        ("main.py", "import jax", False),
        ("configs/resnet.py", "from configs import cnn", True),
        ("configs/cnn.py", "from signjax.models import cnn", False),
        ("signjax/__init__.py", "from signjax import train", False),
        ("signjax/data/signs.py", "import h5py\nfrom .dataset import Dataset", True),
        ("signjax/models/cnn.py", "from ..data import signs", False),
        ("signjax/commands/train.py", "from .. import train, errors", True),
        ("signjax/runtime/files.py", "import signjax.state", False),
        ("signjax/loop.py", "def late():\n  from signjax import commands", False),
        ("signjax/train.py", "import main", False),
        ("signjax/train.py", "from signjax.utils import helper", False),
        ("signjax/utils.py", "import signjax.errors", False),
    ],
)
def test_the_rule_tells_upward_from_downward(
    path: str, statement: str, allowed: bool
) -> None:
    assert all(may_import(path, name) for name in imports(path, statement)) is allowed


@pytest.mark.parametrize(
    ("statement", "reads"),
    [
        ("rate = config.optim.learning_rate", True),
        ("rate = self.config['optim']", True),
        ("rate = field(run.config, 'optim.rate')", True),
        ("def epochs(cfg): return cfg.train.epochs", True),
        ("store(run.config.to_dict())", False),
        ("jax.config.update('jax_enable_x64', True)", False),
    ],
)
def test_the_rule_tells_who_reads_a_field(statement: str, reads: bool) -> None:
    assert bool([*config_reads(statement)]) is reads


@pytest.mark.smoke
def test_every_module_imports() -> None:
    for module in pkgutil.walk_packages(signjax.__path__, "signjax."):
        importlib.import_module(module.name)
