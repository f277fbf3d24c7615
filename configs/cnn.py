"""The small CNN, 1,310 parameters. Variant `:seed` is the Keras recipe to the letter.

python main.py --config=configs/cnn.py
python main.py --config=configs/cnn.py:seed
"""

from signjax.config import Config, default_config


def get_config(variant: str = "") -> Config:
    config = default_config()
    config.model.name = "cnn"
    config.train.drop_remainder = False  # no BatchNorm, so padding harms nothing
    config.run.checkpoint_every_epochs = 10
    if variant == "seed":
        config.name = "cnn-seed"
        config.train.epochs = 100
        config.train.batch_size = 64
        config.train.shuffle = False
        return config
    if variant:
        raise ValueError(f"cnn.py has no variant {variant!r}: it has seed")
    config.name = "cnn"
    # Each choice by accuracy on the 216 training images held out by
    # --config.data.validation_fraction=0.2 (100 epochs, Adam 5e-3, cosine, seed 0):
    # images / 255 0.870; centred, as below, 0.898; and shifted, turned and zoomed a
    # little, 0.949. Mirroring as well took it down to 0.903: so few parameters have
    # no room for a second set of hands. He initialisation was no better (0.884).
    config.data.mean = (0.5, 0.5, 0.5)
    config.data.std = (0.25, 0.25, 0.25)
    config.augment.rotation = 8.0
    config.augment.scale = 0.08
    config.augment.translation = 0.05
    # That has 0.40 of other people's hands (half of those of the Ankara digits, 316
    # pictures). With the light below as well, means of seeds 0 and 1, held out and
    # others: 270 drawn hands 0.896 and 0.597, after 200 epochs 0.898 and 0.654; 135
    # and 200 epochs 0.905 and 0.617; no drawn hands, but 0.4 of the images before
    # other backgrounds, 0.905 and 0.608, and 0.2 of them 0.924 and 0.571. So few
    # parameters choose between the two sets: the last keeps nearest to SIGNS. These
    # development runs were not kept.
    config.augment.background = 0.2
    config.augment.brightness = 0.15
    config.augment.contrast = 0.15
    config.augment.saturation = 0.2
    config.augment.gamma = 0.15
    config.augment.tint = 0.05
    config.augment.lighting = 0.15
    config.train.epochs = 200
    config.optimizer.learning_rate = 5e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_epochs = 2.0
    return config
