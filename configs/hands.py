"""Hands anywhere in a photograph: MediaPipe's landmarks, and a small classifier.

python main.py --config=configs/hands.py
python main.py --config=configs/hands.py --config.model.hands=FOLDER

It learns the ten digits from SIGNS and the Ankara digits, like configs/digits.py. The
two hand networks are downloaded into the cache, or FOLDER holds them; the landmarks of
each picture, found once, are kept there too.

SIGNS test, leak-free 1.000 ± 0.000; unseen signers, 0 to 9, 0.996 ± 0.007 (n = 3); 6
minutes on 2 cores of an AMD EPYC beside other work, landmarks found before. Of the 63
development scenes 0.963 ± 0.009.
"""

from signjax.config import Config, default_config


def get_config(variant: str = "") -> Config:
    if variant:
        raise ValueError(f"hands.py has no variant {variant!r}: it has none")
    config = default_config()
    config.name = "hands"
    config.dtype = "float32"  # landmarks need all their bits
    config.model.update(name="hands", init="he")
    # The whole photograph, as a hand is anywhere in it.
    config.data.update(source="digits", group="sequence", image_size=256)
    config.data.update(letterbox=True, validation_fraction=0.15)
    config.augment.update(rotation=20.0, noise=0.03)
    config.train.update(epochs=60, batch_size=128, outlier_fraction=0.3)
    config.train.label_smoothing = 0.05
    config.optimizer.update(name="adamw", learning_rate=2e-3, schedule="cosine")
    config.optimizer.update(warmup_epochs=1.0, weight_decay=0.05, epsilon=1e-8)
    config.run.checkpoint_every_epochs = 20
    return config
