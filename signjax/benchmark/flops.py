"""How many floating-point operations a network takes, counted from its definition.

A multiplication and an addition are two operations. Convolutions and matrix products
count, all else is small beside them. This is the nominal work, the same for every
device, precision and conv_impl: Winograd's algorithm does less, padding is counted
as pixels.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax.extend.core import Jaxpr, JaxprEqn, subjaxprs


def train_flops(model: nn.Module, image_size: int, *, head_alone: bool) -> int:
    """Operations of a train step for each image of image_size pixels a side.

    The forward pass, and as much again for the gradient of a layer's input and of its
    kernel each (the usual convention: the first layer, which needs no gradient of its
    input, is not excepted). head_alone: only the dense head has gradients.
    """
    convolutions, products = forward_flops(model, image_size)
    return (convolutions if head_alone else 3 * convolutions) + 3 * products


def forward_flops(model: nn.Module, image_size: int) -> tuple[int, int]:
    """Operations of one image's forward pass: (of convolutions, of matrix products).

    model: as in models/; only its shapes are looked at.
    """
    model = model.clone(conv_impl="xla")  # each convolution as one operation
    image = jax.ShapeDtypeStruct((1, image_size, image_size, 3), np.float32)
    # The forward pass and the drawing of weights, which multiplies no matrices.
    traced = jax.make_jaxpr(partial(model.init, train=False))(jax.random.key(0), image)
    counts = {"conv_general_dilated": 0, "dot_general": 0}
    for equation in _equations(traced.jaxpr):
        if equation.primitive.name in counts:
            counts[equation.primitive.name] += _flops(equation)
    return counts["conv_general_dilated"], counts["dot_general"]


def _equations(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    """All of a program, those of the programs inside it too."""
    yield from jaxpr.eqns
    for inner in subjaxprs(jaxpr):
        yield from _equations(inner)


def _flops(equation: JaxprEqn) -> int:
    """2 x the values made x the products that go into each."""
    avals: list[Any] = [variable.aval for variable in equation.invars]
    made: Any = equation.outvars[0].aval
    numbers = equation.params["dimension_numbers"]
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = numbers
        products = math.prod(avals[0].shape[axis] for axis in contracted)
    else:
        kernel = avals[1].shape
        products = math.prod(kernel) // kernel[numbers.rhs_spec[0]]
    return 2 * math.prod(made.shape) * products
