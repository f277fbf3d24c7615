"""Files of weights as Keras and PyTorch write them, small or sparse on disk."""

import gzip
import io
import json
import struct
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from flax import serialization
from flax.traverse_util import unflatten_dict
from safetensors.numpy import save_file

from signjax.pretrained import names
from signjax.pretrained.read import Source

GOLDEN = Path(__file__).parents[1] / "golden"

Arrays = Mapping[str, np.ndarray]
Shapes = Mapping[str, tuple[int, ...]]


@cache
def golden_json() -> dict[str, Any]:
    """`shapes`: case -> leaf -> shape, as the other program gave it; `model_config`."""
    return json.loads(gzip.decompress((GOLDEN / "port.json.gz").read_bytes()))


def shapes_of(case: str, *, counters: bool = True) -> dict[str, tuple[int, ...]]:
    """A source's leaves by its own names; counters: with PyTorch's of batches.

    Flax' are torchvision's by our names.
    """
    if case == "flax":
        shapes = shapes_of("torchvision", counters=False)
        table = names.table(names.LAYOUTS["torchvision"])
        return {table[name]: shape for name, shape in shapes.items()}
    shapes = {name: tuple(s) for name, s in golden_json()["shapes"][case].items()}
    if counters:
        return shapes
    return {k: v for k, v in shapes.items() if not k.endswith("num_batches_tracked")}


def as_source(case: str, arrays: dict[str, np.ndarray]) -> Source:
    """What reading a file of these arrays gives."""
    layout = names.recognize({name: array.shape for name, array in arrays.items()})
    assert layout is not None and layout.kind == case
    return Source("weights", layout, arrays)


def zeros(shapes: Shapes, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    """Arrays of any shape in next to no memory."""
    zero = np.zeros((), dtype)
    return {name: np.broadcast_to(zero, shape) for name, shape in shapes.items()}


def numbered(shapes: Shapes, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    """Arrays of the same ranks, of three values: all ones, twos, ..."""
    return {
        name: np.full((1,) * (len(shape) - 1) + (3,), index, dtype)
        for index, (name, shape) in enumerate(shapes.items(), start=1)
    }


def by_layer(arrays: Arrays) -> dict[str, dict[str, np.ndarray]]:
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        layer, _, leaf = name.rpartition("/")
        layers.setdefault(layer, {})[leaf] = array
    return layers


def write_keras_h5(path: Path, arrays: Arrays, model_config: str | None = None) -> Path:
    """Keras 1 and 2's layout: weights alone, or a whole model with model_config."""
    with h5py.File(path, "w") as root:
        group = root
        if model_config is not None:
            root.attrs["model_config"] = model_config
            group = root.create_group("model_weights")
        tops: dict[str, list[str]] = {}  # a model within the model is one layer
        for name in arrays:
            tops.setdefault(name.split("/")[0], []).append(name)
        group.attrs["layer_names"] = [top.encode() for top in tops]
        for top, leaves in tops.items():
            stored = group.create_group(top)
            own = {name: f"{name.removeprefix(f'{top}/')}:0" for name in leaves}
            if all(name.count("/") == 1 for name in leaves):
                own = {name: f"{name}:0" for name in leaves}
            stored.attrs["weight_names"] = [x.encode() for x in own.values()]
            for name, written in own.items():
                write_dataset(stored, written, arrays[name])
    return path


def write_keras_3(
    root: h5py.Group, arrays: Arrays, *, named: bool = True, base: str = "layers"
) -> None:
    """Keras 3's layout; `named`: with the layers' names, as its later versions do.

    Layers `model/layer` are those of a functional model within the model.
    """
    counts: dict[tuple[str, str], int] = {}
    for layer, leaves in by_layer(arrays).items():
        model, _, own = layer.rpartition("/")
        kind = _class_of(leaves)
        number = counts[model, kind] = counts.get((model, kind), -1) + 1
        group = root.create_group(
            f"{base}/{f'functional/{base}/' if model else ''}{kind}"
            + (f"_{number}" if number else "")
        )
        variables = group.create_group("vars")
        if named:
            variables.attrs["name"] = own
        for index, array in enumerate(leaves.values()):
            write_dataset(variables, str(index), array)


def write_keras_weights(path: Path, arrays: Arrays, **options: Any) -> Path:
    with h5py.File(path, "w") as root:
        write_keras_3(root, arrays, **options)
    return path


def _class_of(leaves: Arrays) -> str:
    if "gamma" in leaves:
        return "batch_normalization"
    return "conv2d" if leaves["kernel"].ndim == 4 else "dense"


def write_keras_zip(
    path: Path, arrays: Arrays, model_config: str, **options: Any
) -> Path:
    weights = io.BytesIO()
    with h5py.File(weights, "w") as root:
        write_keras_3(root, arrays, **{"named": False, **options})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", model_config)
        archive.writestr("model.weights.h5", weights.getvalue())
    return path


def write_dataset(group: h5py.Group, name: str, array: np.ndarray) -> None:
    """Zeros as broadcast by `zeros` are not written: HDF5 reads them back all the same.

    So a file of 100 MB takes none of the disk.
    """
    dataset = group.create_dataset(name, array.shape, array.dtype)
    if any(array.strides):
        dataset[...] = array


def write_msgpack(path: Path, arrays: Arrays) -> Path:
    """Flax variables, of leaves by their paths."""
    tree = unflatten_dict(dict(arrays), sep="/")
    path.write_bytes(serialization.msgpack_serialize(tree))
    return path


def write_safetensors(path: Path, arrays: Arrays) -> Path:
    save_file(dict(arrays), path, metadata={"format": "pt"})
    return path


def write_sparse_safetensors(path: Path, shapes: Shapes, dtype: str = "F32") -> Path:
    """Zeros that take no space on disk. dtype: as the format names it."""
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + int(np.prod(shape)) * {"F32": 4, "F8_E4M3": 1}[dtype]
        header[name] = {
            "dtype": dtype,
            "shape": list(shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return path
