"""Source name -> place in our tree, one table a source.

A place is a path into the variables of `models.resnet.ResNet`, such as
("params", "stage1_block1", "conv1", "kernel").
"""

from collections.abc import Callable, Iterator, Mapping
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


def units(blocks: tuple[int, ...] = BLOCKS) -> Iterator[Unit]:
    """Every unit of a ResNet with bottlenecks, in the order they are computed."""
    yield STEM
    for stage, count in enumerate(blocks, start=1):
        for block in range(1, count + 1):
            branches = ("1", "2", "3", "shortcut") if block == 1 else ("1", "2", "3")
            yield from (Unit(stage, block, branch) for branch in branches)


def table(
    naming: Naming, head: str | None, leaves: Mapping[str, Mapping[str, str]], join: str
) -> dict[str, Path]:
    """The names of every leaf that a source may have, to their places.

    head: its name of the classifier. leaves: its leaf names to ours, by layer kind.
    join: what stands between the two names.
    """
    places = {}

    def add(kind: str, source: str, target: Path) -> None:
        for leaf, ours in leaves[kind].items():
            collection = "batch_stats" if ours in ("mean", "var") else "params"
            places[f"{source}{join}{leaf}"] = (collection, *target, ours)

    for unit in units():
        conv, norm = naming(unit)
        own_conv, own_norm = own(unit)
        add("conv", conv, tuple(own_conv.split("/")))
        add("norm", norm, tuple(own_norm.split("/")))
    if head is not None:
        add("dense", head, ("head",))
    return places


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
    return "abcdefghijklmnopqrstuvwxyz"[number - 1]


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
    convs, norms = [], []
    for stage, count in enumerate(BLOCKS):
        for block in range(1, count + 1):
            first = stage == 0 and block == 1
            if first:
                convs, norms = ["conv1_conv"], ["conv1_bn"]
            branches = ("1", "2", "shortcut", "3") if block == 1 else ("1", "2", "3")
            for branch in branches:
                conv, norm = keras_applications(Unit(stage + 1, block, branch))
                convs.append(conv)
                norms.append(norm)
    return {"conv2d": convs, "batch_normalization": norms, "dense": ["predictions"]}
