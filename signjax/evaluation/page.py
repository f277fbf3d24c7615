"""Pages: one HTML file each, whole in itself, from the templates of this folder.

Images are in the page as data addresses, and nothing is loaded from anywhere.
"""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SHOWN = 128  # pixels a side at least of an image


def render(template: str, values: Mapping[str, Any]) -> str:
    """The page of `<template>.html.jinja`. Needs the plots extra.

    Texts are escaped; a value that the template names and that is missing raises.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["png"] = _png
    page = environment.get_template(f"{template}.html.jinja")
    return page.render(values, shown=SHOWN)


def _png(image: np.ndarray) -> str:
    """The data address of an image, uint8 [H, W, 3]."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
