"""What each kind of source calls its leaves, and the network that they are of.

A leaf's place is its path in the variables of `models.resnet.ResNet`, such as
("params", "stage1_block1", "conv1", "kernel").
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import count
from typing import Any, Literal, NamedTuple, TypedDict

from signjax.pretrained.published import (
    CAFFE,
    HUGGING_FACE,
    TORCHVISION,
    Preprocessing,
)

LeafPath = tuple[str, ...]

BLOCKS = (3, 4, 6, 3)

_FLAX_LEAVES = {
    "conv": {"kernel": "kernel", "bias": "bias"},
    "norm": {"scale": "scale", "bias": "bias", "mean": "mean", "var": "var"},
    "dense": {"kernel": "kernel", "bias": "bias"},
}
KERAS_LEAVES = _FLAX_LEAVES | {
    "norm": {
        "gamma": "scale",
        "beta": "bias",
        "moving_mean": "mean",
        "moving_variance": "var",
    }
}
_TORCH_LEAVES = {
    "conv": {"weight": "kernel"},
    "norm": {
        "weight": "scale",
        "bias": "bias",
        "running_mean": "mean",
        "running_var": "var",
    },
    "dense": {"weight": "kernel", "bias": "bias"},
}


class Unit(NamedTuple):
    """A convolution and the BatchNorm after it.

    stage: 1 to 4, or 0 for the stem. block: from 1 on. branch: "1", "2" or "3" on the
    main path, or "shortcut"; "stem" in the stem.
    """

    stage: int
    block: int
    branch: str


STEM = Unit(0, 0, "stem")
_FIRST = Unit(1, 1, "1")

# What a source calls the convolution and the BatchNorm of a unit.
Naming = Callable[[Unit], tuple[str, str]]


class Variant(TypedDict):
    """The fields of `ResNet` that a source decides."""

    stride_on: Literal["1x1", "3x3"]
    pool_padding: int
    same_padding: bool
    conv_bias: bool
    bn_momentum: float
    bn_epsilon: float


class Layout(NamedTuple):
    """How a kind of source names its leaves, and the network that they are of.

    head: the classifier's name. leaves: its leaf names to ours, by layer kind. join:
    what stands between a layer and a leaf. collections: whether `params/` or
    `batch_stats/` comes first. torch: whether kernels have their outputs first. bgr:
    whether the stem takes blue first. notes: what the source does not say and is taken
    for granted, a line each.
    """

    kind: str
    naming: Naming
    head: str
    leaves: Mapping[str, Mapping[str, str]]
    variant: Variant
    preprocessing: Preprocessing
    join: str = "/"
    collections: bool = False
    torch: bool = False
    bgr: bool = False
    notes: tuple[str, ...] = ()


def units(blocks: tuple[int, ...] = BLOCKS) -> Iterator[Unit]:
    """Every unit of a ResNet with bottlenecks, in the order they are computed."""
    yield STEM
    for stage, size in enumerate(blocks, start=1):
        for block in range(1, size + 1):
            branches = ("1", "2", "3", "shortcut") if block == 1 else ("1", "2", "3")
            yield from (Unit(stage, block, branch) for branch in branches)


def table(layout: Layout) -> dict[str, LeafPath]:
    """The name of every leaf that a source may have, to its place."""
    places = {}

    def add(kind: str, source: str, target: str) -> None:
        for leaf, ours in layout.leaves[kind].items():
            collection = "batch_stats" if ours in ("mean", "var") else "params"
            name = f"{source}{layout.join}{leaf}"
            name = f"{collection}/{name}" if layout.collections else name
            places[name] = (collection, *target.split("/"), ours)

    for unit in units():
        for kind, source, target in zip(
            ("conv", "norm"), layout.naming(unit), _own(unit), strict=True
        ):
            add(kind, source, target)
    add("dense", layout.head, "head")
    return places


def depth(layout: Layout, held: Collection[str]) -> int:
    """Convolutions on the main path, and the classifier: 50 of a ResNet-50.

    Blocks are counted from the first on, so a hole ends a stage's count.
    """
    blocks = 0
    for stage in range(1, len(BLOCKS) + 1):
        blocks += next(
            n for n in count() if _kernel(layout, Unit(stage, n + 1, "1")) not in held
        )
    return 2 + blocks * (3 if _kernel(layout, Unit(1, 1, "3")) in held else 2)


def recognize(shapes: Mapping[str, tuple[int, ...]]) -> Layout | None:
    """The layout of a source with leaves of these names; None if it is not known.

    Names may stand below others (`module.`, `model.backbone.`), but for Flax's, and the
    classifier may have one of its own.
    """
    for layout in LAYOUTS.values():
        first = _kernel(layout, _FIRST)
        for name in shapes:
            below = name.endswith(layout.join + first) and not layout.collections
            if name == first or below:
                return _adapted(layout, name.removesuffix(first), shapes)
    return None


def _adapted(
    layout: Layout, prefix: str, shapes: Mapping[str, tuple[int, ...]]
) -> Layout:
    """`layout` below `prefix`, with the head that the leaves besides the body are."""

    bare = layout.naming

    def naming(unit: Unit) -> tuple[str, str]:
        conv, norm = bare(unit)
        return prefix + conv, prefix + norm

    above = prefix.removesuffix("resnet.") if layout.kind == "hugging_face" else prefix
    layout = layout._replace(naming=naming, head=above + layout.head)
    known = table(layout)
    others = {name for name in shapes if name not in known}
    kernel, bias = layout.leaves["dense"]
    heads = [n.removesuffix(kernel) for n in others if len(shapes[n]) == 2]
    if len(heads) == 1 and others == {heads[0] + kernel, heads[0] + bias}:
        first = "params/" if layout.collections else ""
        head = heads[0].removeprefix(first).removesuffix(layout.join)
        return layout._replace(head=head, notes=layout.notes or _AS_FIRST_PUBLISHED)
    return layout


def _kernel(layout: Layout, unit: Unit) -> str:
    first = "params/" if layout.collections else ""
    leaf = next(iter(layout.leaves["conv"]))
    return f"{first}{layout.naming(unit)[0]}{layout.join}{leaf}"


def keras_layer_order() -> dict[str, list[str]]:
    """The published Keras network's layers with weights, by class, in its own order.

    Keras sorts by depth, so a projection's convolution stands beside the third of the
    main path, which is as far from the output.
    """
    branches = ("stem", "1", "2", "shortcut", "3")
    order = sorted(units(), key=lambda u: (u.stage, u.block, branches.index(u.branch)))
    naming = LAYOUTS["keras_applications"].naming
    convs, norms = zip(*map(naming, order), strict=True)
    return {
        "conv2d": [*convs],
        "batch_normalization": [*norms],
        "dense": ["predictions"],
    }


def _named(stem: str, main: str, shortcut: str) -> Naming:
    """Names by templates of `convolution norm`, which number a unit's parts.

    s, b, i: its stage, block and branch from 1, s0, b0, i0 from 0; s1: the stage from
    2, n: the block's in the whole network, from 0. b_, i_: as letters.
    """

    def naming(unit: Unit) -> tuple[str, str]:
        s, b, branch = unit
        i = int(branch) if branch.isdigit() else 0
        numbers = {"s": s, "s0": s - 1, "s1": s + 1, "b": b, "b0": b - 1}
        numbers |= {"i": i, "i0": i - 1, "n": sum(BLOCKS[: s - 1]) + b - 1}
        template = stem if unit == STEM else main if i else shortcut
        letters = {"b_": chr(ord("a") + b - 1), "i_": chr(ord("a") + i - 1)}
        conv, norm = template.format(**numbers, **letters).split()
        return conv, norm

    return naming


def variant(
    stride_on: Any, pool_padding: int, momentum: float, epsilon: float
) -> Variant:
    return Variant(
        stride_on=stride_on,
        pool_padding=pool_padding,
        same_padding=False,
        conv_bias=False,
        bn_momentum=momentum,
        bn_epsilon=epsilon,
    )


# PyTorch's momentum of 0.1 weighs the new statistic.
_V1_5 = variant("3x3", 1, momentum=0.9, epsilon=1e-5)
_own = _named(
    "conv_stem bn_stem",
    "stage{s}_block{b}/conv{i} stage{s}_block{b}/bn{i}",
    "stage{s}_block{b}/conv_shortcut stage{s}_block{b}/bn_shortcut",
)
_AS_FIRST_PUBLISHED = (
    "input: prepared as for the first published weights of these names",
)
_BLOCK = "BottleneckResNetBlock_{n}"
_LAYER = " ".join(
    "encoder.stages.{{s0}}.layers.{{b0}}.{}." + part
    for part in ("convolution", "normalization")
)

LAYOUTS = {
    layout.kind: layout
    for layout in (
        Layout(  # since 2.2.5
            "keras_applications",
            _named(
                "conv1_conv conv1_bn",
                "conv{s1}_block{b}_{i}_conv conv{s1}_block{b}_{i}_bn",
                "conv{s1}_block{b}_0_conv conv{s1}_block{b}_0_bn",
            ),
            "predictions",
            KERAS_LEAVES,
            variant("1x1", 1, momentum=0.99, epsilon=1.001e-5),
            CAFFE,
            bgr=True,
        ),
        Layout(  # before that, and the courses'
            "keras_applications_old",
            _named(
                "conv1 bn_conv1",
                "res{s1}{b_}_branch2{i_} bn{s1}{b_}_branch2{i_}",
                "res{s1}{b_}_branch1 bn{s1}{b_}_branch1",
            ),
            "fc1000",
            KERAS_LEAVES,
            variant("1x1", 0, momentum=0.99, epsilon=1e-3),
            CAFFE,
            bgr=True,
            notes=(
                "BatchNorm's epsilon: 0.001, as in all Keras networks of these layer "
                "names",
                "padding of the stem's max-pool: 0; their last versions padded by 1",
                "input: BGR, 0 to 255, less ImageNet's mean, as published ones take it",
            ),
        ),
        Layout(  # timm's too
            "torchvision",
            _named(
                "conv1 bn1",
                "layer{s}.{b0}.conv{i} layer{s}.{b0}.bn{i}",
                "layer{s}.{b0}.downsample.0 layer{s}.{b0}.downsample.1",
            ),
            "fc",
            _TORCH_LEAVES,
            _V1_5,
            TORCHVISION,
            join=".",
            torch=True,
            notes=_AS_FIRST_PUBLISHED,
        ),
        Layout(  # whole models have it below `resnet.`
            "hugging_face",
            _named(
                "embedder.embedder.convolution embedder.embedder.normalization",
                _LAYER.format("layer.{i0}", "layer.{i0}"),
                _LAYER.format("shortcut", "shortcut"),
            ),
            "classifier.1",
            _TORCH_LEAVES,
            _V1_5,
            HUGGING_FACE,
            join=".",
            torch=True,
            notes=_AS_FIRST_PUBLISHED,
        ),
        Layout(
            "flax",
            _own,
            "head",
            _FLAX_LEAVES,
            _V1_5,
            TORCHVISION,
            collections=True,
            notes=(
                "network: stride in the 3x3 convolution, max-pool padded by 1, "
                "BatchNorm's epsilon 1e-5 and momentum 0.9",
                "input: RGB with ImageNet's mean and deviation, 224 x 224",
            ),
        ),
        Layout(  # its examples/imagenet
            "flax_imagenet",
            _named(
                "conv_init bn_init",
                f"{_BLOCK}/Conv_{{i0}} {_BLOCK}/BatchNorm_{{i0}}",
                f"{_BLOCK}/conv_proj {_BLOCK}/norm_proj",
            ),
            "Dense_0",
            _FLAX_LEAVES,
            {**_V1_5, "same_padding": True},
            HUGGING_FACE,
            collections=True,
            notes=("input: as google/flax's ImageNet example prepares it",),
        ),
    )
}
