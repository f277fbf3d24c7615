"""The figures in README.md and docs/ are those of the committed result files."""

from pathlib import Path

import pytest

from benchmarks.tables import PAGES, redraw


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_shows_what_the_result_files_hold(page: Path) -> None:
    text = page.read_text()
    assert text.count("<!-- table:") >= 1
    assert redraw(text) == text
