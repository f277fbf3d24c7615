"""What a network is shown of an image: its pixels, or the landmarks of its hand."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax

from signjax.augment import augment, count_outliers
from signjax.config import Config
from signjax.data.stream import Images
from signjax.hands.inputs import HandInputs
from signjax.hands.pose import FEATURES, features
from signjax.hands.vary import vary
from signjax.ops.pixels import normalizer, unpack_pixels


@dataclass(frozen=True)
class View:
    """How images become a model's input.

    input_shape: of one. unpack, augment, normalize: see `step.train_step`. hands: what
    finds them, of a model that looks at nothing else.
    """

    input_shape: tuple[int, ...]
    augment: Callable[[jax.Array, jax.Array], jax.Array]
    normalize: Callable[[jax.Array], jax.Array]
    unpack: Callable[[jax.Array], jax.Array] = unpack_pixels
    hands: HandInputs | None = None

    def inputs(self, images: Images) -> Images:
        """What the steps take of images uint8 [N, S, S, 3]: them, or their hands.

        A hand is a record, float32 [133], see hands/pose.py. Raises InputError or
        RunError where what finds hands cannot be had.
        """
        return images if self.hands is None else self.hands(images)


def make_view(config: Config, devices: list[jax.Device]) -> View:
    """The view of the model that `config` names; the first device finds hands."""
    size, change = config.data.image_size, config.augment
    outliers = count_outliers(config.train.outlier_fraction, config.train.batch_size)
    if config.model.name == "hands":
        keys = {"rotation": change.rotation, "noise": change.noise}
        return View(
            input_shape=(FEATURES,),
            augment=partial(vary, **keys, outlier_count=outliers),
            normalize=features,
            unpack=lambda records: records,
            hands=HandInputs(config.model.hands, devices[0]),
        )
    return View(
        input_shape=(size, size, 3),
        augment=partial(
            augment, **change, outlier_count=outliers, device_count=len(devices)
        ),
        normalize=normalizer(config.data.mean, config.data.std),
    )
