"""Weights of a source -> the variables of `models.resnet.ResNet`, strictly.

Every leaf of the source must have a place, and every place a leaf of its shape; what
does not fit is listed in one error. Networks of other sources become ours exactly:

- PyTorch's kernels are transposed (OIHW to HWIO, and the classifier).
- Networks for BGR images get the stem kernel's input channels reversed, and see RGB.
- Biases of convolutions go into the BatchNorm after them: (x + b) - mean is
  x - (mean - b) with the running mean, and with a batch's own mean b cancels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import Any, Literal, NamedTuple, TypedDict, cast

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from signjax import pretrained
from signjax.errors import InputError
from signjax.models.resnet import ResNet
from signjax.pretrained import names
from signjax.pretrained.names import BLOCKS, Path
from signjax.pretrained.published import (
    CAFFE,
    HUGGING_FACE,
    TORCHVISION,
    UNIT_RANGE,
    Preprocessing,
    preprocessing_of,
)
from signjax.pretrained.read import Kind, Source

Variables = dict[str, Any]
Leaves = dict[Path, np.ndarray]

_IMAGENET = 1000


class Variant(TypedDict):
    """The fields of `ResNet` that a source decides."""

    stride_on: Literal["1x1", "3x3"]
    pool_padding: int
    conv_bias: bool
    bn_momentum: float
    bn_epsilon: float


class Coverage(NamedTuple):
    """How many leaves of a part of the network came from where.

    ported: taken over. folded: biases now within BatchNorm's mean. new: not in the
    source, to be initialised.
    """

    part: str
    ported: int
    folded: int
    new: int


@dataclass(frozen=True)
class Ported:
    """A ResNet-50 with a source's weights.

    variables: params and batch_stats, nested dicts of float32 numpy arrays; without
    `head` if the source has none. classes: names of the outputs, None without head.
    notes: what the source does not say and was taken for granted, a line each.
    """

    variables: Variables
    variant: Variant
    preprocessing: Preprocessing
    classes: tuple[str, ...] | None
    coverage: tuple[Coverage, ...]
    notes: tuple[str, ...]


def port(source: Source, *, keep_conv_bias: bool = False) -> Ported:
    """The source's weights in our tree.

    keep_conv_bias: leave biases of convolutions where they are, if there are any.
    Raises InputError, one line that lists each missing, unexpected and mis-shaped
    leaf, if the source is not a whole ResNet-50.
    """
    layout, traits = _layout(source), _traits(source)
    _refuse_other_depths(source, layout)
    held = _place(source, layout, traits)
    conv_bias = keep_conv_bias and any(map(_is_conv_bias, held))
    leaves = held if conv_bias else _fold_conv_biases(held)
    if traits.bgr:
        leaves = _reverse_input_channels(leaves)
    classes, class_notes = _class_names(source, leaves)
    return Ported(
        variables=unflatten_dict(leaves),
        variant={**traits.variant, "conv_bias": conv_bias},
        preprocessing=traits.preprocessing,
        classes=classes,
        coverage=_coverage(held, leaves),
        notes=(*traits.notes, *class_notes),
    )


def merge(ported: Ported, initial: Variables, *, new: Sequence[str] = ()) -> Variables:
    """`initial` with each leaf replaced by the ported one, but for the layers `new`.

    initial: variables of the network to train. new: names of layers, such as `head`
    for other classes, that keep their initial leaves.
    Raises InputError, one line that lists each missing, unexpected and mis-shaped leaf
    elsewhere, and names in `new` that are no layers.
    """
    wanted = flatten(initial)
    found = {
        place: leaf
        for place, leaf in flatten(ported.variables).items()
        if place[1] not in new
    }
    unknown = set(new) - {place[1] for place in wanted}
    if unknown:
        raise InputError(f"no layers to leave new: {', '.join(sorted(unknown))}")
    kept = {place: leaf for place, leaf in wanted.items() if place[1] in new}
    problems = _differences(
        {"/".join(p): leaf.shape for p, leaf in found.items()},
        {"/".join(p): leaf.shape for p, leaf in wanted.items() if p not in kept},
    )
    if problems:
        raise InputError(
            f"the pretrained weights do not fit the network: {problems}; match "
            "config.model to them, or leave the layers in question new"
        )
    return unflatten_dict({**kept, **found})


def flatten(tree: Mapping[str, Any]) -> dict[Path, Any]:
    """A nested dict's leaves by their paths."""
    return cast(dict[Path, Any], flatten_dict(tree))


def imagenet_classes() -> tuple[str, ...]:
    """The 1000 classes' names (WordNet's first lemma), in the order of the outputs.

    Two of the same name are told apart in parentheses.
    """
    text = resources.files(pretrained).joinpath("imagenet_classes.txt").read_text()
    return tuple(text.splitlines())


class _Traits(NamedTuple):
    """What follows from the kind of a source, beside its names."""

    variant: Variant
    preprocessing: Preprocessing
    torch: bool = False
    bgr: bool = False
    notes: tuple[str, ...] = ()


def _variant(
    stride_on: Any, pool_padding: int, momentum: float, epsilon: float
) -> Variant:
    return Variant(
        stride_on=stride_on,
        pool_padding=pool_padding,
        conv_bias=False,
        bn_momentum=momentum,
        bn_epsilon=epsilon,
    )


# PyTorch's momentum of 0.1 weighs the new statistic.
_V1_5 = _variant("3x3", 1, momentum=0.9, epsilon=1e-5)
_OF_KIND: dict[Kind, _Traits] = {
    "keras_applications": _Traits(
        _variant("1x1", 1, momentum=0.99, epsilon=1.001e-5), CAFFE, bgr=True
    ),
    "keras_applications_old": _Traits(
        _variant("1x1", 0, momentum=0.99, epsilon=1e-3),
        CAFFE,
        bgr=True,
        notes=(
            "BatchNorm's epsilon: 0.001, as in all Keras networks of these layer names",
            "padding of the stem's max-pool: 0; their last versions padded by 1",
            "input: BGR, 0 to 255, less ImageNet's mean, as published ones take it",
        ),
    ),
    "torchvision": _Traits(_V1_5, TORCHVISION, torch=True),
    "hugging_face": _Traits(_V1_5, HUGGING_FACE, torch=True),
    "flax": _Traits(
        _V1_5,
        TORCHVISION,
        notes=(
            "network: stride in the 3x3 convolution, max-pool padded by 1, BatchNorm's "
            "epsilon 1e-5 and momentum 0.9",
            "input: RGB with ImageNet's mean and deviation, 224 x 224",
        ),
    ),
}


def _layout(source: Source) -> names.Layout:
    network = source.network
    if network is None:
        return names.LAYOUTS[source.kind]
    return names.Layout(
        network.units.__getitem__, network.head, names.KERAS_LEAVES, "/"
    )


def _traits(source: Source) -> _Traits:
    network = source.network
    if network is None:
        traits = _OF_KIND[source.kind]
        if source.kind not in ("torchvision", "hugging_face"):
            return traits
        known = preprocessing_of(source.sha256)
        if known is not None:
            return traits._replace(preprocessing=known)
        guess = "input: prepared as for the first published weights of these names"
        return traits._replace(notes=(guess,))
    notes = []
    if network.batch_statistics:
        notes.append(
            f"{len(network.batch_statistics)} BatchNorm layers are called with "
            "training=True: in Keras they normalise by each batch's own statistics "
            "even when predicting, here by the running ones, so predictions differ"
        )
    variant = _variant(
        network.stride_on,
        network.pool_padding,
        network.bn_momentum,
        network.bn_epsilon,
    )
    published = network.units[names.STEM][0] == names.keras_applications(names.STEM)[0]
    if published:
        notes.append("input: BGR, 0 to 255, less ImageNet's mean, by the layers' names")
    else:
        notes.append("input: RGB, divided by 255")
    preprocessing = CAFFE if published else UNIT_RANGE
    if network.image_size is not None:
        preprocessing = preprocessing._replace(image_size=network.image_size)
    return _Traits(variant, preprocessing, bgr=published, notes=tuple(notes))


def _refuse_other_depths(source: Source, layout: names.Layout) -> None:
    if source.network is not None:
        return  # its graph has been found to be ResNet-50's
    depth = names.depth(layout, source.arrays.keys())
    if depth in (18, 34, 101, 152):
        raise InputError(
            f"weights {source.path}: a ResNet-{depth}; expected a ResNet-50, with "
            f"{', '.join(map(str, BLOCKS))} bottleneck blocks in its stages"
        )


def _place(source: Source, layout: names.Layout, traits: _Traits) -> Leaves:
    """The source's leaves in our tree and in our order of axes, strictly checked."""
    held = source.arrays
    table = names.table(layout)
    # A source has biases in all its convolutions or in none, a whole head or none.
    for part in (_is_conv_bias, _is_head):
        if not any(part(place) for name, place in table.items() if name in held):
            table = {name: place for name, place in table.items() if not part(place)}
    shapes = _network_shapes(
        num_classes=_num_classes(table, held),
        conv_bias=any(map(_is_conv_bias, table.values())),
        variant=traits.variant,
    )
    problems = _differences(
        {name: array.shape for name, array in held.items()},
        {
            name: _torch_shape(shapes[place]) if traits.torch else shapes[place]
            for name, place in table.items()
        },
    )
    if problems:
        raise InputError(f"weights {source.path}: not a whole ResNet-50: {problems}")
    return {
        place: _from_torch(held[name]) if traits.torch else held[name]
        for name, place in table.items()
    }


def _is_conv_bias(place: Path) -> bool:
    return place[-2].startswith("conv") and place[-1] == "bias"


def _is_head(place: Path) -> bool:
    return place[1] == "head"


def _num_classes(table: dict[str, Path], held: Mapping[str, np.ndarray]) -> int:
    """By the head's bias; 1 where there is no head, whose shape then does not count."""
    for name, place in table.items():
        if place == ("params", "head", "bias") and name in held:
            return held[name].size
    return 1


def _network_shapes(
    *, num_classes: int, conv_bias: bool, variant: Variant
) -> dict[Path, tuple[int, ...]]:
    model = ResNet(num_classes, **{**variant, "conv_bias": conv_bias})
    images = np.zeros((1, 64, 64, 3), np.float32)
    abstract = jax.eval_shape(
        partial(model.init, train=False), jax.random.key(0), images
    )
    return {place: leaf.shape for place, leaf in flatten(abstract).items()}


def _torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) == 4:
        height, width, inputs, outputs = shape
        return outputs, inputs, height, width
    return shape[::-1]


def _from_torch(array: np.ndarray) -> np.ndarray:
    axes = (2, 3, 1, 0) if array.ndim == 4 else None
    return np.ascontiguousarray(array.transpose(axes))


Shapes = Mapping[str, tuple[int, ...]]


def _differences(found: Shapes, wanted: Shapes) -> str:
    """All of them as one line, empty if there are none."""
    missing = [f"{name} {wanted[name]}" for name in wanted if name not in found]
    unexpected = [f"{name} {found[name]}" for name in found if name not in wanted]
    mismatched = [
        f"{name} {found[name]} instead of {wanted[name]}"
        for name in wanted
        if name in found and found[name] != wanted[name]
    ]
    listed = {
        "missing": missing,
        "unexpected": unexpected,
        "of another shape": mismatched,
    }
    return "; ".join(
        f"{len(names)} {kind}: {', '.join(names)}"
        for kind, names in listed.items()
        if names
    )


def _fold_conv_biases(leaves: Leaves) -> Leaves:
    folded = {place: leaf for place, leaf in leaves.items() if not _is_conv_bias(place)}
    for place in leaves.keys() - folded.keys():
        norm = place[-2].replace("conv", "bn")
        mean = ("batch_stats", *place[1:-2], norm, "mean")
        folded[mean] = leaves[mean] - leaves[place]
    return folded


def _reverse_input_channels(leaves: Leaves) -> Leaves:
    stem = ("params", "conv_stem", "kernel")
    return leaves | {stem: np.ascontiguousarray(leaves[stem][:, :, ::-1, :])}


def _coverage(held: Leaves, kept: Leaves) -> tuple[Coverage, ...]:
    """held: the leaves as the source has them. kept: after folding."""
    rows = []
    for part in ("stem", "stage1", "stage2", "stage3", "stage4", "head"):
        of_part = [place for place in held if part in place[1]]
        ported = sum(place in kept for place in of_part)
        new = 2 if part == "head" and not of_part else 0
        rows.append(Coverage(part, ported, len(of_part) - ported, new))
    return tuple(rows)


def _class_names(
    source: Source, leaves: Leaves
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """(names of the outputs or None without head, a note where they are a guess)."""
    head = leaves.get(("params", "head", "bias"))
    if head is None:
        return None, ()
    if head.size == _IMAGENET:
        guessed = source.kind in ("keras_model", "flax")
        notes = ("class names: ImageNet's, as there are 1000",) if guessed else ()
        return imagenet_classes(), notes
    note = f"class names: 0 to {head.size - 1}, in the order of the outputs"
    return tuple(map(str, range(head.size))), (note,)
