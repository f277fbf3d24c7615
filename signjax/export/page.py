"""The page of an export: static files that work from any web server, and offline.

page/ beside this file holds its HTML, CSS and JavaScript; ONNX Runtime Web, which runs
the model in the browser, comes from its npm package.
"""

import os
import shutil
import subprocess
import tarfile
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from signjax.data.download import RemoteFile, fetch
from signjax.errors import InputError, RunError
from signjax.runtime.files import cache_directory, write_bytes, write_json, write_text
from signjax.runtime.machine import ROOT

VERSION = "1.30.0"
TARBALL = RemoteFile(
    name=f"onnxruntime-web-{VERSION}.tgz",
    mirrors=(),
    size=33_106_585,
    sha256="d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71",
)


class _Runtime(NamedTuple):
    """Where the browser computes: its name for people and for ONNX Runtime, the script
    of ONNX Runtime and the program that it loads.
    """

    name: str
    provider: str
    script: str
    program: str


_WEBASSEMBLY = _Runtime(
    "CPU (WebAssembly)",
    "wasm",
    "ort.wasm.bundle.min.mjs",
    "ort-wasm-simd-threaded.wasm",
)
_WEBGPU = _Runtime(
    "GPU (WebGPU)",
    "webgpu",
    "ort.webgpu.bundle.min.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
# A smaller network has answered before its photograph has come to the GPU.
_LEAST_FOR_WEBGPU = 8_000_000  # bytes of the model
_FILES = Path(__file__).parent / "page"
_PALM = "palm.onnx"
_MEDIAPIPE = f"""\
{_PALM} is the network palm_detection_full.tflite of MediaPipe Hands, written as ONNX by
signjax, with nodes before it that prepare a photograph and after it that place a box.
https://github.com/google-ai-edge/mediapipe
Copyright The MediaPipe Authors. Licensed under the Apache License, Version 2.0:

"""
_RUNTIME = "onnxruntime-web"

_LICENCE = f"""\
The files in this folder are of onnxruntime-web {VERSION}, unchanged.
https://github.com/microsoft/onnxruntime

"""


def onnxruntime_web() -> Path:
    """The package's tarball, in the cache; downloaded from npm's registry if need be.

    That is $NPM_CONFIG_REGISTRY or, without it, the one that npm is set up with. Raises
    InputError where neither names one, RunError where it cannot be downloaded.
    """
    directory = cache_directory()
    place = f"put {TARBALL.name} into {directory} (npm pack {_RUNTIME}@{VERSION})"
    address = _registry()
    if address is None and not (directory / TARBALL.name).is_file():
        raise InputError(
            f"the page needs {_RUNTIME} {VERSION}, and there is no npm that would tell "
            "where packages are: install npm, set NPM_CONFIG_REGISTRY=ADDRESS, or "
            f"{place}"
        )
    mirrors = [f"{address}/{_RUNTIME}/-/{TARBALL.name}"] if address else []
    try:
        return fetch(TARBALL._replace(mirrors=tuple(mirrors)), directory)
    except RunError as error:
        raise RunError(f"{error}. Without a network: {place}") from error


def _registry() -> str | None:
    """The address of the registry that the person has chosen, without a slash."""
    address = os.environ.get("NPM_CONFIG_REGISTRY")
    if not address and (npm := shutil.which("npm")):
        command = [npm, "config", "get", "registry"]
        told = subprocess.run(command, capture_output=True, text=True)
        address = told.stdout.strip()
    if not address or not address.startswith(("https://", "http://")):
        return None
    return address.rstrip("/")


def write_page(directory: Path, tarball: Path) -> None:
    """index.html and all that it loads, beside model.onnx and model.json.

    tarball: of `onnxruntime_web`. With palm.onnx beside them the page finds hands.
    """
    for file in _FILES.iterdir():
        write_bytes(directory / file.name, file.read_bytes())
    large = (directory / "model.onnx").stat().st_size >= _LEAST_FOR_WEBGPU
    runtimes = (_WEBGPU, _WEBASSEMBLY) if large else (_WEBASSEMBLY,)
    with tarfile.open(tarball) as archive:
        for name in (x for each in runtimes for x in (each.script, each.program)):
            member = archive.extractfile(f"package/dist/{name}")
            assert member is not None  # by the checksum
            write_bytes(directory / _RUNTIME / name, member.read())
    # Of one repository, so the text is that of the Python package too.
    text = (resources.files("onnxruntime") / "LICENSE").read_text()
    write_text(directory / _RUNTIME / "LICENSE.txt", _LICENCE + text)
    finds = (directory / _PALM).exists()
    if finds:
        licence = (ROOT / "LICENSE").read_text()  # the same as signjax's own
        write_text(directory / "mediapipe" / "LICENSE.txt", _MEDIAPIPE + licence)
    write_json(
        directory / "page.json",
        {
            "runtimes": [runtime._asdict() for runtime in runtimes],
            "palm": _PALM if finds else None,
        },
    )
