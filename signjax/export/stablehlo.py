"""model.stablehlo: images in, probabilities out, for any XLA runtime."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from signjax.export.trained import Answering
from signjax.ops.pixels import normalizer
from signjax.step import eval_step

PLATFORMS = ("cpu", "cuda", "tpu")


def to_stablehlo(answering: Answering, *, half: bool = False) -> bytes:
    """uint8 [N, S, S, 3], any N, -> float32 probabilities [N, C], serialized.

    The images are prepared as `data.image.load_image` does it. half: whether kernels
    are kept in float16.
    """
    prepared = answering.preprocessing
    # The one way of convolving that all platforms compile.
    model = answering.model.clone(conv_impl="xla")
    stored = jax.tree.map(
        lambda x: x.astype(np.float16) if half and x.ndim > 1 else x,
        answering.variables,
    )

    def answer(images: jax.Array) -> jax.Array:
        logits = eval_step(
            jax.tree.map(lambda x: jnp.asarray(x).astype(jnp.float32), stored),
            images,
            model=model,
            normalize=normalizer(prepared.mean, prepared.std),
            flip=prepared.flip,
            rotation=prepared.rotation,
        )
        return jax.nn.softmax(logits / answering.temperature)

    size = prepared.image_size
    (count,) = jax.export.symbolic_shape("N")
    images = jax.ShapeDtypeStruct((count, size, size, 3), jnp.uint8)
    exported = jax.export.export(jax.jit(answer), platforms=PLATFORMS)(images)
    return bytes(exported.serialize())


def load_stablehlo(content: bytes) -> Callable[[np.ndarray], Any]:
    """The function that `to_stablehlo` has written."""
    return jax.jit(jax.export.deserialize(bytearray(content)).call)
