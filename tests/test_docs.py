"""README.md and docs/ name links, files, keys and flags that exist, in few words."""

import re
from importlib import import_module
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from signjax.commands.cli import FLAGS, MODES
from signjax.config import default_config
from tests.conftest import ROOT

PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("*s/README.md"), *ROOT.glob("docs/**/*.md")]
)
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
# train.csv is a file, not a key.
SUFFIXES = set("csv json md npy onnx py safetensors sh stablehlo".split())
UNLEARNED = (
    "drawn hands", "given up", "no class", "stranger", "other people", "twins",
    "relight", "framing", "nearly a point", "taken for none", "peer",
)  # fmt: skip


def config_keys(group: ConfigDict | None = None, prefix: str = "") -> set[str]:
    """Dotted names of all keys and groups."""
    keys = set()
    for name, value in (group or default_config()).items():
        keys.add(prefix + name)
        if isinstance(value, ConfigDict):
            keys |= config_keys(value, f"{prefix}{name}.")
    return keys


def code(text: str) -> str:
    """The fenced and inline code of a page, a line broken by a backslash as one."""
    text = re.sub(r" \\\n\s*", " ", text)
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return "\n".join(fenced + re.findall(r"`([^`\n]+)`", rest))


@pytest.fixture(params=PAGES, ids=NAMES)
def page(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_the_readme_is_short(root: Path) -> None:
    text = (root / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 150
    assert len(text.split()) <= 1300


def test_the_reading_path_is_short(root: Path) -> None:
    text = (root / "README.md").read_text("utf-8")
    # The rows of a table of two columns: file, what it is.
    files = re.findall(r"^\| `([\w/]+\.py)` \| [^|]*\|$", text, re.MULTILINE)
    assert 8 <= len(files) <= 9
    lines = [len((root / name).read_text("utf-8").splitlines()) for name in files]
    assert sum(lines) <= 900, dict(zip(files, lines, strict=True))


def test_links_resolve(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_named_files_exist(page: Path, root: Path) -> None:
    """All but templates (NAME.py) of the tracked folders."""
    found = re.findall(
        r"(?<![\w/.-])((?:signjax|configs|docs|tests|benchmarks|experiments|\.ci)/"
        r"[\w/.-]*\w)",
        code(page.read_text("utf-8")),
    )
    paths = [name for name in found if not re.search(r"[A-Z]{3}", name)]
    assert [name for name in paths if not (root / name).exists()] == []


def test_named_keys_exist(page: Path) -> None:
    text = code(page.read_text("utf-8"))
    named = set(re.findall(r"(?<![\w/.])config\.([a-z_]+(?:\.[a-z_]+)?)(?!\w)", text))
    groups = {key for key in config_keys() if "." not in key}
    for word in re.findall(r"(?<![\w/.-])([a-z]+\.[a-z_]+)(?![\w(/.])", text):
        if word.split(".")[0] in groups and word.split(".")[1] not in SUFFIXES:
            named.add(word)
    assert named - config_keys() - SUFFIXES == set()


def test_named_flags_exist(page: Path) -> None:
    text = code(page.read_text("utf-8"))
    commands = re.findall(r"main\.py(.*)", text)
    if page.parent.name not in ("benchmarks", "experiments"):  # with flags of their own
        commands += re.findall(r"^--.*", text, re.MULTILINE)
    flags = re.findall(r"(?<![\w-])--([a-z_]+)(?![\w.])", " ".join(commands))
    assert set(flags) - FLAGS.keys() - {"help", "version"} == set()
    assert set(re.findall(r"--mode=([a-z]+)", text)) <= MODES.keys()


def test_documented_functions_exist(root: Path) -> None:
    text = (root / "docs" / "reference" / "api.md").read_text("utf-8")
    names = re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE)
    assert names
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert getattr(import_module(module), attribute).__doc__, name


def test_named_functions_stand_where_the_pages_say(page: Path, root: Path) -> None:
    text = page.read_text("utf-8")
    found = re.findall(r"`(signjax/[\w/]+\.py)`, `(\w+)`", text)
    found += [
        (file, name)
        for name, file in re.findall(r"`(\w+)` (?:in|of) `(signjax/[\w/]+\.py)`", text)
    ]
    for file, name in found:
        assert re.search(rf"^(def |class |){name}\b", (root / file).read_text(), re.M)


def test_the_words_are_the_field_s(page: Path) -> None:
    text = re.sub(r"\s+", " ", page.read_text("utf-8"))
    assert [words for words in UNLEARNED if words in text] == []


RECIPES = ("cnn", "resnet", "resnet_pretrained", "digits", "hands")


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_say_what_they_reach(root: Path, name: str) -> None:
    """As README's table does, which a test holds against the result files."""
    text = (root / "README.md").read_text("utf-8")
    row = re.search(rf"^\| `configs/{name}\.py`.*$", text, re.MULTILINE)
    assert row
    header = (root / "configs" / f"{name}.py").read_text("utf-8").split('"""')[1]
    figures = re.findall(r"[01]\.\d+ ± 0\.\d+", row[0])
    assert len(figures) == 2
    assert [figure for figure in figures if figure not in header] == []
