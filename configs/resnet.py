"""ResNet-50 from scratch. Variant `:seed` is the Keras network to the parameter.

python main.py --config=configs/resnet.py
python main.py --config=configs/resnet.py:seed
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
    # The network: v1.5 as torchvision has it, which is also where most published
    # weights fit. Chosen before the drawn hands: changed alone, at 10 epochs, one seed
    # (benchmarks/results/ablation.json), a BatchNorm momentum of 0.99 takes the
    # accuracy on 162 held-out images from 0.944 to 0.778: with 28 steps an epoch it
    # still remembers the first weights. Last scales that start at 1 have 0.883. Stride
    # in the first 1x1, max-pool without padding, biases (which do nothing before
    # BatchNorm) and Keras' initialisers have 0.920 to 0.944, which so few images cannot
    # tell apart.
    config.model.init = "he"
    config.data.mean = (0.5, 0.5, 0.5)
    config.data.std = (0.25, 0.25, 0.25)
    # A mirrored hand is the same digit shown by the other hand.
    config.augment.flip = True
    # SIGNS shows a few people before one wall. What makes a network good for other
    # people too is other backgrounds, other light and drawn hands. On half of the
    # people of the Ankara digits (316 pictures) milder turns and light alone had 0.443
    # after 10 epochs; all of this with 1,080 drawn hands and 20 epochs had 0.940, and
    # 0.969 of the 162 held-out training images; with 540 and 30 epochs, 9% more steps,
    # 0.962 and 0.981. The mean of an image's and its mirror image's logits raised both
    # held-out accuracies by two pictures, to 0.981 and 0.994, and moved other people's
    # to 0.949 and 0.956. Averages of the weights and of BatchNorm's statistics over the
    # last 100 or 200 steps (EMA) changed a picture at most. Of 324 held-out images, 756
    # to learn from, 540 and 30 epochs had 0.975, 270 and 40 epochs, 7% more steps,
    # 0.985, and both 0.962 of the others; half the batch size and twice the steps took
    # a fifth longer for 0.981. 50 epochs are more of the same, not compared with
    # 40. Drawn hands with fingers side by side and thumbs beside the palm too, as SIGNS
    # has them: of 539 held-out images, 541 to learn from, and the others after 25
    # epochs 0.920 and 0.835, without 0.892 and 0.772. (Development runs of seed 0, not
    # kept.) With more images to learn from that gain is not seen (docs/recipes.md).
    # Once 60% of the epochs have taught what hands look like, SIGNS alone: of the 539,
    # after 50 epochs, 531 were right, with drawn hands to the end 522; of the others
    # 293 and 300. The mean over the image turned by 15 degrees to either side as well
    # had 534 and 529 right, and 300 and 301, for three times the work of an answer.
    config.data.synthetic_extra = 270
    config.data.synthetic_variety = 1.0
    config.data.synthetic_until = 0.6
    config.evaluation.mirror = True
    config.evaluation.turn = 15.0
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
    # Chosen before the drawn hands: of the 162 training images that
    # --config.data.validation_fraction=0.15 holds out, AdamW at 1e-3 has 0.784 right
    # after 5 epochs and 0.988 after 20; SGD with Nesterov momentum at 0.05 (weight
    # decay 5e-4, 3 epochs of warm-up) had 0.346 after 5.
    config.train.epochs = 50
    config.train.label_smoothing = 0.1
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_epochs = 1.0
    config.optimizer.weight_decay = 0.05
    config.optimizer.epsilon = 1e-8
    return config
