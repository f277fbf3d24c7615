"""Source name -> place in our tree, one table a source.

A place is a path into the variables of `models.resnet.ResNet`, such as
("params", "stage1_block1", "conv1", "kernel").
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import count
from typing import NamedTuple

Path = tuple[str, ...]

BLOCKS = (3, 4, 6, 3)

KERAS_LEAVES = {
    "conv": {"kernel": "kernel", "bias": "bias"},
    "norm": {
        "gamma": "scale",
        "beta": "bias",
        "moving_mean": "mean",
        "moving_variance": "var",
    },
    "dense": {"kernel": "kernel", "bias": "bias"},
}
TORCH_LEAVES = {
    "conv": {"weight": "kernel"},
    "norm": {
        "weight": "scale",
        "bias": "bias",
        "running_mean": "mean",
        "running_var": "var",
    },
    "dense": {"weight": "kernel", "bias": "bias"},
}
OWN_LEAVES = {
    kind: {leaf: leaf for leaf in leaves.values()}
    for kind, leaves in KERAS_LEAVES.items()
}


class Unit(NamedTuple):
    """A convolution and the BatchNorm after it.

    stage: 1 to 4, or 0 for the stem. block: from 1 on. branch: "1", "2" or "3" on the
    main path, or "shortcut"; "stem" in the stem.
    """

    stage: int
    block: int
    branch: str


# What a source calls the convolution and the BatchNorm of a unit.
Naming = Callable[[Unit], tuple[str, str]]

STEM = Unit(0, 0, "stem")


class Layout(NamedTuple):
    """How a source names its leaves.

    head: its name of the classifier. leaves: its leaf names to ours, by layer kind.
    join: what stands between the two. collections: whether `params/` or `batch_stats/`
    comes first.
    """

    naming: Naming
    head: str | None
    leaves: Mapping[str, Mapping[str, str]]
    join: str
    collections: bool = False


def units(blocks: tuple[int, ...] = BLOCKS) -> Iterator[Unit]:
    """Every unit of a ResNet with bottlenecks, in the order they are computed."""
    yield STEM
    for stage, size in enumerate(blocks, start=1):
        for block in range(1, size + 1):
            branches = ("1", "2", "3", "shortcut") if block == 1 else ("1", "2", "3")
            yield from (Unit(stage, block, branch) for branch in branches)


def table(layout: Layout) -> dict[str, Path]:
    """The name of every leaf that a source may have, to its place."""
    places = {}

    def add(kind: str, source: str, target: str) -> None:
        for leaf, ours in layout.leaves[kind].items():
            collection = "batch_stats" if ours in ("mean", "var") else "params"
            name = f"{source}{layout.join}{leaf}"
            name = f"{collection}/{name}" if layout.collections else name
            places[name] = (collection, *target.split("/"), ours)

    for unit in units():
        conv, norm = layout.naming(unit)
        own_conv, own_norm = own(unit)
        add("conv", conv, own_conv)
        add("norm", norm, own_norm)
    if layout.head is not None:
        add("dense", layout.head, "head")
    return places


def depth(layout: Layout, held: Collection[str]) -> int:
    """Convolutions on the main path, and the classifier: 50 of a ResNet-50.

    Blocks are counted from the first on, so a hole ends a stage's count.
    """
    leaf = next(iter(layout.leaves["conv"]))
    first = "params/" if layout.collections else ""

    def has(unit: Unit) -> bool:
        return f"{first}{layout.naming(unit)[0]}{layout.join}{leaf}" in held

    blocks = 0
    for stage in range(1, len(BLOCKS) + 1):
        blocks += next(n for n in count() if not has(Unit(stage, n + 1, "1")))
    return 2 + blocks * (3 if has(Unit(1, 1, "3")) else 2)


def own(unit: Unit) -> tuple[str, str]:
    """Ours, as a path with slashes."""
    if unit == STEM:
        return "conv_stem", "bn_stem"
    prefix = f"stage{unit.stage}_block{unit.block}/"
    if unit.branch == "shortcut":
        return f"{prefix}conv_shortcut", f"{prefix}bn_shortcut"
    return f"{prefix}conv{unit.branch}", f"{prefix}bn{unit.branch}"


def keras_applications(unit: Unit) -> tuple[str, str]:
    """keras.applications since 2.2.5: conv2_block1_1_conv."""
    if unit == STEM:
        return "conv1_conv", "conv1_bn"
    branch = "0" if unit.branch == "shortcut" else unit.branch
    prefix = f"conv{unit.stage + 1}_block{unit.block}_{branch}_"
    return f"{prefix}conv", f"{prefix}bn"


def keras_applications_old(unit: Unit) -> tuple[str, str]:
    """keras.applications before that, and the courses': res2a_branch2a."""
    if unit == STEM:
        return "conv1", "bn_conv1"
    branch = "1" if unit.branch == "shortcut" else f"2{_letter(int(unit.branch))}"
    suffix = f"{unit.stage + 1}{_letter(unit.block)}_branch{branch}"
    return f"res{suffix}", f"bn{suffix}"


def _letter(number: int) -> str:
    return chr(ord("a") + number - 1)


def torchvision(unit: Unit) -> tuple[str, str]:
    """torchvision's and timm's: layer1.0.conv1."""
    if unit == STEM:
        return "conv1", "bn1"
    prefix = f"layer{unit.stage}.{unit.block - 1}."
    if unit.branch == "shortcut":
        return f"{prefix}downsample.0", f"{prefix}downsample.1"
    return f"{prefix}conv{unit.branch}", f"{prefix}bn{unit.branch}"


def hugging_face(unit: Unit) -> tuple[str, str]:
    """transformers' ResNet: resnet.encoder.stages.0.layers.0.layer.0.convolution."""
    if unit == STEM:
        prefix = "resnet.embedder.embedder"
    else:
        part = (
            "shortcut" if unit.branch == "shortcut" else f"layer.{int(unit.branch) - 1}"
        )
        prefix = (
            f"resnet.encoder.stages.{unit.stage - 1}.layers.{unit.block - 1}.{part}"
        )
    return f"{prefix}.convolution", f"{prefix}.normalization"


def keras_layer_order() -> dict[str, list[str]]:
    """The published Keras network's layers with weights, by class, in its own order.

    Keras sorts by depth, so a projection's convolution stands beside the third of the
    main path, which is as far from the output.
    """
    branches = ("stem", "1", "2", "shortcut", "3")
    order = sorted(units(), key=lambda u: (u.stage, u.block, branches.index(u.branch)))
    names = [keras_applications(unit) for unit in order]
    return {
        "conv2d": [conv for conv, _ in names],
        "batch_normalization": [norm for _, norm in names],
        "dense": ["predictions"],
    }


LAYOUTS = {
    "keras_applications": Layout(keras_applications, "predictions", KERAS_LEAVES, "/"),
    "keras_applications_old": Layout(
        keras_applications_old, "fc1000", KERAS_LEAVES, "/"
    ),
    "torchvision": Layout(torchvision, "fc", TORCH_LEAVES, "."),
    "hugging_face": Layout(hugging_face, "classifier.1", TORCH_LEAVES, "."),
    "flax": Layout(own, "head", OWN_LEAVES, "/", collections=True),
}
