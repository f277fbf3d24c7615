"""Weights that others publish: where they are, and how their images are prepared."""

from typing import NamedTuple

from signjax.data.download import RemoteFile
from signjax.data.image import Interpolation
from signjax.errors import InputError


class Preprocessing(NamedTuple):
    """How a network's images were prepared.

    mean, std: of RGB in [0, 1]; the input is (image - mean) / std. image_size: pixels
    a side. crop, interpolation: as in `data.image.CropResize`. flip, rotation: the
    views of an image that its answer is the mean over, as in `step.eval_step`.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    image_size: int
    crop: float
    interpolation: Interpolation
    flip: bool = False
    rotation: float = 0.0


_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)

# Caffe's: 0 to 255 less the mean of each channel. Where Keras keeps the shape of what
# it resizes (smart_resize) it takes the largest centred square and the plain bilinear
# kernel, without antialiasing; Hamming comes nearest to that and does not alias.
CAFFE = Preprocessing(
    mean=(123.68 / 255, 116.779 / 255, 103.939 / 255),
    std=(1 / 255, 1 / 255, 1 / 255),
    image_size=224,
    crop=1.0,
    interpolation="hamming",
)
# torchvision's first weights: the shorter side to 256, then 224 from the centre.
TORCHVISION = Preprocessing(_IMAGENET_MEAN, _IMAGENET_STD, 224, 0.875, "bilinear")
HUGGING_FACE = TORCHVISION._replace(interpolation="bicubic")
# "ResNet strikes back" (arXiv:2110.00476), as timm evaluates it.
STRIKES_BACK = Preprocessing(_IMAGENET_MEAN, _IMAGENET_STD, 288, 1.0, "bicubic")
# Nothing known: 0 to 1, as the Keras reference for SIGNS divides by 255.
UNIT_RANGE = Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 64, 1.0, "bicubic")


class Published(NamedTuple):
    """A file of weights that can be had by its name."""

    file: RemoteFile
    preprocessing: Preprocessing


def _keras(suffix: str, size: int, md5: str) -> Published:
    name = f"resnet50_weights_tf_dim_ordering_tf_kernels{suffix}.h5"
    folder = "https://storage.googleapis.com/tensorflow/keras-applications/resnet"
    file = RemoteFile(name=name, mirrors=(f"{folder}/{name}",), size=size, md5=md5)
    return Published(file, CAFFE)


def _hub(
    repository: str, revision: str, preprocessing: Preprocessing, sha256: str
) -> Published:
    host = "https://huggingface.co"
    address = f"{host}/{repository}/resolve/{revision}/model.safetensors"
    # Every repository calls its file model.safetensors; the cache must not.
    name = f"{repository.replace('/', '-')}.safetensors"
    return Published(RemoteFile(name, (address,), sha256=sha256), preprocessing)


PUBLISHED = {
    "keras-imagenet": _keras("", 102_967_424, "2cb95161c43110f7111970584f804107"),
    "keras-imagenet-notop": _keras(
        "_notop", 94_765_736, "4d473c1dd8becc155b73f8504c6f6626"
    ),
}
PUBLISHED |= {
    repository: _hub(repository, revision, preprocessing, sha256)
    for repository, revision, preprocessing, sha256 in (
        (
            "timm/resnet50.a1_in1k",
            "main",
            STRIKES_BACK,
            "773525d5821de224f8f30c33377b7a795d7863e08522698200d3217d3f2a41bb",
        ),
        (
            "timm/resnet50.a2_in1k",
            "main",
            STRIKES_BACK,
            "f531f9aca4dde1b89e9a465c5b9e3b916a2d1b20a216acf3b9473d1e1212ecf6",
        ),
        (
            "timm/resnet50.tv_in1k",
            "main",
            TORCHVISION,
            "5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888",
        ),
        (
            "microsoft/resnet-50",
            "34c2154c194f829b11125337b98c8f5f9965ff19",
            HUGGING_FACE,
            "9c6061af1f450bb0847e529fd742aa5066017be379c71bbf5546b198e5b13a1e",
        ),
    )
}


def named(name: str) -> Published:
    """The published weights of that name; InputError lists the names there are."""
    if name not in PUBLISHED:
        raise InputError(
            f"weights {name}: neither a file or folder nor one of the published "
            f"weights, which are {', '.join(PUBLISHED)}"
        )
    return PUBLISHED[name]


def preprocessing_of(sha256: str) -> Preprocessing | None:
    """How images are prepared for a published file, told by its content."""
    for published in PUBLISHED.values():
        if published.file.sha256 and published.file.sha256 == sha256:
            return published.preprocessing
    return None
