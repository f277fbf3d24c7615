"""ResNet-50 fine-tuned from ImageNet weights; variant `:frozen` trains the head alone.

python main.py --config=configs/resnet_pretrained.py
python main.py --config=configs/resnet_pretrained.py --config.model.weights=FILE

SIGNS test, leak-free 0.991 ± 0.000; unseen signers 0.976 ± 0.017 (n = 3); 26 minutes on
2 cores of an AMD EPYC, 44 to 47 on 1.
"""

from configs import resnet
from signjax.config import Config


def get_config(variant: str = "") -> Config:
    config = resnet.get_config()
    config.name = "resnet_pretrained"
    # The network and the images of the weights that Keras publishes.
    config.model.weights = "keras-imagenet"
    config.model.stride_on = "1x1"
    config.model.bn_epsilon = 1.001e-5
    config.data.mean = (123.68 / 255, 116.779 / 255, 103.939 / 255)
    config.data.std = (1 / 255, 1 / 255, 1 / 255)
    # Compared in docs/lab-notebook.md. With 128 pixels ImageNet's filters meet shapes
    # nearer to the size they know.
    config.data.image_size = 128
    config.augment.perspective = 0.2
    config.data.synthetic_count = 540
    # What else resnet.py has gained nothing here.
    config.data.synthetic_pose_jitter = 0.0
    config.tta.rotation = 0.0
    config.train.epochs = 16
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 0.01
    config.optimizer.warmup_epochs = 0.5
    config.optimizer.head_epochs = 0.5
    config.optimizer.layer_decay = 0.8
    config.optimizer.weight_decay = 1e-4
    if variant == "frozen":
        config.name = "resnet_pretrained-frozen"
        config.train.freeze_backbone = True
        config.optimizer.layer_decay = 1.0
        config.optimizer.head_epochs = 0.0
        config.optimizer.learning_rate = 0.1
        return config
    if variant:
        raise ValueError(
            f"resnet_pretrained.py has no variant {variant!r}: it has frozen"
        )
    return config
