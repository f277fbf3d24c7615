"""Weights of a source -> the variables of `models.resnet.ResNet`, strictly.

Every leaf of the source must have a place, and every place a leaf of its shape; what
does not fit is listed in one error. Networks of other sources become ours exactly:

- PyTorch's kernels are transposed (OIHW to HWIO, and the classifier).
- Networks for BGR images get the stem kernel's input channels reversed, and see RGB.
- Biases of convolutions go into the BatchNorm after them: (x + b) - mean is
  x - (mean - b) with the running mean, and with a batch's own mean b cancels.
"""

from collections.abc import Mapping
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
from signjax.pretrained.names import BLOCKS, Variant
from signjax.pretrained.published import Preprocessing
from signjax.pretrained.read import Source

Variables = dict[str, Any]
Leaves = dict[str, np.ndarray]

_IMAGENET = 1000
_LARGEST = 4096  # pixels a side
# Which of our axes a leaf's are, by how many it has.
_OURS = {1: (0,), 2: (0, 1), 4: (0, 1, 2, 3)}
_TORCH = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}
# Other ResNets by their number of convolutions, shortcuts' too.
_DEPTHS = {20: 18, 36: 34, 104: 101, 155: 152}


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
    for the CNN. classes: names of the outputs, None without head. notes: what was
    assumed, as the source does not say it, or differs from the source, a line each.
    """

    network: str
    variables: Variables
    variant: Variant
    preprocessing: Preprocessing
    classes: tuple[str, ...] | None
    coverage: tuple[Coverage, ...]
    notes: tuple[str, ...]


def port(source: Source) -> Ported:
    """The source's weights in our tree.

    Raises InputError, one line that lists each missing, unexpected and mis-shaped
    leaf, if the source is not a whole ResNet-50.
    """
    layout = source.layout
    held = _place(source)
    refuse_impossible_values(
        source.path, {n: held[p] for n, p in names.table(layout).items() if p in held}
    )
    leaves = _fold_conv_biases(held)
    if layout.bgr:
        stem = "params/conv_stem/kernel"
        leaves[stem] = np.ascontiguousarray(leaves[stem][:, :, ::-1, :])
    classes, class_notes = _class_names(source, leaves)
    notes = [*layout.notes, *class_notes]
    side = layout.preprocessing.image_size
    if not 0 < side <= _LARGEST:
        raise InputError(
            f"weights {source.path}: images of {side} pixels a side: expected at most "
            f"{_LARGEST}"
        )
    if (nearest := max(1, round(side / 32)) * 32) != side:
        notes.append(
            f"images of {nearest} pixels a side, nearest to the weights' {side}"
        )
    return Ported(
        network="resnet50",
        variables=unflatten_dict(leaves, sep="/"),
        variant=layout.variant,
        preprocessing=layout.preprocessing._replace(image_size=nearest),
        classes=classes,
        coverage=_coverage(held, leaves),
        notes=tuple(notes),
    )


def refuse_impossible_values(origin: str, leaves: Mapping[str, np.ndarray]) -> None:
    """Raises InputError naming the leaves with values that no network can have.

    leaves: by names whose last part contains "var" for variances and for no others.
    """
    checks = {
        "not a number": lambda name, leaf: np.isnan(leaf),
        "infinite": lambda name, leaf: np.isinf(leaf),
        "a negative variance": lambda name, leaf: (
            (leaf < 0) & ("var" in name.replace(".", "/").rpartition("/")[2])
        ),
    }
    for what, wrong in checks.items():
        if found := [name for name, leaf in leaves.items() if wrong(name, leaf).any()]:
            raise InputError(
                f"weights {origin}: {what} in {listed(found, 3)}, as in no network "
                "that works: get the file again, or one from before training diverged"
            )


def merge(
    ported: Variables, initial: Variables, *, new_head: bool = False
) -> Variables:
    """`initial`, of the network to train, with each leaf replaced by the ported one.

    new_head: the head stays as it is, as for other classes.
    Raises InputError, one line that lists each missing, unexpected and mis-shaped leaf.
    """
    wanted, found = flatten(initial), flatten(ported)
    head = {place: leaf for place, leaf in wanted.items() if _is_head(place)}
    if new_head:
        found = {place: x for place, x in found.items() if not _is_head(place)} | head
    problems = leaf_differences(
        {place: leaf.shape for place, leaf in found.items()},
        {place: leaf.shape for place, leaf in wanted.items()},
    )
    if problems:
        raise InputError(
            f"the pretrained weights do not fit the network: {problems}; match "
            "config.model to them"
        )
    return unflatten_dict(found, sep="/")


def flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A nested dict's leaves by their paths, `params/head/bias` and the like."""
    return cast(dict[str, Any], flatten_dict(tree, sep="/"))


def imagenet_classes() -> tuple[str, ...]:
    """The 1000 classes' names (WordNet's first lemma), in the order of the outputs.

    Two of the same name are told apart in parentheses.
    """
    text = resources.files(pretrained).joinpath("imagenet_classes.txt").read_text()
    return tuple(text.splitlines())


def _place(source: Source) -> Leaves:
    """The source's leaves in our tree and in our order of axes, strictly checked."""
    held, layout = source.arrays, source.layout
    convolutions = sum(array.ndim == 4 for array in held.values())
    if depth := _DEPTHS.get(convolutions):
        raise InputError(
            f"weights {source.path}: a ResNet-{depth}; expected a ResNet-50, with "
            f"{listed(BLOCKS)} bottleneck blocks in its stages"
        )
    table = names.table(layout)
    # A source has biases in all its convolutions or in none, a whole head or none.
    for part in (_is_conv_bias, _is_head):
        if not any(part(place) for name, place in table.items() if name in held):
            table = {name: place for name, place in table.items() if not part(place)}
    bias = next((n for n, p in table.items() if p == "params/head/bias"), "")
    classes = held[bias].size if bias in held else 2  # none: it does not count
    if classes < 2:
        raise InputError(
            f"weights {source.path}: a classifier of {classes} output: expected one "
            f"for each of 2 classes or more; leave {bias} and its kernel out"
        )
    conv_bias = any(map(_is_conv_bias, table.values()))
    model = ResNet(classes, **{**layout.variant, "conv_bias": conv_bias})
    images = np.zeros((1, 64, 64, 3), np.float32)
    init = partial(model.init, train=False)
    abstract = flatten(jax.eval_shape(init, jax.random.key(0), images))
    axes = _TORCH if layout.framework == "torch" else _OURS
    problems = leaf_differences(
        {name: array.shape for name, array in held.items()},
        {
            name: tuple(abstract[place].shape[i] for i in axes[abstract[place].ndim])
            for name, place in table.items()
        },
    )
    if problems:
        raise InputError(f"weights {source.path}: not a whole ResNet-50: {problems}")
    return {
        place: np.ascontiguousarray(
            held[name].transpose(np.argsort(axes[held[name].ndim]))
        )
        for name, place in table.items()
    }


def _is_conv_bias(place: str) -> bool:
    *_, layer, leaf = place.split("/")
    return layer.startswith("conv") and leaf == "bias"


def _is_head(place: str) -> bool:
    return place.startswith("params/head/")


def _fold_conv_biases(leaves: Leaves) -> Leaves:
    folded = {place: leaf for place, leaf in leaves.items() if not _is_conv_bias(place)}
    for place in leaves.keys() - folded.keys():
        layer = place.removeprefix("params/").removesuffix("/bias")
        mean = f"batch_stats/{layer.replace('conv', 'bn')}/mean"
        folded[mean] = leaves[mean] - leaves[place]
    return folded


def _coverage(held: Leaves, kept: Leaves) -> tuple[Coverage, ...]:
    """held: the leaves as the source has them. kept: after folding."""
    rows = []
    for part in ("stem", "stage1", "stage2", "stage3", "stage4", "head"):
        of_part = [place for place in held if part in place.split("/")[1]]
        ported = sum(place in kept for place in of_part)
        new = 2 if part == "head" and not of_part else 0
        rows.append(Coverage(part, ported, len(of_part) - ported, new))
    return tuple(rows)


def _class_names(
    source: Source, leaves: Leaves
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """(names of the outputs or None without head, a note where they are a guess)."""
    head = leaves.get("params/head/bias")
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
        notes = (
            ("class names assumed: ImageNet's, as there are 1000",) if guessed else ()
        )
        return imagenet_classes(), notes
    note = f"class names assumed: 0 to {head.size - 1}, in the order of the outputs"
    return tuple(map(str, range(head.size))), (note,)
