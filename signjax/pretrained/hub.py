"""A folder as Hugging Face's hub has it: weights, and JSON that says what they need.

transformers writes config.json and preprocessor_config.json, timm config.json alone.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from signjax.errors import InputError, listed, one_line
from signjax.pretrained.names import BLOCKS, Layout
from signjax.pretrained.published import Preprocessing
from signjax.pretrained.read import Source, read_weights

_LONGEST = 16 << 20  # bytes of JSON
# Pillow's numbers.
_RESAMPLE = {2: "bilinear", 3: "bicubic", 5: "hamming"}
_RESNET50 = {
    "depths": list(BLOCKS),
    "layer_type": "bottleneck",
    "hidden_act": "relu",
    "downsample_in_first_stage": False,
}


def read_folder(folder: Path) -> Source:
    """The weights of a folder, with its class names and its preparation of images.

    Raises InputError, one line with the file's name, where they are no ResNet-50's or
    a file is missing or malformed.
    """
    source = read_weights(folder / "model.safetensors")
    layout = source.layout
    file = folder / "config.json"
    try:
        facts = _load(file)
        if stored := facts.get("pretrained_cfg"):
            classes = facts.get("label_names")
            layout = _with_timm(layout, stored)
        else:
            labels = facts.get("id2label") or {}
            classes = [labels[str(i)] for i in range(len(labels))]
            layout = _with_transformers(layout, facts)
            file = folder / "preprocessor_config.json"
            if file.exists():
                layout = _with_processor(layout, _load(file))
        classes = tuple(map(str, classes or ()))
        if odd := [name for name in classes if not name.isprintable()]:
            raise InputError(f"class names {listed(map(repr, odd), 3)}: expected text")
    except InputError as error:
        raise InputError(f"weights {file}: {error}") from error
    except OSError as error:
        raise InputError(f"weights {file}: {error.strerror or error}") from error
    except Exception as error:  # anybody's JSON
        raise InputError(
            f"weights {file}: not what transformers or timm write "
            f"({one_line(repr(error), 100)}); get the folder again"
        ) from error
    return replace(source, layout=layout, classes=classes or None)


def _load(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        stored = json.loads(stream.read(_LONGEST))
    if not isinstance(stored, dict):
        raise InputError("expected a JSON object")
    return stored


def _with_transformers(layout: Layout, facts: dict[str, Any]) -> Layout:
    for key, value in _RESNET50.items():
        if facts.get(key, value) != value:
            raise InputError(f"{key} is {facts[key]}: expected ResNet-50's {value}")
    stride_on = "1x1" if facts.get("downsample_in_bottleneck") else "3x3"
    return layout._replace(variant={**layout.variant, "stride_on": stride_on})


def _with_processor(layout: Layout, stored: dict[str, Any]) -> Layout:
    default = layout.preprocessing
    size = _side(stored.get("size", default.image_size))
    crop = stored.get("crop_pct") or 1.0
    if stored.get("do_center_crop") and stored.get("crop_size"):
        size, resized = _side(stored["crop_size"]), size
        crop = min(1.0, size / resized)
    factor = stored.get("rescale_factor", 1 / 255) if stored.get("do_rescale", 1) else 1
    if not 0.99 < factor * 255 < 1.01:
        raise InputError(f"it multiplies images by {factor}: expected 1/255")
    normalized = stored.get("do_normalize", True)
    return _prepared(
        layout,
        mean=stored.get("image_mean", default.mean) if normalized else (0, 0, 0),
        std=stored.get("image_std", default.std) if normalized else (1, 1, 1),
        size=size,
        crop=crop if size < 384 else 1.0,
        interpolation=_RESAMPLE.get(stored.get("resample", -1)),
    )


def _with_timm(layout: Layout, stored: dict[str, Any]) -> Layout:
    return _prepared(
        layout,
        mean=stored["mean"],
        std=stored["std"],
        size=(stored.get("test_input_size") or stored["input_size"])[-1],
        crop=stored.get("test_crop_pct") or stored["crop_pct"],
        interpolation=stored["interpolation"],
    )


def _prepared(
    layout: Layout, *, mean: Any, std: Any, size: Any, crop: Any, interpolation: Any
) -> Layout:
    if interpolation not in _RESAMPLE.values():
        interpolation = layout.preprocessing.interpolation
    means: Any = tuple(map(float, mean))
    deviations: Any = tuple(map(float, std))
    preprocessing = Preprocessing(
        means, deviations, int(size), float(crop), interpolation
    )
    return layout._replace(preprocessing=preprocessing, notes=())


def _side(size: Any) -> int:
    """Of `224`, {"shortest_edge": 224} or {"height": 224, "width": 224}."""
    if isinstance(size, dict):
        size = size.get("shortest_edge") or size["height"]
    return int(size)
