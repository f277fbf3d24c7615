"""Gathers 271 pictures without a hand, which came with packages of the Python index.

    python -m experiments.photographs FOLDER

photographs.csv lists them: scenes, animals, buildings, faces and photographed textures,
each looked at, none used to choose anything, none a second of another. The packages are
downloaded by pip (0.5 GB), not installed, and the pictures taken out of them; theirs is
the licence, which is why they are not part of this repository. Every picture is checked
by its sha256.
"""

import argparse
import csv
import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import defaultdict
from pathlib import Path

LIST = Path(__file__).parent / "photographs.csv"

# The one wheel that differs between machines.
_PLATFORM = (
    "--python-version=3.11",
    "--implementation=cp",
    "--abi=cp311",
    "--platform=manylinux2014_x86_64",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="to put them into")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    wanted: dict[tuple[str, str, str], dict[str, str]] = defaultdict(dict)
    with LIST.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            package = (row["package"], row["version"], row["kind"])
            wanted[package][row["member"]] = row["sha256"]
    for (name, version, kind), members in wanted.items():
        with tempfile.TemporaryDirectory() as place:
            archive = download(f"{name}=={version}", kind, Path(place))
            found = read(archive, members)
            if missing := members.keys() - {member for member, _ in found}:
                raise SystemExit(f"{archive.name}: no {min(missing)} in it")
            for member, content in found:
                if hashlib.sha256(content).hexdigest() != members[member]:
                    raise SystemExit(f"{archive.name}: {member} is another picture")
                flat = re.sub(r"[^A-Za-z0-9._-]", "_", member)
                (folder / f"{name}__{flat}").write_bytes(content)
        print(f"{name} {version}: {len(members)} pictures", flush=True)


def download(package: str, kind: str, place: Path) -> Path:
    """The archive of a package, such as pillow==11.0.0, of kind wheel or sdist."""
    chosen = (
        ("--only-binary=:all:", *_PLATFORM)
        if kind == "wheel"
        else (f"--no-binary={package.split('==')[0]}",)
    )
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run([*command, *chosen, f"--dest={place}", package], check=True)
    (archive,) = place.iterdir()
    return archive


def read(archive: Path, members: dict[str, str]) -> list[tuple[str, bytes]]:
    """The names and contents of some members of a zip or tar archive."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as packed:
            present = members.keys() & set(packed.namelist())
            return [(member, packed.read(member)) for member in present]
    # From front to back: to go back in a compressed archive is to read it anew.
    with tarfile.open(archive) as packed:
        return [
            (entry.name, file.read())
            for entry in packed
            if entry.name in members and (file := packed.extractfile(entry))
        ]


if __name__ == "__main__":
    main()
