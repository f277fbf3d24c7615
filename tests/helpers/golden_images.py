"""The images that LiteRT and the port are compared on."""

from pathlib import Path

import numpy as np
from PIL import Image

SHEET = Path(__file__).parents[2] / "docs" / "synthetic_hands.jpg"


def golden_images(side: int) -> np.ndarray:
    """Noise, and a synthetic hand: float32 [2, side, side, 3] in [0, 1]."""
    noise = np.random.default_rng(side).random((side, side, 3), np.float32)
    with Image.open(SHEET) as sheet:
        hand = sheet.convert("RGB").crop((0, 0, 128, 128))
    hand = hand.resize((side, side), Image.Resampling.BILINEAR)
    return np.stack([noise, np.asarray(hand, np.float32) / 255])
