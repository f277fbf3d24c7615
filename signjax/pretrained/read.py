"""A file of weights -> a flat dict of arrays, recognised by its content.

Nothing is unpickled, and neither TensorFlow, Keras nor PyTorch is needed. A file may
be anybody's: no link in it is followed, and its content is measured before it is read.
"""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import h5py
import jax.numpy as jnp
import numpy as np
from flax import serialization
from flax.traverse_util import flatten_dict
from safetensors import deserialize

from signjax.data.content import HEAD_BYTES, describe_content
from signjax.errors import InputError, listed, one_line
from signjax.pretrained import keras_graph, keras_model, names
from signjax.pretrained.names import Layout
from signjax.pretrained.published import preprocessing_of
from signjax.runtime.hdf5 import refuse_unsound_hdf5

Arrays = dict[str, np.ndarray]

# A ResNet-50 has 94 MB of float32, and 8 kB a class.
_MOST_BYTES = 1 << 30
_EXPECTED = (
    "expected a ResNet-50's weights as Keras h5 or .keras, safetensors, Flax msgpack, "
    "or a workdir"
)
_PICKLE = (
    "a Python pickle, as .pth files are, which can run code and so is not read; make "
    'it safe where torch is: `python -c "import torch, safetensors.torch as s; '
    "s.save_file(torch.load('X.pth', weights_only=True), 'X.safetensors')\"`"
)
_FLAX = "expected a Flax variables file, with params and batch_stats"
_SAFETENSORS = {"F32": np.float32, "F16": np.float16, "BF16": jnp.bfloat16}


@dataclass(frozen=True)
class Source:
    """What a file of weights holds.

    arrays: float32, by the source's own name; `layer/kernel` and the like of Keras.
    sha256: of the file, hex. classes: names of the outputs, where it says them.
    """

    path: str
    layout: Layout
    arrays: Arrays
    sha256: str = ""
    classes: tuple[str, ...] | None = None


def read_weights(path: str | Path) -> Source:
    """The weights in a file of any kind of `names.LAYOUTS`, or of a Keras model.

    float16 and bfloat16 become float32, which loses nothing.
    Raises InputError, one line with the file's name, where it holds no ResNet-50's
    names, or not whole, or other numbers.
    """
    path = Path(path)
    where = f"weights {path}: "
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        layout, arrays = _read(content)
    except OSError as error:
        raise InputError(f"{where}{error.strerror or error}") from error
    except InputError as error:
        text = one_line(error, max(100, 300 - len(where)))
        raise InputError(where + text) from error
    sha256 = hashlib.sha256(content).hexdigest()
    if known := preprocessing_of(sha256):
        layout = layout._replace(preprocessing=known, notes=())
    return Source(str(path), layout, arrays, sha256)


def _read(content: bytes) -> tuple[Layout, Arrays]:
    _refuse_more_than_a_network(len(content))
    kind, reader = _reader(content[:HEAD_BYTES])
    try:
        layout, arrays = reader(content)
    except InputError:
        raise
    # Of a damaged or hostile file the libraries raise nearly everything.
    except Exception as error:
        raise InputError(
            f"a damaged {kind}, its download cut short perhaps, or of a version that "
            f"is not known ({one_line(repr(error), 100)}); get it again"
        ) from error
    floats = (np.float32, np.float16, jnp.bfloat16)
    # Counters, which are single numbers, are no network's and told as such.
    others = {
        name: str(array.dtype)
        for name, array in arrays.items()
        if array.ndim and array.dtype not in floats
    }
    if others:
        raise InputError(
            f"{len(others)} of {len(arrays)} arrays are {listed({*others.values()})} "
            f"({listed(others, 3)}): expected float32, float16 or bfloat16; save the "
            "weights as they were trained"
        )
    return layout, {name: np.asarray(x, np.float32) for name, x in arrays.items()}


def _reader(head: bytes) -> tuple[str, Callable[[bytes], tuple[Layout, Arrays]]]:
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "HDF5 file", _read_hdf5
    if head.startswith(b"PK\x03\x04"):
        return "zip archive", _read_zip
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 30:
        return "safetensors file", _read_safetensors
    if head.startswith(b"\x80"):
        raise InputError(_PICKLE)
    if b"\x81" <= head[:1] <= b"\x8f" or head[:1] == b"\xde":  # a msgpack map
        return "Flax variables file", _read_flax
    raise InputError(f"{describe_content(head)}; {_EXPECTED}")


def _recognized(arrays: Arrays, found: str) -> tuple[Layout, Arrays]:
    layout = names.recognize({name: array.shape for name, array in arrays.items()})
    if layout is None:
        raise InputError(
            f"{found} of another network ({listed(arrays, 3)}): expected ResNet-50's "
            "by the names of Keras, torchvision, timm, Hugging Face or Flax"
        )
    return layout, arrays


def _read_hdf5(content: bytes) -> tuple[Layout, Arrays]:
    with _open_hdf5(content) as root:
        held = _held(root)
        if "model_config" in root.attrs:
            config = json.loads(_text(root.attrs["model_config"]))
            layers = keras_model.parse_layers(config)
            return _of_model(layers, _by_layer(held, "model_weights/", layers))
        if _strings(root, "layer_names"):
            arrays = _by_layer(held, "", ())
        else:
            arrays = _by_variable(held, names.keras_groups())
        if not arrays:
            raise InputError(
                f"an HDF5 file without Keras weights (it holds {listed(root, 3)}); "
                f"{_EXPECTED}"
            )
    automatic = [n for n in arrays if re.match("(.*/)?(conv2d|batch_norm)", n)]
    if automatic:
        raise InputError(
            f"Keras weights under automatic layer names ({listed(automatic, 1)}) "
            "without the model's configuration: save all of it, model.save('X.keras')"
        )
    return _recognized(arrays, "Keras weights")


def _of_model(
    layers: dict[str, keras_model.Layer], arrays: Arrays
) -> tuple[Layout, Arrays]:
    try:
        layout = keras_graph.find_resnet50(layers, arrays)
    except InputError as error:
        raise InputError(f"not ResNet-50: {error}") from error
    kept = {layout.head}.union(*map(layout.naming, names.units()))
    return layout, {n: a for n, a in arrays.items() if n.rpartition("/")[0] in kept}


def _open_hdf5(content: bytes) -> h5py.File:
    refuse_unsound_hdf5(content)
    return h5py.File(io.BytesIO(content), "r")


Held = dict[str, h5py.Group | h5py.Dataset]


def _held(root: h5py.Group) -> Held:
    """All groups and datasets of a file by path; links are not followed.

    Raises InputError where values lie in other files, or are more than any ResNet-50
    has, packed or not.
    """
    held: Held = {"": root}
    root.visititems(lambda name, thing: held.update({name: thing}))
    size = 0
    for name, dataset in held.items():
        if isinstance(dataset, h5py.Dataset):
            size += dataset.size * dataset.dtype.itemsize
            plist = dataset.id.get_create_plist()
            if dataset.is_virtual or plist.get_external_count() or plist.get_nfilters():
                raise InputError(
                    f"{name} is compressed or in another file, as Keras stores none; "
                    "save the weights anew"
                )
    _refuse_more_than_a_network(size)
    return held


def _by_layer(held: Held, base: str, known: Collection[str]) -> Arrays:
    """`layer/leaf` -> array, of a group in the layout of Keras 1 and 2.

    A model within the model is one layer there; its own are `model/layer/leaf`. known:
    the names of the layers, where there is a configuration.
    """
    leaves: dict[str, list[Any]] = {}
    for layer in _strings(held[base.rstrip("/")], "layer_names"):
        weights = _strings(held[base + layer], "weight_names")
        whole = layer in known or len({name.rpartition("/")[0] for name in weights}) < 2
        for name in weights:
            key = layer if whole else f"{layer}/{name.split('/')[-2:][0]}"
            leaves.setdefault(key, []).append(held[f"{base}{layer}/{name}"])
    return _named(leaves)


def _by_variable(held: Held, given: Mapping[str, str]) -> Arrays:
    """`layer/leaf` -> array, of a file in the layout of Keras 3.

    given: the layers' names by their groups, for files that do not store them.
    """
    leaves: dict[str, list[Any]] = {}
    for path, dataset in held.items():
        # Keras 2.12 and 2.13 called the group of a model's layers otherwise.
        place = path.replace("_layer_checkpoint_dependencies", "layers")
        if match := re.fullmatch(r"(layers/.*)/vars/\d+", place):
            group = match[1]
            stored = held[path.rpartition("/")[0]].attrs.get("name")
            name = given.get(group) or stored or given.get(group.rpartition("/")[2])
            leaves.setdefault(_text(name or group), []).append(dataset)
    return _named(leaves)


def _refuse_more_than_a_network(size: int) -> None:
    if size > _MOST_BYTES:
        raise InputError(
            f"{size / 1e9:.1f} GB of values: expected a ResNet-50's, which has 0.1"
        )


def _named(leaves: Mapping[str, list[Any]]) -> Arrays:
    """Names a layer's arrays by their order, as Keras itself does when it loads."""
    arrays = {}
    for layer, datasets in leaves.items():
        known = names.LEAVES["keras"]["norm" if len(datasets) == 4 else "conv"]
        for i, dataset in enumerate(datasets):
            value = dataset[()]
            if value.dtype == "V2":  # as h5py stores what HDF5 has no name for
                value = value.view(jnp.bfloat16)
            arrays[f"{layer}/{known[i] if i < len(known) else i}"] = value
    return arrays


def _read_zip(content: bytes) -> tuple[Layout, Arrays]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        held = archive.namelist()
        if any(name.endswith("data.pkl") for name in held):
            raise InputError(_PICKLE)
        if "config.json" not in held or "model.weights.h5" not in held:
            raise InputError(
                f"a zip archive but no Keras model (it holds {listed(held, 3)}); "
                f"{_EXPECTED}"
            )
        parts = [archive.getinfo(name) for name in ("config.json", "model.weights.h5")]
        _refuse_more_than_a_network(sum(part.file_size for part in parts))
        config, weights = map(archive.read, parts)
    layers = keras_model.parse_layers(json.loads(config))
    given = {layer.group: layer.name for layer in layers.values()}
    with _open_hdf5(weights) as root:
        arrays = _by_variable(_held(root), given)
    return _of_model(layers, arrays)


def _read_safetensors(content: bytes) -> tuple[Layout, Arrays]:
    arrays = {}
    for name, stored in sorted(deserialize(content), key=lambda item: item[0]):
        if name.endswith("num_batches_tracked"):
            continue
        if stored["dtype"] not in _SAFETENSORS:
            raise InputError(
                f"{name} is {stored['dtype']}: expected {listed(_SAFETENSORS)}; save "
                "the weights as they were trained"
            )
        values = np.frombuffer(stored["data"], _SAFETENSORS[stored["dtype"]])
        arrays[name] = values.reshape(stored["shape"])
    return _recognized(arrays, "safetensors")


def _read_flax(content: bytes) -> tuple[Layout, Arrays]:
    tree = serialization.msgpack_restore(content)
    if not isinstance(tree, dict) or "params" not in tree:
        raise InputError(
            f"msgpack without params (it holds {listed(tree, 3)}): {_FLAX}"
        )
    # Of a saved train state only these are weights.
    kept = {key: tree[key] for key in ("params", "batch_stats") if key in tree}
    arrays = cast(Arrays, flatten_dict(kept, sep="/"))
    odd = [name for name, leaf in arrays.items() if not isinstance(leaf, np.ndarray)]
    if odd:
        raise InputError(f"leaves that are no arrays ({listed(odd, 3)}): {_FLAX}")
    return _recognized(arrays, "Flax variables")


def _strings(group: Any, name: str) -> list[str]:
    """Of an attribute, which is in parts (name0, name1, ...) where it is long."""
    parts = [name, *(f"{name}{i}" for i in range(len(group.attrs)))]
    return [_text(x) for part in parts for x in group.attrs.get(part, ())]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
