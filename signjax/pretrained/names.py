"""What each kind of source calls its leaves, and the network that they are of.

A leaf's place is its path in the variables of `models.resnet.ResNet`, such as
"params/stage1_block1/conv1/kernel".
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypedDict

from signjax.pretrained.published import (
    CAFFE,
    HUGGING_FACE,
    TORCHVISION,
    Preprocessing,
)

BLOCKS = (3, 4, 6, 3)

Framework = Literal["flax", "keras", "torch"]
Shapes = Mapping[str, tuple[int, ...]]

# The names of a layer's leaves, in the order in which Keras stores them.
LEAVES: dict[Framework, dict[str, tuple[str, ...]]] = {
    "flax": {
        "conv": ("kernel", "bias"),
        "norm": ("scale", "bias", "mean", "var"),
        "dense": ("kernel", "bias"),
    },
    "keras": {
        "conv": ("kernel", "bias"),
        "norm": ("gamma", "beta", "moving_mean", "moving_variance"),
        "dense": ("kernel", "bias"),
    },
    "torch": {
        "conv": ("weight",),
        "norm": ("weight", "bias", "running_mean", "running_var"),
        "dense": ("weight", "bias"),
    },
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

# What a source calls the convolution and the BatchNorm of a unit.
Naming = Callable[[Unit], tuple[str, str]]


class Variant(TypedDict):
    """The fields of `ResNet` that a source decides."""

    width: int
    stage_sizes: tuple[int, ...]
    stride_on: Literal["1x1", "3x3"]
    pool_padding: int
    same_padding: bool
    conv_bias: bool
    bn_momentum: float
    bn_epsilon: float


class Layout(NamedTuple):
    """How a kind of source names its leaves, and the network that they are of.

    head: the classifier's name. bgr: whether the stem takes blue first. notes: what
    is assumed, as the source does not say it, a line each.
    """

    kind: str
    framework: Framework
    naming: Naming
    head: str
    variant: Variant
    preprocessing: Preprocessing
    bgr: bool = False
    notes: tuple[str, ...] = ()

    def leaves(self, kind: str, layer: str, place: str) -> Iterator[tuple[str, str]]:
        """(name, place) of each leaf of a layer. kind: conv, norm or dense."""
        names = zip(LEAVES[self.framework][kind], LEAVES["flax"][kind], strict=False)
        for leaf, ours in names:
            collection = "batch_stats" if ours in ("mean", "var") else "params"
            name = f"{layer}{'.' if self.framework == 'torch' else '/'}{leaf}"
            name = f"{collection}/{name}" if self.framework == "flax" else name
            yield name, f"{collection}/{place}/{ours}"


def units() -> Iterator[Unit]:
    """Every unit of ResNet-50, in the order they are computed."""
    yield STEM
    for stage, size in enumerate(BLOCKS, start=1):
        for block in range(1, size + 1):
            branches = ("1", "2", "3", "shortcut") if block == 1 else ("1", "2", "3")
            yield from (Unit(stage, block, branch) for branch in branches)


def table(layout: Layout) -> dict[str, str]:
    """The name of every leaf that a source may have, to its place."""
    places = {}
    for unit in units():
        (conv, norm), (our_conv, our_norm) = layout.naming(unit), _own(unit)
        places.update(layout.leaves("conv", conv, our_conv))
        places.update(layout.leaves("norm", norm, our_norm))
    places.update(layout.leaves("dense", layout.head, "head"))
    return places


def recognize(shapes: Shapes) -> Layout | None:
    """The layout of a source with leaves of these names; None if it is not known.

    Names may stand below others (`module.`, `model.backbone.`), but for Flax's, and the
    classifier may have one of its own.
    """
    for layout in LAYOUTS.values():
        conv, _ = layout.naming(Unit(1, 1, "1"))
        first, _ = next(layout.leaves("conv", conv, ""))
        below = (first,) if layout.framework == "flax" else (f".{first}", f"/{first}")
        for name in shapes:
            if name == first or name.endswith(below):
                return _with_head(_below(name.removesuffix(first), layout), shapes)
    return None


def _below(prefix: str, layout: Layout) -> Layout:
    naming = layout.naming
    above = prefix.removesuffix("resnet.") if layout.kind == "hugging_face" else prefix

    def below(unit: Unit) -> tuple[str, str]:
        conv, norm = naming(unit)
        return prefix + conv, prefix + norm

    return layout._replace(naming=below, head=above + layout.head)


def _with_head(layout: Layout, shapes: Shapes) -> Layout:
    """`layout` with the head that the leaves besides the body are, if they are one."""
    others = shapes.keys() - table(layout).keys()
    for kernel in (name for name in others if len(shapes[name]) == 2):
        head = kernel[:-7].removeprefix("params/")  # less "/kernel", ".weight"
        if others == {name for name, _ in layout.leaves("dense", head, "")}:
            return layout._replace(head=head, notes=layout.notes or _AS_FIRST_PUBLISHED)
    return layout


def keras_groups() -> dict[str, str]:
    """The published Keras network's layers by their groups in a Keras 3 file.

    Keras sorts by depth, so a projection's convolution stands beside the third of the
    main path, which is as far from the output.
    """
    branches = ("stem", "1", "2", "shortcut", "3")
    order = sorted(units(), key=lambda u: (u.stage, u.block, branches.index(u.branch)))
    groups = {"dense": "predictions"}
    for i, unit in enumerate(order):
        number = f"_{i}" if i else ""
        conv, norm = LAYOUTS["keras_applications"].naming(unit)
        groups |= {f"conv2d{number}": conv, f"batch_normalization{number}": norm}
    return groups


V1_5 = Variant(
    width=64,
    stage_sizes=BLOCKS,
    stride_on="3x3",
    pool_padding=1,
    same_padding=False,
    conv_bias=False,
    bn_momentum=0.9,  # PyTorch's of 0.1 weighs the new statistic
    bn_epsilon=1e-5,
)
_KERAS: Variant = {
    **V1_5,
    "stride_on": "1x1",
    "bn_momentum": 0.99,
    "bn_epsilon": 1.001e-5,
}
_AS_FIRST_PUBLISHED = (
    "input assumed: as for the first published weights of these names",
)

# What each calls the convolution and the BatchNorm of the stem, of a block's main path
# and of its shortcut, and the classifier; see `_naming`.
_NAMES = {
    "keras_applications": """
        conv1_conv conv1_bn
        conv{s1}_block{b}_{i}_conv conv{s1}_block{b}_{i}_bn
        conv{s1}_block{b}_0_conv conv{s1}_block{b}_0_bn
        predictions""",
    "keras_applications_old": """
        conv1 bn_conv1
        res{s1}{b_}_branch2{i_} bn{s1}{b_}_branch2{i_}
        res{s1}{b_}_branch1 bn{s1}{b_}_branch1
        fc1000""",
    "torchvision": """
        conv1 bn1
        layer{s}.{b0}.conv{i} layer{s}.{b0}.bn{i}
        layer{s}.{b0}.downsample.0 layer{s}.{b0}.downsample.1
        fc""",
    # Whole models have it below `resnet.`.
    "hugging_face": """
        embedder.embedder.convolution embedder.embedder.normalization
        {hf}.layer.{i0}.convolution {hf}.layer.{i0}.normalization
        {hf}.shortcut.convolution {hf}.shortcut.normalization
        classifier.1""",
    "flax": """
        conv_stem bn_stem
        stage{s}_block{b}/conv{i} stage{s}_block{b}/bn{i}
        stage{s}_block{b}/conv_shortcut stage{s}_block{b}/bn_shortcut
        head""",
    # Its examples/imagenet.
    "flax_imagenet": """
        conv_init bn_init
        {flax}/Conv_{i0} {flax}/BatchNorm_{i0}
        {flax}/conv_proj {flax}/norm_proj
        Dense_0""",
}


def _naming(kind: str) -> Naming:
    """The names of a kind, whose templates number a unit's parts.

    s, b, i: its stage, block and branch from 1, s0, b0, i0 from 0; s1: the stage from
    2. b_, i_: as letters. hf, flax: what the block's names have in common.
    """
    stem, main, shortcut, _ = _NAMES[kind].split("\n")[1:]

    def naming(unit: Unit) -> tuple[str, str]:
        s, b, branch = unit
        i = int(branch) if branch.isdigit() else 0
        numbers: dict[str, object] = {"s": s, "s0": s - 1, "s1": s + 1}
        numbers |= {"b": b, "b0": b - 1, "b_": chr(ord("a") + b - 1)}
        numbers |= {"i": i, "i0": i - 1, "i_": chr(ord("a") + i - 1)}
        numbers["hf"] = f"encoder.stages.{s - 1}.layers.{b - 1}"
        numbers["flax"] = f"BottleneckResNetBlock_{sum(BLOCKS[: s - 1]) + b - 1}"
        template = stem if unit == STEM else main if i else shortcut
        conv, norm = template.format(**numbers).split()
        return conv, norm

    return naming


_own = _naming("flax")


def _layout(kind: str, framework: Framework, *rest: Any, **more: Any) -> Layout:
    head = _NAMES[kind].split()[-1]
    return Layout(kind, framework, _naming(kind), head, *rest, **more)


_LAYOUTS = (
    # Since 2.2.5.
    _layout("keras_applications", "keras", _KERAS, CAFFE, bgr=True),
    # Before that, and the courses'.
    _layout(
        "keras_applications_old",
        "keras",
        {**_KERAS, "pool_padding": 0, "bn_epsilon": 1e-3},
        CAFFE,
        bgr=True,
        notes=(
            "BatchNorm's epsilon assumed: 0.001, as in Keras networks of these names",
            "max-pool assumed: padded by 0; their last versions padded by 1",
            "input assumed: BGR, 0 to 255, less ImageNet's mean, as of published ones",
        ),
    ),
    # timm's too.
    _layout("torchvision", "torch", V1_5, TORCHVISION, notes=_AS_FIRST_PUBLISHED),
    _layout("hugging_face", "torch", V1_5, HUGGING_FACE, notes=_AS_FIRST_PUBLISHED),
    _layout(
        "flax",
        "flax",
        V1_5,
        TORCHVISION,
        notes=(
            "network assumed: stride in the 3x3 convolution, max-pool padded by 1, "
            "BatchNorm's epsilon 1e-5 and momentum 0.9",
            "input assumed: RGB with ImageNet's mean and deviation, 224 x 224",
        ),
    ),
    _layout(
        "flax_imagenet",
        "flax",
        {**V1_5, "same_padding": True},
        HUGGING_FACE,
        notes=("input assumed: as google/flax's ImageNet example prepares it",),
    ),
)
LAYOUTS = {layout.kind: layout for layout in _LAYOUTS}
