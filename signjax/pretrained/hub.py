"""A folder as Hugging Face's hub has it: weights, and JSON that says what they need.

transformers writes config.json and preprocessor_config.json, timm config.json alone.
"""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from signjax.data.image import Interpolation
from signjax.errors import InputError, one_line
from signjax.pretrained.names import BLOCKS, Layout
from signjax.pretrained.published import Preprocessing
from signjax.pretrained.read import Source, read_weights

_WEIGHTS = "model.safetensors"
_CONFIG, _PREPROCESSOR = "config.json", "preprocessor_config.json"
_LONGEST = 16 << 20  # bytes of JSON
# Pillow's numbers.
_RESAMPLE = {2: "bilinear", 3: "bicubic", 5: "hamming"}


def read_folder(folder: Path) -> Source:
    """The weights of a folder, with its class names and its preparation of images.

    Raises InputError, one line with the file's name, where they are no ResNet-50's or
    a file is missing or malformed.
    """
    source = read_weights(folder / _WEIGHTS)
    file = folder / _CONFIG
    try:
        facts = _load(file)
        layout, classes = source.layout, None
        if stored := facts.get("pretrained_cfg"):
            layout = _prepared(layout, _of_timm(stored, layout.preprocessing))
            classes = facts.get("label_names")
        else:
            layout = _of_transformers(layout, facts)
            classes = _labels(facts)
            file = folder / _PREPROCESSOR
            if file.exists():
                found = _of_processor(_load(file), layout.preprocessing)
                layout = _prepared(layout, found)
    except InputError as error:
        raise InputError(f"weights {file}: {error}") from error
    except OSError as error:
        raise InputError(f"weights {file}: {error.strerror or error}") from error
    except Exception as error:  # anybody's JSON
        raise InputError(
            f"weights {file}: not what transformers or timm write "
            f"({one_line(repr(error), 100)}); get the folder again"
        ) from error
    return replace(source, layout=layout, classes=tuple(classes) if classes else None)


def _load(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        stored = json.loads(stream.read(_LONGEST))
    if not isinstance(stored, dict):
        raise InputError("expected a JSON object")
    return stored


def _prepared(layout: Layout, preprocessing: Preprocessing) -> Layout:
    numbers = (*preprocessing.mean, *preprocessing.std, preprocessing.crop)
    side = preprocessing.image_size
    if not all(map(math.isfinite, numbers)) or min(*preprocessing.std, side) <= 0:
        raise InputError(f"{preprocessing}: expected numbers, std and size above 0")
    if side % 32:
        raise InputError(f"images of {side} pixels a side: expected a multiple of 32")
    return layout._replace(preprocessing=preprocessing, notes=())


def _of_transformers(layout: Layout, facts: dict[str, Any]) -> Layout:
    expected = {
        "depths": list(BLOCKS),
        "layer_type": "bottleneck",
        "hidden_act": "relu",
        "downsample_in_first_stage": False,
    }
    for key, value in expected.items():
        if facts.get(key, value) != value:
            raise InputError(f"{key} is {facts[key]}: expected ResNet-50's {value}")
    stride_on = "1x1" if facts.get("downsample_in_bottleneck") else "3x3"
    return layout._replace(variant={**layout.variant, "stride_on": stride_on})


def _labels(facts: dict[str, Any]) -> list[str] | None:
    labels = facts.get("id2label")
    return labels and [str(labels[str(i)]) for i in range(len(labels))]


def _of_processor(stored: dict[str, Any], default: Preprocessing) -> Preprocessing:
    size = _side(stored.get("size", default.image_size))
    crop = stored.get("crop_pct") or 1.0
    if stored.get("do_center_crop") and stored.get("crop_size"):
        size, resized = _side(stored["crop_size"]), size
        crop = min(1.0, size / resized)
    normalized = stored.get("do_normalize", True)
    return _preprocessing(
        default,
        stored.get("image_mean", default.mean) if normalized else (0, 0, 0),
        stored.get("image_std", default.std) if normalized else (1, 1, 1),
        size,
        crop if size < 384 else 1.0,
        _RESAMPLE.get(stored.get("resample", -1), default.interpolation),
    )


def _of_timm(stored: dict[str, Any], default: Preprocessing) -> Preprocessing:
    size = stored.get("test_input_size") or stored["input_size"]
    return _preprocessing(
        default,
        stored["mean"],
        stored["std"],
        size[-1],
        stored.get("test_crop_pct") or stored["crop_pct"],
        stored["interpolation"],
    )


def _preprocessing(
    default: Preprocessing,
    mean: Any,
    std: Any,
    size: Any,
    crop: Any,
    interpolation: str,
) -> Preprocessing:
    if interpolation not in _RESAMPLE.values():
        interpolation = default.interpolation
    red, green, blue = map(float, mean)
    by_red, by_green, by_blue = map(float, std)
    return Preprocessing(
        mean=(red, green, blue),
        std=(by_red, by_green, by_blue),
        image_size=int(size),
        crop=float(crop),
        interpolation=cast(Interpolation, interpolation),
    )


def _side(size: Any) -> int:
    """Of `224`, {"shortest_edge": 224} or {"height": 224, "width": 224}."""
    if isinstance(size, dict):
        size = size.get("shortest_edge") or size["height"]
    return int(size)
