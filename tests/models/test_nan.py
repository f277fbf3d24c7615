"""A parameter that is no number reaches the logits and the gradients: none is lost."""

from typing import Any

import jax
import numpy as np
import pytest
from flax import linen as nn

from signjax.models import CNN, ResNet

IMAGES = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)


@pytest.mark.parametrize(
    "model",
    [
        CNN(6, conv_impl="matmul"),
        ResNet(6, stage_sizes=(1,), conv_impl="matmul", zero_init_last_scale=False),
    ],
)
def test_a_nan_in_any_leaf_reaches_the_logits_and_the_gradients(
    model: nn.Module,
) -> None:
    def loss(params: Any, variables: Any) -> tuple[jax.Array, jax.Array]:
        logits: Any = model.apply({**variables, "params": params}, IMAGES, train=False)
        return (logits**2).sum(), logits

    variables = jax.jit(lambda key: model.init(key, IMAGES, train=False))(
        jax.random.key(0)
    )
    run = jax.jit(jax.grad(loss, has_aux=True))
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    for ruined, _ in leaves:

        def ruin(path: Any, leaf: jax.Array, ruined: Any = ruined) -> np.ndarray:
            leaf = np.array(leaf)
            if path == ruined:
                leaf.flat[0] = np.nan
            return leaf

        changed = jax.tree_util.tree_map_with_path(ruin, variables)
        gradients, logits = run(changed["params"], changed)
        assert np.isnan(logits).any(), ruined
        assert any(np.isnan(leaf).any() for leaf in jax.tree.leaves(gradients)), ruined
