"""Writes tests/golden/: what Keras and PyTorch compute with known weights.

    KERAS_BACKEND=torch python benchmarks/baselines/golden_port.py --weights=KERAS_H5

Needs Keras 3, torch, transformers, Pillow and scikit-image. KERAS_H5 is the published
ImageNet file, in any copy that Keras loads. Of each stage's activations and of the
logits an even sample is kept, and the largest magnitude of the whole tensor.
"""

# pyright: reportMissingImports=false
# These packages are no dependencies of this project.

import argparse
import gzip
import json
import sys
import tempfile
from pathlib import Path

import h5py
import keras
import numpy as np
import skimage.data
import torch
import transformers
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import keras_reference  # noqa: E402  (found by the line above)
import torch_resnet  # noqa: E402

from tests.helpers.seeded_weights import STEP_SEED, calm, draw, random_images, sample  # noqa: E402

TENSORS = ("stem", "stage1", "stage2", "stage3", "stage4", "logits")
CAFFE_MEAN = np.array([103.939, 116.779, 123.68])
MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])


def caffe(images: np.ndarray) -> np.ndarray:
    return (images[..., ::-1] - CAFFE_MEAN).astype(np.float32)


def unit(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float32) / 255


def standardize(images: np.ndarray) -> np.ndarray:
    return ((images / 255 - MEAN) / STD).astype(np.float32)


def keras_shapes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    return {
        f"{layer.name}/{variable.name}": tuple(variable.shape)
        for layer in model.layers
        for variable in layer.weights
    }


def keras_seed(model: keras.Model) -> None:
    drawn = draw(keras_shapes(model))
    for layer in model.layers:
        layer.set_weights([drawn[f"{layer.name}/{v.name}"] for v in layer.weights])


def keras_tensors(model: keras.Model, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """The first BatchNorm's output, each stage's, and the logits."""
    model.layers[-1].activation = keras.activations.linear
    kept = [layer for layer in model.layers if layer.name.endswith(("bn", "bn_conv1"))]
    kept += [layer for layer in model.layers if "batch_norm" in layer.name]
    sums = [i for i, x in enumerate(model.layers) if isinstance(x, keras.layers.Add)]
    outputs = [kept[0].output]
    outputs += [model.layers[sums[i] + 1].output for i in (2, 6, 12, 15)]
    # The last layer's output of before its activation was changed is not used again.
    outputs.append(model.layers[-1](model.layers[-2].output))
    values = keras.Model(model.input, outputs).predict(inputs, verbose=0)
    return dict(zip(TENSORS, values, strict=True))


def torch_tensors(
    model: torch.nn.Module, modules: list[str], inputs: np.ndarray
) -> dict[str, np.ndarray]:
    """The outputs of `modules`, channels last."""
    found = {}

    def keep(name: str):
        def hook(module, arguments, output):
            value = output.detach().numpy()
            found[name] = value.transpose(0, 2, 3, 1) if value.ndim == 4 else value

        return hook

    handles = [
        model.get_submodule(module).register_forward_hook(keep(name))
        for name, module in zip(TENSORS, modules, strict=True)
    ]
    with torch.no_grad():
        model.eval()(torch.from_numpy(inputs).permute(0, 3, 1, 2).contiguous())
    for handle in handles:
        handle.remove()
    return found


def torch_shapes(model: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def torch_seed(model: torch.nn.Module) -> None:
    drawn = draw(torch_shapes(model))
    model.load_state_dict({name: torch.from_numpy(x) for name, x in drawn.items()})


TORCHVISION_MODULES = ["bn1", "layer1", "layer2", "layer3", "layer4", "fc"]
HUGGING_FACE_MODULES = [
    "resnet.embedder.embedder.normalization",
    *(f"resnet.encoder.stages.{i}" for i in range(4)),
    "classifier.1",
]


def training_step(images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Gradients of the mean cross-entropy, and running statistics, in float64.

    As PyTorch names them; `gradient/` or `statistic/` before.
    """
    model = torch_resnet.ResNet50(6)
    drawn = calm(draw(torch_shapes(model)))
    model.load_state_dict({name: torch.from_numpy(x) for name, x in drawn.items()})
    model.double().train()
    inputs = torch.from_numpy(standardize(images)).double().permute(0, 3, 1, 2)
    loss = torch.nn.functional.cross_entropy(model(inputs), torch.from_numpy(labels))
    loss.backward()
    found = {"loss": loss.detach().numpy()}
    for name, parameter in model.named_parameters():
        found[f"gradient/{name}"] = parameter.grad.numpy()
    for name, value in model.named_buffers():
        if not name.endswith("num_batches_tracked"):
            found[f"statistic/{name}"] = value.numpy()
    return found


def chelsea() -> np.ndarray:
    """uint8 [300, 300, 3]: the largest centred square."""
    image = skimage.data.chelsea()
    left = (image.shape[1] - image.shape[0]) // 2
    return image[:, left : left + image.shape[0]]


class Golden:
    """The samples and shapes to be written."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.shapes: dict[str, dict[str, tuple[int, ...]]] = {}

    def add(self, case: str, tensors: dict[str, np.ndarray], count: int = 200) -> None:
        for name, value in tensors.items():
            kept = sample(value, count).astype(np.float32)
            self.arrays[f"{case}/{name}"] = kept
            self.arrays[f"{case}/{name}/scale"] = np.array(
                np.abs(value).max(), np.float32
            )

    def write(self, model_config: str) -> None:
        np.savez_compressed(GOLDEN / "port.npz", allow_pickle=False, **self.arrays)
        text = json.dumps({"shapes": self.shapes, "model_config": model_config})
        # No time stamp, so that the same values give the same file.
        (GOLDEN / "port.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


def add_real(golden: Golden, weights: Path) -> None:
    photo = chelsea()
    Image.fromarray(photo).save(GOLDEN / "chelsea.png", optimize=True)
    inputs = {
        "chelsea": photo[None, 38:262, 38:262],
        "noise224": random_images(1, 224),
        "noise64": random_images(2, 64),
    }
    for name, images in inputs.items():
        model = keras.applications.ResNet50(
            weights=None, input_shape=images.shape[1:], include_top=True
        )
        model.load_weights(weights)
        golden.add(f"keras-imagenet/{name}", keras_tensors(model, caffe(images)))


def stored_configuration(model: keras.Model) -> str:
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/resnet50.h5")
        with h5py.File(f"{folder}/resnet50.h5") as file:
            return str(file.attrs["model_config"])


def add_seeded(golden: Golden) -> str:
    images = random_images(2, 64)
    keras_models = {
        "keras_applications": (
            keras.applications.ResNet50(weights=None, input_shape=(64, 64, 3)),
            caffe,
        ),
        "keras_applications_old": (
            keras_reference.build(1000, published_names=True),
            caffe,
        ),
        "keras_model": (keras_reference.build(6), unit),
    }
    for case, (model, prepare) in keras_models.items():
        keras_seed(model)
        golden.shapes[case] = keras_shapes(model)
        golden.add(case, keras_tensors(model, prepare(images)))
    model_config = stored_configuration(keras_models["keras_model"][0])
    hugging_face = transformers.ResNetForImageClassification(
        transformers.ResNetConfig(num_labels=6)
    )
    torch_models = {
        "torchvision": (torch_resnet.ResNet50(6), TORCHVISION_MODULES),
        "hugging_face": (hugging_face, HUGGING_FACE_MODULES),
    }
    for case, (model, modules) in torch_models.items():
        torch_seed(model)
        golden.shapes[case] = torch_shapes(model)
        golden.add(case, torch_tensors(model, modules, standardize(images)))
    return model_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    arguments = parser.parse_args()
    GOLDEN.mkdir(exist_ok=True)
    golden = Golden()
    add_real(golden, arguments.weights)
    model_config = add_seeded(golden)
    labels = np.arange(8) % 6
    images = random_images(8, 32, STEP_SEED)
    golden.add("step", training_step(images, labels), count=40)
    golden.write(model_config)


if __name__ == "__main__":
    main()
