"""What MediaPipe's own Python package finds: tests/golden/mediapipe_hands.npz.

    python -m benchmarks.baselines.mediapipe_hands PICTURES.npy

PICTURES.npy: uint8 [N, S, S, 3], the scenes as tests/hands/test_find.py loads them. It
needs an environment with mediapipe 0.10.14 of its own. Of each hand: picture, its
number; landmarks, float32 [21, 2], in pixels.
"""

import argparse
from pathlib import Path

import mediapipe  # pyright: ignore[reportMissingImports]
import numpy as np

GOLDEN = Path(__file__).parents[2] / "tests" / "golden" / "mediapipe_hands.npz"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pictures", type=Path)
    images = np.load(parser.parse_args().pictures)
    hands = mediapipe.solutions.hands.Hands(
        static_image_mode=True, max_num_hands=4, min_detection_confidence=0.5
    )
    pictures, landmarks = [], []
    for number, image in enumerate(images):
        for hand in hands.process(image).multi_hand_landmarks or ():
            pictures.append(number)
            points = [[point.x, point.y] for point in hand.landmark]
            landmarks.append(np.array(points) * image.shape[0])
    np.savez_compressed(
        GOLDEN,
        picture=np.array(pictures, np.int32),
        landmarks=np.array(landmarks, np.float32),
    )


if __name__ == "__main__":
    main()
