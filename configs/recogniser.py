"""The recogniser in the box: a small ResNet for the ten digits.

python main.py --config=configs/recogniser.py
python -m experiments.recogniser --ankara=FOLDER --photographs=FOLDER

It learns from the Ankara digits, which are downloaded into the user's cache, and from
synthetic hands. The second command trains and scores what the package comes with.
"""

from configs import resnet
from signjax.config import Config


def get_config(variant: str = "") -> Config:
    if variant:
        raise ValueError(f"recogniser.py has no variant {variant!r}: it has none")
    config = resnet.get_config()
    config.name = "recogniser"
    # 0.9 million parameters in place of 23.5.
    config.model.update(width=16, stage_sizes=(2, 2, 2, 2))
    # Each person showed 0 to 9 one after another; none may be on both sides of a split.
    config.data.update(source="ankara", group="sequence")
    # Held out to fit the temperature and the threshold below which `predict` abstains;
    # fewer are too few to promise that at most 5% of its answers are wrong.
    config.data.validation_fraction = 0.2
    config.data.update(synthetic_count=540, synthetic_epoch_fraction=0.75)
    config.data.synthetic_pose_jitter = 0.0
    # A hand held into a box stands a little askew. Rotated views make an answer three
    # times the work.
    config.augment.update(rotation=15.0, perspective=0.1)
    config.tta.rotation = 0.0
    # So that it can tell that an image shows no hand; 3 images in 32.
    config.train.update(epochs=56, outlier_fraction=0.09)
    config.optimizer.update(learning_rate=3e-3, warmup_epochs=2.0)
    return config
