"""A sheet of predictions: what the network saw of each image, and where it looked."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from signjax.errors import InputError
from signjax.evaluation import plots
from signjax.evaluation.occlusion import occlusion_maps, overlay
from signjax.evaluation.page import SHOWN, render
from signjax.runtime.files import write_bytes, write_text

_AT_ONCE = 16  # images, each of which is covered at 49 places
_GAP, _LINE, _LETTERS = 8, 16, 38


def check_sheet(path: str) -> None:
    """Raises InputError where a sheet of this name cannot be made."""
    if Path(path).suffix not in (".html", ".png"):
        raise InputError(f"--sheet={path}: expected a name that ends in .html or .png")
    if path.endswith(".html") and not plots.available():
        raise InputError(
            f'--sheet={path} needs the plots extra: pip install "signjax[plots]", or '
            f"give --sheet={Path(path).with_suffix('.png')}"
        )


def write_sheet(
    path: Path,
    answers: Sequence[Mapping[str, Any]],
    images: np.ndarray,
    logits_of: Callable[[np.ndarray], np.ndarray],
    *,
    classes: Sequence[str],
    model: str,
    note: str = "",
    looked: Sequence[np.ndarray] = (),
) -> None:
    """Writes the sheet of answers to images, uint8 [N, S, S, 3].

    path: as `check_sheet` lets pass. answers: each with path, label, likeliest and
    confidence, as --json of predict has them. logits_of: uint8 [M, S, S, 3] -> float
    [M, C], of `classes`. model: its name. note: a sentence about all answers, or empty.
    looked: images, uint8 [S, S, 3], of where it looked; else occlusion tells.
    """
    hands = bool(looked)
    if not hands:
        likeliest = np.array([classes.index(answer["likeliest"]) for answer in answers])
        heats = [
            heat
            for start in range(0, len(images), _AT_ONCE)
            for heat in occlusion_maps(
                logits_of,
                images[start : start + _AT_ONCE],
                likeliest[start : start + _AT_ONCE],
            )
        ]
        looked = list(map(overlay, images, heats))
    entries = [
        {**answer, "name": Path(answer["path"]).name, "image": image, "looked": shown}
        for answer, image, shown in zip(answers, images, looked, strict=True)
    ]
    if path.suffix == ".png":
        write_bytes(path, _draw(entries))
    else:
        values = {"answers": entries, "hands": hands, "model": model, "note": note}
        write_text(path, render("sheet", values))


def _draw(entries: Sequence[Mapping[str, Any]]) -> bytes:
    """A PNG of tiles, each an image, where the network looked, and two lines below."""
    columns = min(4, len(entries))
    rows = -(-len(entries) // columns)
    side = max(SHOWN, min(len(entries[0]["image"]), 2 * SHOWN))
    width, height = 2 * side + 3 * _GAP, side + 2 * _LINE + 2 * _GAP
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number, entry in enumerate(entries):
        left = number % columns * width + _GAP
        top = number // columns * height + _GAP
        shown = (entry["image"], entry["looked"])
        for place, pixels in enumerate(shown):
            tile = Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX)
            sheet.paste(tile, (left + place * (side + _GAP), top))
        answer = entry["label"] or f"unsure, likeliest {entry['likeliest']}"
        lines = (f"{answer}  {entry['confidence']:.3f}", entry["name"])
        for line, text in enumerate(lines):
            shown = text.encode(errors="backslashreplace").decode()[:_LETTERS]
            place = (left, top + side + 2 + line * _LINE)
            draw.text(place, shown, fill="black", font=font)
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()
