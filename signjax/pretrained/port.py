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
from typing import Any, NamedTuple, cast

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from signjax import pretrained
from signjax.errors import InputError, leaf_differences, listed
from signjax.models.resnet import ResNet
from signjax.pretrained import names
from signjax.pretrained.names import BLOCKS, LeafPath, Variant
from signjax.pretrained.published import Preprocessing
from signjax.pretrained.read import Source

Variables = dict[str, Any]
Leaves = dict[LeafPath, np.ndarray]

_IMAGENET = 1000


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
    """A network with a source's weights.

    network: as `config.model.name`. variables: params and batch_stats, nested dicts of
    float32 numpy arrays; without `head` if the source has none. variant: of no meaning
    for the CNN. classes: names of the outputs, None without head. notes: what the
    source does not say and was taken for granted, a line each.
    """

    network: str
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
    layout = source.layout
    _refuse_other_depths(source)
    held = _place(source)
    refuse_impossible_values(
        source.path, {n: held[p] for n, p in names.table(layout).items() if p in held}
    )
    conv_bias = keep_conv_bias and any(map(_is_conv_bias, held))
    leaves = held if conv_bias else _fold_conv_biases(held)
    if layout.bgr:
        stem = ("params", "conv_stem", "kernel")
        leaves |= {stem: np.ascontiguousarray(leaves[stem][:, :, ::-1, :])}
    classes, class_notes = _class_names(source, leaves)
    return Ported(
        network="resnet50",
        variables=unflatten_dict(leaves),
        variant={**layout.variant, "conv_bias": conv_bias},
        preprocessing=layout.preprocessing,
        classes=classes,
        coverage=_coverage(held, leaves),
        notes=(*layout.notes, *class_notes),
    )


def refuse_impossible_values(origin: str, leaves: Mapping[str, np.ndarray]) -> None:
    """Raises InputError naming the leaves with values that no network can have.

    leaves: by names whose last part contains "var" for variances and for no others.
    """
    checks = {
        "not a number": lambda name, leaf: np.isnan(leaf).any(),
        "infinite": lambda name, leaf: np.isinf(leaf).any(),
        "a negative variance": lambda name, leaf: (
            "var" in name.replace(".", "/").rpartition("/")[2] and (leaf < 0).any()
        ),
    }
    for what, wrong in checks.items():
        if found := [name for name, leaf in leaves.items() if wrong(name, leaf)]:
            raise InputError(
                f"weights {origin}: {what} in {listed(found, 3)}, as in no network "
                "that works: get the file again, or one from before training diverged"
            )


def merge(
    ported: Variables, initial: Variables, *, new: Sequence[str] = ()
) -> Variables:
    """`initial` with each leaf replaced by the ported one, but for the layers `new`.

    initial: variables of the network to train. new: names of layers, such as `head`
    for other classes, that keep their initial leaves.
    Raises InputError, one line that lists each missing, unexpected and mis-shaped leaf
    elsewhere, and names in `new` that are no layers.
    """
    wanted = flatten(initial)
    found = {
        place: leaf for place, leaf in flatten(ported).items() if place[1] not in new
    }
    unknown = set(new) - {place[1] for place in wanted}
    if unknown:
        raise InputError(f"no layers to leave new: {', '.join(sorted(unknown))}")
    kept = {place: leaf for place, leaf in wanted.items() if place[1] in new}
    problems = leaf_differences(
        {"/".join(p): leaf.shape for p, leaf in found.items()},
        {"/".join(p): leaf.shape for p, leaf in wanted.items() if p not in kept},
    )
    if problems:
        raise InputError(
            f"the pretrained weights do not fit the network: {problems}; match "
            "config.model to them, or leave the layers in question new"
        )
    return unflatten_dict({**kept, **found})


def flatten(tree: Mapping[str, Any]) -> dict[LeafPath, Any]:
    """A nested dict's leaves by their paths."""
    return cast(dict[LeafPath, Any], flatten_dict(tree))


def imagenet_classes() -> tuple[str, ...]:
    """The 1000 classes' names (WordNet's first lemma), in the order of the outputs.

    Two of the same name are told apart in parentheses.
    """
    text = resources.files(pretrained).joinpath("imagenet_classes.txt").read_text()
    return tuple(text.splitlines())


def _refuse_other_depths(source: Source) -> None:
    if source.layout.kind == "keras_model":
        return  # its graph has been found to be ResNet-50's
    depth = names.depth(source.layout, source.arrays)
    if depth in (18, 34, 101, 152):
        raise InputError(
            f"weights {source.path}: a ResNet-{depth}; expected a ResNet-50, with "
            f"{', '.join(map(str, BLOCKS))} bottleneck blocks in its stages"
        )


def _place(source: Source) -> Leaves:
    """The source's leaves in our tree and in our order of axes, strictly checked."""
    held, layout = source.arrays, source.layout
    table = names.table(layout)
    # A source has biases in all its convolutions or in none, a whole head or none.
    for part in (_is_conv_bias, _is_head):
        if not any(part(place) for name, place in table.items() if name in held):
            table = {name: place for name, place in table.items() if not part(place)}
    shapes = _network_shapes(
        num_classes=_num_classes(table, held),
        conv_bias=any(map(_is_conv_bias, table.values())),
        variant=layout.variant,
    )
    problems = leaf_differences(
        {name: array.shape for name, array in held.items()},
        {
            name: _torch_shape(shapes[place]) if layout.torch else shapes[place]
            for name, place in table.items()
        },
    )
    if problems:
        raise InputError(f"weights {source.path}: not a whole ResNet-50: {problems}")
    return {
        place: _from_torch(held[name]) if layout.torch else held[name]
        for name, place in table.items()
    }


def _is_conv_bias(place: LeafPath) -> bool:
    return place[-2].startswith("conv") and place[-1] == "bias"


def _is_head(place: LeafPath) -> bool:
    return place[1] == "head"


def _num_classes(table: dict[str, LeafPath], held: Mapping[str, np.ndarray]) -> int:
    """By the head's bias; 1 where there is no head, whose shape then does not count."""
    for name, place in table.items():
        if place == ("params", "head", "bias") and name in held:
            return held[name].size
    return 1


def _network_shapes(
    *, num_classes: int, conv_bias: bool, variant: Variant
) -> dict[LeafPath, tuple[int, ...]]:
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


def _fold_conv_biases(leaves: Leaves) -> Leaves:
    folded = {place: leaf for place, leaf in leaves.items() if not _is_conv_bias(place)}
    for place in leaves.keys() - folded.keys():
        norm = place[-2].replace("conv", "bn")
        mean = ("batch_stats", *place[1:-2], norm, "mean")
        folded[mean] = leaves[mean] - leaves[place]
    return folded


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
    if source.classes is not None:
        if len(set(source.classes)) != head.size:
            raise InputError(
                f"weights {source.path}: {len(set(source.classes))} different class "
                f"names for {head.size} outputs: expected one each"
            )
        return source.classes, ()
    if head.size == _IMAGENET:
        guessed = source.layout.kind in ("keras_model", "flax", "flax_imagenet")
        notes = ("class names: ImageNet's, as there are 1000",) if guessed else ()
        return imagenet_classes(), notes
    note = f"class names: 0 to {head.size - 1}, in the order of the outputs"
    return tuple(map(str, range(head.size))), (note,)
