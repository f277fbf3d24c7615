"""A file of weights -> a flat dict of arrays, recognised by its content.

Nothing is unpickled, and neither TensorFlow, Keras nor PyTorch is needed.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

import h5py
import msgpack
import numpy as np
from flax import serialization
from flax.traverse_util import flatten_dict
from safetensors import SafetensorError, safe_open

from signjax.data.content import HEAD_BYTES, describe_content
from signjax.errors import InputError
from signjax.pretrained import keras_graph, names

Kind = Literal[
    "keras_applications",
    "keras_applications_old",
    "keras_model",
    "torchvision",
    "hugging_face",
    "flax",
]


@dataclass(frozen=True)
class Source:
    """What a file of weights holds.

    arrays: by the source's own name; `layer/kernel` and the like in Keras' kinds,
    `params/conv_stem/kernel` and the like in ours. network: what is known of the
    graph, in keras_model. sha256: of the file, hex.
    """

    kind: Kind
    path: str
    arrays: dict[str, np.ndarray]
    network: keras_graph.KerasNetwork | None = None
    sha256: str = ""


class _Unreadable(Exception):
    """A file's content is not what it should be; the message says how."""


def read_weights(path: str | Path) -> Source:
    """The weights in a file of any `Kind`.

    Raises InputError, one line with the file's name, where it holds no ResNet-50's
    names, or not whole, or other than float32.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            kind, arrays, network = _reader(head)(path)
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"weights {path}: {error.strerror or error}") from error
    except _Unreadable as error:
        raise InputError(f"weights {path}: {error}") from error
    return Source(kind, str(path), arrays, network, sha256)


Read = tuple[Kind, dict[str, np.ndarray], keras_graph.KerasNetwork | None]


def _reader(head: bytes) -> Callable[[Path], Read]:
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return _read_hdf5
    if head.startswith(b"PK\x03\x04"):
        return _read_zip
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 30:
        return _read_safetensors
    if head.startswith(b"\x80"):
        raise _Unreadable(_PICKLE)
    if b"\x81" <= head[:1] <= b"\x8f":  # a msgpack map of 1 to 15 entries
        return _read_flax
    raise _Unreadable(f"{describe_content(head)}; {_EXPECTED}")


_EXPECTED = (
    "expected a ResNet-50's weights as Keras h5 or .keras, safetensors, Flax msgpack, "
    "or a workdir"
)
_PICKLE = (
    "a Python pickle, as PyTorch's .pth files are, which can run code when it is read "
    "and so is not: where torch and safetensors are installed make it safe by "
    "`python -c \"import torch, safetensors.torch as s; s.save_file(torch.load('X.pth',"
    " weights_only=True), 'X.safetensors')\"`, or take --weights=timm/resnet50.tv_in1k"
)


def _read_hdf5(path: Path) -> Read:
    with path.open("rb") as file:
        return _read_hdf5_file(file)


def _read_hdf5_file(file: IO[bytes]) -> Read:
    try:
        with h5py.File(file, "r") as root:
            if "model_config" in root.attrs:
                network, _ = _network(_text(root.attrs["model_config"]))
                weights = _by_layer(_group(root, "model_weights"))
                return "keras_model", _float32(weights), network
            if "layer_names" in root.attrs:
                kind = _keras_kind(_strings(root.attrs["layer_names"]))
                return kind, _float32(_by_layer(root)), None
            if "layers" in root:
                weights = _by_variable(_group(root, "layers"), _published_names())
                kind = _keras_kind([name.split("/")[0] for name in weights])
                return kind, _float32(weights), None
            raise _Unreadable(
                f"an HDF5 file without Keras weights (it holds {_some(root)}); "
                f"{_EXPECTED}"
            )
    # What h5py raises on a damaged file, by where the damage is.
    except (OSError, RuntimeError, KeyError) as error:
        raise _Unreadable(
            f"a damaged HDF5 file, its download cut short perhaps ({error}); get it "
            "again"
        ) from error


def _keras_kind(layers: list[str]) -> Kind:
    if "conv1_conv" in layers:
        return "keras_applications"
    if "res2a_branch2a" in layers:
        return "keras_applications_old"
    weighted = [name for name in layers if name.startswith(("conv2d", "batch_norm"))]
    if weighted:
        raise _Unreadable(
            f"Keras weights under automatic layer names ({_some(weighted)}) without "
            "the model's configuration, which alone tells what they are: save the "
            "whole model, model.save('X.keras')"
        )
    raise _Unreadable(
        f"Keras weights of another network (its layers are {_some(layers)}): expected "
        "ResNet-50's, conv1_conv or res2a_branch2a among them"
    )


def _by_layer(group: h5py.Group) -> dict[str, np.ndarray]:
    """`layer/leaf` -> array, of a group in the layout of Keras 1 and 2."""
    arrays = {}
    for layer in _strings(group.attrs["layer_names"]):
        stored = _group(group, layer)
        arrays |= _leaves(
            layer, [stored[name] for name in _strings(stored.attrs["weight_names"])]
        )
    return arrays


def _by_variable(group: h5py.Group, given: dict[str, str]) -> dict[str, np.ndarray]:
    """`layer/leaf` -> array, of a group in the layout of Keras 3.

    given: the layers' names, for files of the Keras versions that stored none.
    """
    arrays = {}
    for key in map(str, group):
        variables = _group(group, f"{key}/vars")
        name = _text(variables.attrs.get("name", given.get(key, key)))
        arrays |= _leaves(name, [variables[str(i)] for i in range(len(variables))])
    return arrays


def _leaves(layer: str, datasets: list[Any]) -> dict[str, np.ndarray]:
    """Names a layer's arrays by their order, as Keras itself does when it loads."""
    kind = "norm" if len(datasets) == 4 else "conv"
    leaves = [*names.KERAS_LEAVES[kind], *map(str, range(2, len(datasets)))]
    return {
        f"{layer}/{leaf}": dataset[()]
        for leaf, dataset in zip(leaves, datasets, strict=False)
    }


def _published_names() -> dict[str, str]:
    return {
        f"{kind}_{i}" if i else kind: layer
        for kind, layers in names.keras_layer_order().items()
        for i, layer in enumerate(layers)
    }


def _network(stored: str) -> tuple[keras_graph.KerasNetwork, dict[str, str]]:
    """The network of a stored configuration; Keras 3's group -> layer's name."""
    try:
        layers = keras_graph.parse_layers(json.loads(stored))
        network = keras_graph.find_resnet50(layers)
        return network, keras_graph.storage_names(layers)
    except ValueError as error:
        raise _Unreadable(f"not ResNet-50: {error}") from error
    except (KeyError, TypeError, IndexError) as error:
        raise _Unreadable(
            f"a Keras model whose configuration cannot be read ({error!r}); save it "
            "again, model.save('X.keras')"
        ) from error


def _read_zip(path: Path) -> Read:
    try:
        with zipfile.ZipFile(path) as archive:
            held = archive.namelist()
            if any(name.endswith("data.pkl") for name in held):
                raise _Unreadable(_PICKLE)
            if "config.json" not in held or "model.weights.h5" not in held:
                raise _Unreadable(
                    f"a zip archive but no Keras model (it holds {_some(held)}); "
                    f"{_EXPECTED}"
                )
            stored = archive.read("config.json").decode()
            weights = archive.read("model.weights.h5")
    except zipfile.BadZipFile as error:
        raise _Unreadable(
            f"a damaged zip archive, its download cut short perhaps ({error}); get it "
            "again"
        ) from error
    network, given = _network(stored)
    with h5py.File(io.BytesIO(weights), "r") as root:
        arrays = _by_variable(_group(root, "layers"), given)
    return "keras_model", _float32(arrays), network


def _read_safetensors(path: Path) -> Read:
    try:
        with safe_open(path, framework="numpy") as file:
            held = list(file.keys())
            kind = _torch_kind(held)
            wanted = [n for n in held if not n.endswith("num_batches_tracked")]
            dtypes = {name: file.get_slice(name).get_dtype() for name in wanted}
            _refuse_other_than("F32", dtypes)
            arrays = {name: file.get_tensor(name) for name in wanted}
    except SafetensorError as error:
        raise _Unreadable(
            f"a damaged safetensors file, its download cut short perhaps ({error}); "
            "get it again"
        ) from error
    return kind, arrays, None


def _torch_kind(held: list[str]) -> Kind:
    if "layer1.0.conv1.weight" in held:
        return "torchvision"
    if "resnet.embedder.embedder.convolution.weight" in held:
        return "hugging_face"
    raise _Unreadable(
        f"safetensors of another network (its tensors are {_some(held)}): expected "
        "ResNet-50's, layer1.0.conv1.weight or "
        "resnet.embedder.embedder.convolution.weight among them"
    )


def _read_flax(path: Path) -> Read:
    try:
        tree = serialization.msgpack_restore(path.read_bytes())
    except (ValueError, msgpack.UnpackException) as error:
        raise _Unreadable(
            f"a damaged Flax variables file, or none at all ({error}); {_EXPECTED}"
        ) from error
    if not isinstance(tree, dict) or "params" not in tree:
        raise _Unreadable(
            f"msgpack without params (it holds {_some(tree)}): expected a Flax "
            "variables file, with params and batch_stats"
        )
    # Of a saved train state only these are weights.
    kept = {key: tree[key] for key in ("params", "batch_stats") if key in tree}
    arrays = cast(dict[str, np.ndarray], flatten_dict(kept, sep="/"))
    odd = [name for name, leaf in arrays.items() if not isinstance(leaf, np.ndarray)]
    if odd:
        raise _Unreadable(
            f"leaves that are no arrays ({_some(odd)}): expected a Flax variables "
            "file, with params and batch_stats"
        )
    return "flax", _float32(arrays), None


def _float32(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    _refuse_other_than(
        "float32", {name: str(array.dtype) for name, array in arrays.items()}
    )
    return arrays


def _refuse_other_than(expected: str, dtypes: dict[str, str]) -> None:
    others = [name for name, dtype in dtypes.items() if dtype != expected]
    if others:
        found = ", ".join(sorted({dtypes[name] for name in others}))
        raise _Unreadable(
            f"{len(others)} of {len(dtypes)} arrays are {found} ({_some(others)}): "
            "expected float32; save the weights in float32, as they were trained"
        )


def _group(group: h5py.Group, name: str) -> h5py.Group:
    found = group[name]
    if not isinstance(found, h5py.Group):
        raise KeyError(f"{name} is no group")
    return found


def _strings(values: Any) -> list[str]:
    """Of an HDF5 attribute."""
    return [_text(value) for value in values]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _some(values: Iterable[Any]) -> str:
    """The first three, and that there are more."""
    listed = [str(value) for value in values]
    if not listed:
        return "nothing"
    return ", ".join(listed[:3]) + (", ..." if len(listed) > 3 else "")
