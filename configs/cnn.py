"""The small CNN, 1,310 parameters. Variant `:seed` is the Keras recipe to the letter.

python main.py --config=configs/cnn.py
python main.py --config=configs/cnn.py:seed

SIGNS test, leak-free 0.911 ± 0.021; unseen signers 0.502 ± 0.109 (n = 5); 2 minutes on
2 cores of an Intel Xeon. `:seed` 0.785 ± 0.032 and 0.482 ± 0.026 (n = 5).
"""

from signjax.config import Config, default_config


def get_config(variant: str = "") -> Config:
    config = default_config()
    if variant not in ("", "seed"):
        raise ValueError(f"cnn.py has no variant {variant!r}: it has seed")
    config.model.name = "cnn"
    config.train.drop_remainder = False  # no BatchNorm, so padding harms nothing
    config.run.checkpoint_every_epochs = 10
    if variant == "seed":
        config.name = "cnn-seed"
        config.train.update(epochs=100, batch_size=64, shuffle=False)
        return config
    config.name = "cnn"
    # Each choice is compared in docs/lab-notebook.md. So few parameters have no room
    # for mirrored or synthetic hands.
    config.data.update(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    # SIGNS shows a few people before one wall: other backgrounds and other light help
    # with unseen signers.
    config.augment.update(rotation=8.0, scale=0.08, translation=0.05, background=0.2)
    config.augment.update(brightness=0.15, contrast=0.15, saturation=0.2)
    config.augment.update(gamma=0.15, tint=0.05, lighting=0.15)
    config.train.epochs = 200
    config.optimizer.update(learning_rate=5e-3, schedule="cosine", warmup_epochs=2.0)
    return config
