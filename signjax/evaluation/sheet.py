"""A sheet of predictions: what the network saw of each image, and where it looked."""

import io
import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

from signjax.errors import InputError, printable
from signjax.evaluation import plots
from signjax.evaluation.occlusion import occlusion_maps, overlay
from signjax.evaluation.page import SHOWN, render
from signjax.runtime.console import Console
from signjax.runtime.files import write_bytes, write_text

_AT_ONCE = 16  # images, each of which is covered at 49 places
_LARGEST = 2 * SHOWN  # pixels a side of an image
_GAP, _LINE = 8, 16


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
    images: Sequence[np.ndarray] | np.ndarray,
    logits_of: Callable[[np.ndarray], np.ndarray],
    console: Console,
    *,
    classes: Sequence[str],
    model: str,
    note: str = "",
    looked: Sequence[np.ndarray] | np.ndarray = (),
) -> None:
    """Writes the sheet of answers to N images, uint8 [S, S, 3] each.

    path: as `check_sheet` lets pass. answers: each with path, label, likeliest and
    confidence, as --json of predict has them, and with `true` where its label is known.
    logits_of: uint8 [M, S, S, 3] -> float [M, C], of `classes`. model: its name. note:
    a sentence about all answers, or empty. looked: images, uint8 [S, S, 3], of where it
    looked; without them occlusion tells, by logits_of.
    """
    hands = len(looked) > 0
    if not hands:
        labels = np.array([classes.index(answer["likeliest"]) for answer in answers])
        looked = _looked(logits_of, np.asarray(images), labels, console)
    rows = zip(answers, _names(answers), images, looked, strict=True)
    entries = [
        {**answer, "name": name, "image": _reduce(image), "looked": _reduce(shown)}
        for answer, name, image, shown in rows
    ]
    with console.if_slow(f"writing {path}"):
        if path.suffix == ".png":
            picture, lacking = _draw(entries)
            write_bytes(path, picture)
        else:
            values = {"answers": entries, "hands": hands, "model": model, "note": note}
            write_text(path, render("sheet", values))
            lacking = ()
    if lacking:
        remedy = f"--sheet={path.with_suffix('.html')} shows them"
        if not plots.available():
            remedy = 'pip install "signjax[plots]" brings a larger font'
        console.warning(
            f"{path}: letters that cannot be drawn are escapes there, as "
            f"{_escape(lacking[0])} for {lacking[0]}; {remedy}"
        )


def _looked(
    logits_of: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    labels: np.ndarray,
    console: Console,
) -> np.ndarray:
    """The images, each with where the network looked for its label, as uint8 too."""
    # In one array made beforehand: small results kept between the network's calls
    # would split the memory that these use again.
    looked, start = np.empty_like(images), 0
    with console.if_slow(lambda: f"where it looked: {start} of {len(images)}"):
        for start in range(0, len(images), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            heats = occlusion_maps(logits_of, images[part], labels[part])
            for index, heat in enumerate(heats, start):
                looked[index] = overlay(images[index], heat)
    return looked


def _reduce(image: np.ndarray) -> np.ndarray:
    side = min(len(image), _LARGEST)
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BOX))


def _names(answers: Sequence[Mapping[str, Any]]) -> list[str]:
    """What to call each: its path without the folders that all are in, and its label.

    So equal names in different folders stay apart, and the folders above are not told.
    """
    parts = [PurePath(answer["path"]).parts for answer in answers]
    folders = zip(*(each[:-1] for each in parts), strict=False)
    common = len(list(takewhile(lambda names: len(set(names)) == 1, folders)))
    labels = [f" (labeled {x['true']})" if "true" in x else "" for x in answers]
    return [
        unicodedata.normalize("NFC", printable(f"{PurePath(*each[common:])}{label}"))
        for each, label in zip(parts, labels, strict=True)
    ]


def _draw(entries: Sequence[Mapping[str, Any]]) -> tuple[bytes, Sequence[str]]:
    """A PNG of tiles, each an image, where the network looked, and its words below.

    Returns with it the letters that its font lacks, which are escapes in it.
    """
    columns = min(max(4, math.isqrt(len(entries))), len(entries))
    rows = -(-len(entries) // columns)
    side = max(SHOWN, len(entries[0]["image"]))
    font = _font()
    words = [(_answer(entry), entry["name"]) for entry in entries]
    lacking = sorted(x for x in set("".join(map("".join, words))) if _lacks(font, x))
    escapes = str.maketrans({x: _escape(x) for x in lacking})
    lines = [
        [x for text in each for x in _wrap(text.translate(escapes), font, 2 * side)]
        for each in words
    ]
    width = 2 * side + 3 * _GAP
    height = side + max(map(len, lines)) * _LINE + 2 * _GAP
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    draw = ImageDraw.Draw(sheet)
    for number, entry in enumerate(entries):
        left = number % columns * width + _GAP
        top = number // columns * height + _GAP
        shown = (entry["image"], entry["looked"])
        for place, pixels in enumerate(shown):
            tile = Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX)
            sheet.paste(tile, (left + place * (side + _GAP), top))
        for line, text in enumerate(lines[number]):
            draw.text((left, top + side + 2 + line * _LINE), text, "black", font)
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue(), lacking


def _answer(entry: Mapping[str, Any]) -> str:
    label = entry["label"] or f"unsure, likeliest {entry['likeliest']}"
    return f"{printable(label)}  {entry['confidence']:.3f}"


_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def _font() -> _Font:
    """DejaVu Sans, which comes with matplotlib, or Pillow's own, which has ASCII."""
    try:
        import matplotlib

        fonts = Path(matplotlib.get_data_path(), "fonts", "ttf")
        return ImageFont.truetype(fonts / "DejaVuSans.ttf", 12)
    except (ImportError, OSError):
        return ImageFont.load_default(13)


def _lacks(font: _Font, letter: str) -> bool:
    # Without Raqm those written from right to left would stand reversed and unjoined.
    if unicodedata.bidirectional(letter) in ("R", "AL") and not features.check("raqm"):
        return True
    return _pixels(font, letter) == _pixels(font, "\uffff")  # which no font has


def _pixels(font: _Font, letter: str) -> bytes:
    image = Image.new("L", (3 * _LINE, 3 * _LINE))
    ImageDraw.Draw(image).text((_LINE, _LINE), letter, 255, font)
    return image.tobytes()


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def _wrap(text: str, font: _Font, width: int) -> list[str]:
    """The text in lines of at most `width` pixels."""
    lines = [""]
    for letter in text:
        if font.getlength(lines[-1] + letter) > width:
            lines.append("")
        lines[-1] += letter
    return lines
