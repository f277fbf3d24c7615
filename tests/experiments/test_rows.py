"""Result files hold rows of the recipes as they are, and of no others."""

from pathlib import Path
from typing import Any

import pytest

from configs import resnet
from experiments.rows import add_row, read_rows, recipe_sha256
from signjax.config import default_config


def test_a_recipe_is_told_by_what_it_sets_and_what_overrides_it() -> None:
    found = recipe_sha256("resnet.py")
    assert recipe_sha256("resnet.py:seed") != found
    epochs = resnet.get_config().train.epochs
    assert recipe_sha256("resnet.py", [f"--config.train.epochs={epochs}"]) == found
    fewer = recipe_sha256("resnet.py", [f"--config.train.epochs={epochs - 1}"])
    assert fewer != found


def test_a_key_that_is_new_and_off_changes_no_recipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def with_new_key() -> Any:
        config = default_config()
        config.train.unlock()
        config.train.momentous = 0.0
        return config

    found = recipe_sha256("resnet.py")
    monkeypatch.setattr(resnet, "default_config", with_new_key)
    monkeypatch.setattr("experiments.rows.default_config", with_new_key)
    assert recipe_sha256("resnet.py") == found
    on = recipe_sha256("resnet.py", ["--config.train.momentous=0.5"])
    assert on != found


def test_rows_of_a_recipe_that_changed_are_not_mixed_with_new_ones(
    tmp_path: Path,
) -> None:
    file = tmp_path / "scores.json"
    assert read_rows(file, []) == []
    rows = [{"config": "a.py", "recipe_sha256": "1"}]
    rows += [{"config": "b.py", "recipe_sha256": "2"}]
    for row in rows:
        add_row(file, row)
    assert read_rows(file, ["1", "2"]) == rows
    with pytest.raises(SystemExit, match=r"scores.json: rows of b.py .*delete them"):
        read_rows(file, ["1", "3"])
