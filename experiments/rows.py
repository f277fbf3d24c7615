"""The rows of result files: what each says of its run, and which may stand together."""

import ast
import hashlib
import importlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from signjax.config import default_config

RESULTS = Path(__file__).parent / "results"


def recipe_sha256(config: str, overrides: Sequence[str] = ()) -> str:
    """The digest of what configs/`config`, overridden, sets to other than the default.

    config: with a variant, if any, as resnet.py:seed. A key that is new and off by
    default leaves it as it was.
    """
    file, _, variant = config.partition(":")
    module = importlib.import_module(f"configs.{file.removesuffix('.py')}")
    values = _flat(module.get_config(variant).to_dict())
    for override in overrides:
        key, _, value = override.removeprefix("--config.").partition("=")
        kind = type(values[key])
        values[key] = value if kind is str else kind(ast.literal_eval(value))
    default = _flat(default_config().to_dict())
    changed = {key: value for key, value in values.items() if value != default[key]}
    return hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def read_rows(file: Path, recipes: Collection[str]) -> list[dict[str, Any]]:
    """The rows of a result file, none if it is not there.

    recipes: the digests of all that may be in it. Ends the program where a row is of
    another, so that a recipe and what it was before are not mixed.
    """
    rows = json.loads(file.read_text()) if file.exists() else []
    stale = {row["config"] for row in rows if row["recipe_sha256"] not in recipes}
    if stale:
        raise SystemExit(
            f"{file}: rows of {', '.join(sorted(stale))} as it was before it changed; "
            "delete them, as git keeps them, and run its seeds anew"
        )
    return rows


def add_row(file: Path, row: Mapping[str, Any]) -> None:
    """Adds a row to a result file, which has one a line."""
    rows = json.loads(file.read_text()) if file.exists() else []
    lines = ",\n".join(json.dumps(each) for each in [*rows, row])
    file.write_text(f"[\n{lines}\n]\n")


def sha256(path: Path) -> str:
    """The digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
