"""ResNet-50 from scratch. Variant `:seed` is the Keras network to the parameter.

python main.py --config=configs/resnet.py
python main.py --config=configs/resnet.py:seed

SIGNS test, leak-free 0.988 ± 0.011; unseen signers 0.935 ± 0.010 (n = 3); 38 to 40
minutes on 1 core of an AMD EPYC.
"""

from signjax.config import Config, default_config


def get_config(variant: str = "") -> Config:
    config = default_config()
    config.model.name = "resnet50"
    if variant == "seed":
        config.name = "resnet-seed"
        config.model.init = "keras"
        config.model.stride_on = "1x1"
        config.model.pool_padding = 0
        config.model.conv_bias = True
        config.model.zero_init_last_scale = False
        config.model.bn_momentum = 0.99
        config.model.bn_epsilon = 1e-3
        return config
    if variant:
        raise ValueError(f"resnet.py has no variant {variant!r}: it has seed")
    config.name = "resnet"
    # Compared in docs/lab-notebook.md. The network is v1.5 as torchvision has it, which
    # is also where most published weights fit.
    config.model.init = "he"
    config.data.mean = (0.5, 0.5, 0.5)
    config.data.std = (0.25, 0.25, 0.25)
    # SIGNS shows a few people before one wall. Other backgrounds, color jitter and
    # synthetic hands make a network good for unseen signers too; once 60% of the epochs
    # have taught what hands look like, SIGNS alone. An answer is the mean over the
    # image, the image rotated to either side, and the mirror images of the three.
    config.data.synthetic_count = 270
    config.data.synthetic_pose_jitter = 1.0
    config.data.synthetic_epoch_fraction = 0.6
    config.tta.flip = True
    config.tta.rotation = 15.0
    # A mirrored hand is the same digit shown by the other hand.
    config.augment.flip = True
    config.augment.background = 0.5
    config.augment.rotation = 20.0
    config.augment.scale = 0.25
    config.augment.translation = 0.08
    config.augment.brightness = 0.2
    config.augment.contrast = 0.3
    config.augment.saturation = 0.4
    config.augment.gamma = 0.3
    config.augment.tint = 0.1
    config.augment.lighting = 0.3
    config.augment.blur = 0.7
    config.augment.noise = 0.05
    config.augment.greyscale = 0.05
    config.train.epochs = 50
    config.train.label_smoothing = 0.1
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_epochs = 1.0
    config.optimizer.weight_decay = 0.05
    config.optimizer.epsilon = 1e-8
    return config
