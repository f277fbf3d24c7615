"""The figures in README.md are those of the committed result files."""

from pathlib import Path

from benchmarks.tables import redraw


def test_the_readme_shows_what_the_result_files_hold(root: Path) -> None:
    text = (root / "README.md").read_text()
    assert text.count("<!-- table:") >= 1
    assert redraw(text) == text
