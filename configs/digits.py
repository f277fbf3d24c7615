"""One network for ten digits: SIGNS (0 to 5) and the Ankara digits (0 to 9) together.

python main.py --config=configs/digits.py
python main.py --config=configs/digits.py --config.data.dir=DIR

Both data sets and the ImageNet weights are downloaded into the user's cache;
$SIGNJAX_DATA names SIGNS that is there already. The test images are those of both; 12
of SIGNS are in its training set too (signjax/data/leaks.py).

SIGNS test, leak-free 0.991 ± 0.009; unseen signers, 0 to 9, 0.986 ± 0.009 (n = 3); 23
to 24 minutes on 1 core of an Intel Xeon.

DIR is a folder of class-named folders to take in place of the Ankara digits: 0 to 5 and
any others. Say who is in its images by --config.data.group; for classes that are no
signed digits add --config.data.synthetic_count=0 --config.augment.background=0.
"""

from configs import resnet_pretrained
from signjax.config import Config


def get_config(variant: str = "") -> Config:
    if variant:
        raise ValueError(f"digits.py has no variant {variant!r}: it has none")
    config = resnet_pretrained.get_config()
    config.name = "digits"
    # Each person of the Ankara digits showed 0 to 9 one after another; none may be on
    # both sides of a split.
    config.data.update(source="digits", group="sequence")
    # Held out to fit the temperature and the threshold below which `predict` abstains.
    config.data.validation_fraction = 0.1
    # What resnet_pretrained.py has gained since was not compared where more signers are
    # trained on; the figures are those of this.
    config.augment.perspective = 0.0
    config.data.image_size = 96
    config.tta.rotation = 0.0
    # So that it can tell that an image shows no hand; 3 images in 32.
    config.train.update(epochs=10, outlier_fraction=0.09)
    # In a development run of resnet_pretrained.py a rate of 0.02 lost what the weights
    # knew within an epoch; this keeps a distance.
    config.optimizer.update(learning_rate=0.005, warmup_epochs=1.0)
    return config
