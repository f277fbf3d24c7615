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
    # --config.data.validation_fraction=0.2 (seed 0, 100 epochs, Adam 5e-3, cosine):
    # images / 255 0.870; centred, as below, 0.898; and shifted, turned and zoomed a
    # little, 0.949. Mirroring as well took it down to 0.903: so few parameters have
    # no room for a second set of hands. He initialisation was no better (0.884).
    config.data.mean = (0.5, 0.5, 0.5)
    config.data.std = (0.25, 0.25, 0.25)
    config.augment.rotation = 8.0
    config.augment.scale = 0.08
    config.augment.translation = 0.05
    config.train.epochs = 100
    config.optimizer.learning_rate = 5e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_epochs = 2.0
    return config
