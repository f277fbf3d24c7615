"""The pins are complete, and tracked files name no machine and no package index."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# What the pins stop at: jax itself names the exact plugin and driver libraries, and
# the programs that parity is proven against may be of any recent version.
UNPINNED_EXTRAS = {"aot-cuda", "aot-tpu", "baselines", "cuda", "parity", "tpu"}
# Written in pieces, so that this file does not match.
MACHINE_PATH = re.compile(r"(?<![\w.~/-])/" + r"(?:home|root|tmp|work|Users)/\w")
PACKAGE_INDEX = re.compile(
    "pypi" + r"\.org|python" + r"hosted\.org|npmjs" + r"\.(?:org|com)"
    r"|(?:index|extra-index)" + r"-url|trusted" + "-host"
)


def read_pins(root: Path) -> dict[str, list[Requirement]]:
    pins: dict[str, list[Requirement]] = {}
    for line in (root / "constraints.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            pins.setdefault(canonicalize_name(pin.name), []).append(pin)
    return pins


def applies(requirement: Requirement, extra: str, python: str | None = None) -> bool:
    version = {"python_version": python} if python else {}
    environment = {**default_environment(), **version, "extra": extra}
    return requirement.marker is None or requirement.marker.evaluate(environment)


def needed(root: Path) -> set[str]:
    """Every distribution that signjax and its pinned extras lead to, of those here."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [line for name in extras.keys() - UNPINNED_EXTRAS for line in extras[name]]
    waiting = [Requirement(line) for line in [*project["dependencies"], *lines]]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if name == "signjax" or (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                lines = requires(name) or []
            except PackageNotFoundError:  # An extra that is not installed here.
                continue
            found = [Requirement(line) for line in lines]
            waiting += [other for other in found if applies(other, extra)]
    return {name for name, _ in seen}


def tracked_files(root: Path) -> list[Path]:
    if not (root / ".git").exists():
        pytest.skip("not a git checkout")
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True
    )
    paths = [root / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_every_dependency_is_pinned(root: Path) -> None:
    assert needed(root) - read_pins(root).keys() == set()


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_one_exact_pin_applies_to_each_python(root: Path, python: str) -> None:
    for name, pins in read_pins(root).items():
        chosen = [pin for pin in pins if applies(pin, "", python)]
        assert len(chosen) == 1, f"{name} on Python {python}: {chosen}"
        assert re.fullmatch(r"==[\w.]+", str(chosen[0].specifier)), str(chosen[0])


def test_pins_suit_the_python_that_runs_them(root: Path) -> None:
    jax_pins = read_pins(root)["jax"]
    (pin,) = [pin for pin in jax_pins if applies(pin, "")]
    assert str(pin.specifier) == (
        "==0.10.2" if sys.version_info < (3, 12) else "==0.12.0.1"
    )


@pytest.mark.parametrize(
    ("pattern", "text", "named"),
    [
        (MACHINE_PATH, "--workdir=/" + "tmp/run", True),
        (MACHINE_PATH, "'/" + "home/me/data'", True),
        (MACHINE_PATH, "runs/" + "tmp/x and https://a.org/" + "work/x", False),
        (PACKAGE_INDEX, "https://pypi" + ".org/simple", True),
        (PACKAGE_INDEX, "pip install --index" + "-url=mirror", True),
        (PACKAGE_INDEX, "pip install -c constraints.txt -e .", False),
    ],
)
def test_the_patterns_tell(pattern: re.Pattern[str], text: str, named: bool) -> None:
    assert bool(pattern.search(text)) is named


@pytest.mark.parametrize(
    "pattern", [MACHINE_PATH, PACKAGE_INDEX], ids=["path", "index"]
)
def test_tracked_files_name_no_machine(root: Path, pattern: re.Pattern[str]) -> None:
    found = []
    for path in tracked_files(root):
        text = path.read_bytes().decode("utf-8", errors="ignore")
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(root)}:{number} {line.strip()[:80]}")
    assert found == []
