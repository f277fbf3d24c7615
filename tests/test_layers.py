"""Imports go downward only, and few modules know the config's fields."""

import ast
import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import signjax

# A module may import what ranks below it, and the modules of its own package.
RANKS = {
    "__init__": 0,
    "errors": 1,
    "config": 2,
    "runtime": 2,
    "augment": 2,
    "ops": 2,
    "synthetic": 2,
    "models": 3,
    "optim": 3,
    "state": 3,
    "data": 4,
    "step": 4,
    "hands": 5,
    "experiment": 6,
    "workdir": 7,
    "evaluation": 8,
    "pretrained": 8,
    "loop": 8,
    "train": 9,
    "benchmark": 9,
    "export": 9,
    "commands": 10,
}
MAIN_IMPORTS = {"absl", "ml_collections", "signjax.errors", "signjax.commands"}
CONFIG_IMPORTS = {"configs", "ml_collections", "signjax.config"}
CONFIG_NAMES = {"config", "cfg"}
# These unpack a config's groups; all below them take plain values.
CONFIG_READERS = {
    "config.py",
    "data/load.py",
    "experiment.py",
    "workdir.py",
    "evaluation/final.py",
    "pretrained/load.py",
    "train.py",
    "benchmark/sweep.py",
    "export/trained.py",
    "commands/train.py",
    "commands/evaluate.py",
}
# These hand the config on as a whole, to be stored, compared or copied.
WHOLE_CONFIG_METHODS = {"copy", "items", "keys", "to_dict", "to_json", "values"}
WHOLE_CONFIG_METHODS |= {"update_from_flattened_dict"}


def imported_modules(path: str, source: str) -> Iterator[tuple[int, str]]:
    """Yields (line, dotted name) for each import in the file, nested ones too.

    `from a import b` gives `a.b`: whether b is a module is not asked.
    """
    package = path.split("/")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            prefix = [*base, node.module] if node.module else base
            for alias in node.names:
                yield node.lineno, ".".join([*prefix, alias.name])


def layer(path: str) -> str:
    """The layer of a file under signjax/: its package, or its own name."""
    return path.split("/")[1].removesuffix(".py")


def within(name: str, allowed: set[str]) -> bool:
    """Is the dotted name one of the allowed modules, in one, or in the stdlib?"""
    parents = [name.rsplit(".", n)[0] for n in range(name.count(".") + 1)]
    return parents[-1] in sys.stdlib_module_names or not allowed.isdisjoint(parents)


def goes_down(importer: str, name: str) -> bool:
    """May a module of the layer `importer` import signjax's module `name`?"""
    imported = name.split(".")[1] if "." in name else "__init__"
    if imported == importer:
        return True
    return RANKS.get(imported, len(RANKS)) < RANKS.get(importer, 0)


def import_violations(files: dict[str, str]) -> list[str]:
    """Names each import that goes upward or sideways, as `path:line imports name`.

    Args:
        files: source text by path from the repository's root, with slashes.
    """
    found = []
    for path, source in files.items():
        for line, name in imported_modules(path, source):
            top = name.split(".")[0]
            if path == "main.py":
                allowed = within(name, MAIN_IMPORTS)
            elif path.startswith("configs/"):
                allowed = within(name, CONFIG_IMPORTS)
            elif top == "signjax":
                allowed = goes_down(layer(path), name)
            else:
                allowed = top not in {"main", "configs", "tests", "benchmarks"}
            if not allowed:
                found.append(f"{path}:{line} imports {name}")
    return found


def is_config(node: ast.expr) -> bool:
    """`config`, or an attribute of that name; jax.config is not meant."""
    match node:
        case ast.Name(id=name):
            return name in CONFIG_NAMES
        case ast.Attribute(value=ast.Name(id="jax")):
            return False
        case ast.Attribute(attr=name):
            return name in CONFIG_NAMES
    return False


def config_reads(source: str) -> Iterator[tuple[int, str]]:
    """Yields (line, what) for each use of a config's field."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=value, attr=name) if is_config(value):
                if name not in WHOLE_CONFIG_METHODS:
                    yield node.lineno, f"reads config.{name}"
            case ast.Subscript(value=value) if is_config(value):
                yield node.lineno, f"reads config[{ast.unparse(node.slice)}]"
            case ast.Call(
                func=ast.Name(id="getattr" | "field" as reader), args=[value, *_]
            ) if is_config(value):
                yield node.lineno, f"reads config by {reader}"


def config_violations(files: dict[str, str]) -> list[str]:
    """Names each reader of a config's field other than CONFIG_READERS."""
    found = []
    for path, source in files.items():
        name = path.removeprefix("signjax/")
        if name != path and name not in CONFIG_READERS:
            found += [f"{path}:{line} {what}" for line, what in config_reads(source)]
    return found


def source_files(root: Path) -> dict[str, str]:
    paths = [root / "main.py", *root.glob("configs/**/*.py")]
    paths += root.glob("signjax/**/*.py")
    return {
        path.relative_to(root).as_posix(): path.read_text("utf-8")
        for path in sorted(paths)
    }


def test_imports_go_downward(root: Path) -> None:
    assert import_violations(source_files(root)) == []


def test_few_modules_read_the_config(root: Path) -> None:
    assert config_violations(source_files(root)) == []


def test_every_layer_has_a_rank(root: Path) -> None:
    layers = {layer(path) for path in source_files(root) if path.startswith("signjax/")}
    assert layers <= RANKS.keys()


@pytest.mark.parametrize(
    ("path", "statement"),
    [
        ("main.py", "import jax"),
        ("main.py", "from signjax import loop"),
        ("configs/cnn.py", "from signjax.models import cnn"),
        ("signjax/__init__.py", "from signjax import train"),
        ("signjax/errors.py", "from signjax.data import signs"),
        ("signjax/models/cnn.py", "from ..data import signs"),
        ("signjax/runtime/files.py", "import signjax.state"),
        ("signjax/loop.py", "def late():\n  from signjax.commands import train"),
        ("signjax/synthetic/hand.py", "from signjax.data import dataset"),
        ("signjax/train.py", "import main"),
        ("signjax/train.py", "from signjax.utils import helper"),
    ],
)
def test_an_upward_import_is_named(path: str, statement: str) -> None:
    (violation,) = import_violations({path: statement})
    assert violation.startswith(f"{path}:")


@pytest.mark.parametrize(
    ("path", "statement"),
    [
        ("main.py", "import sys\nfrom signjax.commands import cli"),
        ("configs/resnet.py", "import ml_collections\nfrom configs import cnn"),
        ("signjax/data/signs.py", "import h5py\nfrom .dataset import Dataset"),
        ("signjax/step.py", "from signjax.augment import geometry"),
        ("signjax/commands/train.py", "from .. import train, errors"),
    ],
)
def test_a_downward_import_passes(path: str, statement: str) -> None:
    assert import_violations({path: statement}) == []


@pytest.mark.parametrize(
    "statement",
    [
        "rate = config.optim.learning_rate",
        "rate = config['optim']",
        "rate = config.get('rate', 0.1)",
        "rate = getattr(config, 'rate')",
        "rate = field(config, 'optim.rate')",
        "rate = run.config.optim.learning_rate",
        "rate = field(self.config, 'optim.rate')",
        "def epochs(cfg): return cfg.train.epochs",
    ],
)
def test_a_config_read_is_named(statement: str) -> None:
    for path in ("signjax/loop.py", "signjax/data/signs.py"):
        (violation,) = config_violations({path: statement})
        assert violation.startswith(f"{path}:")


@pytest.mark.parametrize(
    ("path", "statement"),
    [
        ("signjax/experiment.py", "rate = config.optim.rate"),
        ("signjax/loop.py", "store(run.config.to_dict())"),
        ("signjax/models/cnn.py", "jax.config.update('jax_enable_x64', True)"),
    ],
)
def test_a_config_passed_whole_is_fine(path: str, statement: str) -> None:
    assert config_violations({path: statement}) == []


def test_main_is_thin(root: Path) -> None:
    assert len((root / "main.py").read_text("utf-8").splitlines()) <= 60


@pytest.mark.smoke
def test_every_module_imports() -> None:
    for module in pkgutil.walk_packages(signjax.__path__, "signjax."):
        importlib.import_module(module.name)
