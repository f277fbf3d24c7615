"""Every key of a config, with its unit and legal values; the other files set values.

A key is overridden on the command line by its name: --config.train.epochs=5.
All keys change the result of a run, but those under `run`.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The keys, with values that leave everything optional switched off."""
    config = ConfigDict()
    config.name = "base"  # names the default workdir, runs/NAME
    config.seed = 0  # int >= 0: initial weights, data order, augmentation, splits
    config.dtype = "auto"  # compute: float32, bfloat16, auto (bfloat16 off the CPU)

    config.model = model = ConfigDict()
    model.name = "cnn"  # cnn, resnet50
    model.init = "keras"  # keras (glorot-uniform, in identity blocks +-0.05), he
    # The rest is for resnet50 alone.
    model.stride_on = "3x3"  # layer that strides: 1x1 (v1, Keras), 3x3 (v1.5)
    model.pool_padding = 1  # pixels around the stem's max-pool: 0, 1
    model.conv_bias = False  # biases in convolutions
    model.zero_init_last_scale = True  # each block starts as the identity
    model.bn_momentum = 0.9  # (0, 1): weight of the old running statistics
    model.bn_epsilon = 1e-5  # > 0, added to variances

    config.data = data = ConfigDict()
    data.source = "auto"  # signs, folder, synthetic, auto (see README)
    data.dir = ""  # where signs or folder data lie; "": the usual places
    data.image_size = 64  # pixels a side, a multiple of 32
    data.validation_fraction = 0.0  # [0, 1): share of training images held out
    data.test_fraction = 0.2  # (0, 1): share of a folder without train/ and test/
    data.synthetic_train = 1080  # images drawn for training
    data.synthetic_test = 120  # images drawn for the test
    data.synthetic_classes = 6  # digits drawn: 6 (0 to 5, as in SIGNS), 10
    data.mean = (0.0, 0.0, 0.0)  # subtracted from RGB in [0, 1]
    data.std = (1.0, 1.0, 1.0)  # > 0, divides what is left

    config.augment = augment = ConfigDict()
    augment.flip = False  # mirror half of the images: a left hand for a right one
    augment.rotation = 0.0  # degrees, up to this either way
    augment.scale = 0.0  # zoom by a factor of exp(+-scale)
    augment.translation = 0.0  # share of the side, up to this in each direction
    augment.brightness = 0.0  # [0, 1): factor 1 +- brightness
    augment.contrast = 0.0  # [0, 1): factor 1 +- contrast about the mean
    augment.saturation = 0.0  # [0, 1): factor 1 +- saturation about grey

    config.train = train = ConfigDict()
    train.epochs = 10  # int >= 1
    train.batch_size = 32  # images a step over all devices, int >= 1
    train.shuffle = True  # a new order each epoch
    train.drop_remainder = True  # drop, not pad, an epoch's last partial batch
    train.label_smoothing = 0.0  # [0, 1)

    config.optimizer = optimizer = ConfigDict()
    optimizer.name = "adam"  # sgd (Nesterov), adam, adamw
    optimizer.learning_rate = 1e-3  # > 0, the peak
    optimizer.schedule = "constant"  # constant, cosine (to 0)
    optimizer.warmup_epochs = 0.0  # >= 0, linear from 0 to the peak
    optimizer.weight_decay = 0.0  # >= 0, of kernels alone; sgd and adamw
    optimizer.momentum = 0.9  # [0, 1), sgd
    optimizer.epsilon = 1e-7  # > 0, adam and adamw

    config.run = run = ConfigDict()
    run.eval_batch_size = 120  # images an evaluation step
    run.checkpoint_every_epochs = 1  # int >= 1; the last epoch is always saved
    run.tensorboard = False  # write event files too (extra: tensorboard)
    return config
