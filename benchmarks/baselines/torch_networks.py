"""signjax's two networks in PyTorch, on uint8 images, with signjax's weights."""

# pyright: reportMissingImports=false
# PyTorch is no dependency of this project.

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.baselines import measure
from benchmarks.baselines.torch_resnet import ResNet50
from signjax.pretrained.names import LAYOUTS, table

CNN_PLACES = {
    f"{layer}.{leaf}": f"params/{layer}/{own}"
    for layer in ("conv1", "conv2", "head")
    for leaf, own in (("weight", "kernel"), ("bias", "bias"))
}


class CNN(nn.Module):
    """As `signjax.models.cnn.CNN`; TensorFlow's 'same' puts the odd zeros behind."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 4)
        self.conv2 = nn.Conv2d(8, 16, 2)
        self.head = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.conv1(functional.pad(x, (1, 2, 1, 2))))
        x = functional.max_pool2d(x, 8)
        x = functional.relu(self.conv2(functional.pad(x, (0, 1, 0, 1))))
        x = functional.max_pool2d(x, 4)
        return self.head(x.permute(0, 2, 3, 1).flatten(1))


class OnImages(nn.Module):
    """A network with what comes before it: uint8 [B, H, W, 3] -> logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        x = images.permute(0, 3, 1, 2).float() / 255
        return self.network((x - measure.MEAN) / measure.STD)


def make_network(model: str, weights: dict[str, np.ndarray]) -> nn.Module:
    """`resnet` or `cnn` with weights given by their places in signjax."""
    network = ResNet50(measure.CLASSES) if model == "resnet" else CNN(measure.CLASSES)
    places = table(LAYOUTS["torchvision"]) if model == "resnet" else CNN_PLACES
    tensors = {
        name: torch.from_numpy(_torch_order(weights[place]))
        for name, place in places.items()
    }
    # BatchNorm fills in its counters, which signjax does not have.
    missing, unexpected = network.load_state_dict(tensors, strict=False)
    if missing or unexpected or len(tensors) != len(weights):
        raise ValueError(f"weights of another network: {missing=}, {unexpected=}")
    return OnImages(network)


def _torch_order(leaf: np.ndarray) -> np.ndarray:
    """HWIO -> OIHW for convolutions, [in, out] -> [out, in] for the classifier."""
    axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[leaf.ndim]
    return np.ascontiguousarray(leaf.transpose(axes))
