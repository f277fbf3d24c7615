"""Networks with weights of every kind, and what the program answers with them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from signjax.evaluation.metrics import softmax
from signjax.export.trained import Answering
from signjax.models import CNN, ResNet
from signjax.pretrained.published import Preprocessing
from signjax.step import eval_step
from tests.helpers.images import smooth

SIZE = 32
PLAIN = Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), SIZE, 1.0, "bicubic")
MANY_VIEWS = PLAIN._replace(
    mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3), flip=True, rotation=20.0
)
_SMALL = {"stage_sizes": (1, 2), "num_classes": 4}
MODELS = {
    "cnn": CNN(num_classes=4),
    "resnet": ResNet(**_SMALL),
    "keras": ResNet(**_SMALL, stride_on="1x1", pool_padding=0, conv_bias=True),
    "tensorflow": ResNet(**_SMALL, same_padding=True, bn_epsilon=1e-3),
}


def images(count: int = 5) -> np.ndarray:
    """uint8 [count, SIZE, SIZE, 3]."""
    return np.stack([smooth(SIZE, seed) for seed in range(count)])


def make(name: str, preprocessing: Preprocessing = PLAIN, **answer) -> Answering:
    """A network whose leaves, BatchNorm's statistics too, are all different."""
    model = MODELS[name]
    shapes = jax.eval_shape(
        partial(model.init, train=False),
        jax.random.key(0),
        jnp.zeros((1, SIZE, SIZE, 3)),
    )
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        if leaf.ndim > 1:
            deviation = np.sqrt(2 / np.prod(leaf.shape[:-1]))
            return np.float32(deviation * rng.standard_normal(leaf.shape))
        if path[-1].key in ("scale", "var"):
            return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        return np.float32(0.1 * rng.standard_normal(leaf.shape))

    variables = jax.tree_util.tree_map_with_path(draw, shapes)
    return Answering(model, variables, preprocessing, tuple("abcd"), **answer)


def own_probabilities(answering: Answering, images: np.ndarray) -> np.ndarray:
    """Of uint8 [N, S, S, 3]: float64 [N, C], as predict computes them."""
    prepared = answering.preprocessing
    mean, std = (
        np.float32(x).reshape(1, 1, 1, 3) for x in (prepared.mean, prepared.std)
    )
    logits = jax.jit(
        partial(
            eval_step,
            model=answering.model,
            normalize=lambda images: (images - mean) / std,
            flip=prepared.flip,
            rotation=prepared.rotation,
        )
    )(answering.variables, images)
    return softmax(np.asarray(logits) / answering.temperature)
