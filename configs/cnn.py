"""The small CNN, 1,310 parameters. Variant `:seed` is the Keras recipe to the letter.

python main.py --config=configs/cnn.py
python main.py --config=configs/cnn.py:seed
"""

from ml_collections import ConfigDict

from configs import base


def get_config(variant: str = "") -> ConfigDict:
    config = base.get_config()
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
    return config
