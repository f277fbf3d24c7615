"""The pins are complete, and tracked files name no machine and no package index."""

import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from importlib.metadata import PackageNotFoundError, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

# What the pins stop at: jax itself names the exact plugin and driver libraries, and
# the programs that parity is proven against may be of any recent version.
UNPINNED_EXTRAS = {"aot-cuda", "aot-tpu", "baselines", "cuda", "parity", "tpu"}
# Written in pieces, so that this file does not match.
MACHINE_PATH = r"(?<![\w.~/-])/" + r"(?:home|root|tmp|work|Users)/\w"
PACKAGE_INDEX = (
    "pypi" + r"\.org|python" + r"hosted\.org|npmjs" + r"\.(?:org|com)"
    r"|(?:index|extra-index)" + r"-url|trusted" + "-host"
)
PINS: dict[str, list[Requirement]] = defaultdict(list)
for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
    if line and not line.startswith("#"):
        PINS[canonicalize_name(Requirement(line).name)].append(Requirement(line))


def applies(requirement: Requirement, **environment: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(environment)


def needed() -> set[str]:
    """Every distribution that signjax and its pinned extras lead to, of those here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
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
                found = map(Requirement, requires(name) or [])
            except PackageNotFoundError:  # of an extra that is not installed here
                continue
            waiting += [other for other in found if applies(other, extra=extra)]
    return {name for name, _ in seen}


def test_every_dependency_is_pinned() -> None:
    assert needed() - PINS.keys() == set()


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_one_exact_pin_applies_to_each_python(python: str) -> None:
    for name, pins in PINS.items():
        chosen = [pin for pin in pins if applies(pin, python_version=python)]
        assert len(chosen) == 1, f"{name} on Python {python}: {chosen}"
        assert re.fullmatch(r"==[\w.]+", str(chosen[0].specifier)), str(chosen[0])


def test_pins_suit_the_python_that_runs_them() -> None:
    (pin,) = (pin for pin in PINS["jax"] if applies(pin))
    version = "0.10.2" if sys.version_info < (3, 12) else "0.12.0.1"
    assert str(pin.specifier) == f"=={version}"


@pytest.mark.parametrize(
    ("pattern", "text", "named"),
    [
        (MACHINE_PATH, "--workdir=/" + "tmp/run", True),
        (MACHINE_PATH, "runs/" + "tmp/x and https://a.org/" + "work/x", False),
        (PACKAGE_INDEX, "pip install --index" + "-url=mirror", True),
        (PACKAGE_INDEX, "pip install -c constraints.txt -e .", False),
    ],
)
def test_the_patterns_tell(pattern: str, text: str, named: bool) -> None:
    assert bool(re.search(pattern, text)) is named


def test_tracked_files_name_no_machine() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    names = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT).decode()
    for file in [ROOT / name for name in names.split("\0") if name]:
        text = file.read_bytes().decode(errors="ignore") if file.is_file() else ""
        assert not re.search(f"{MACHINE_PATH}|{PACKAGE_INDEX}", text), file
