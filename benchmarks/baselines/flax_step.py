"""Times a training step in plain Flax: nn.Conv, nn.BatchNorm, optax, one jit.

    python -m benchmarks.baselines.flax_step --weights=FILE [--model=cnn]

Written as people write it, with XLA's own convolutions; the state is donated. The
layers bear signjax's names, so its weights fit as they are.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.traverse_util import unflatten_dict

from benchmarks.baselines import measure


class Bottleneck(nn.Module):
    width: int
    stride: int
    project: bool
    conv: Any
    norm: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv, norm = self.conv, self.norm
        y = conv(self.width, (1, 1), name="conv1")(x)
        y = nn.relu(norm(name="bn1")(y))
        strides = (self.stride, self.stride)
        y = conv(self.width, (3, 3), strides, padding=1, name="conv2")(y)
        y = nn.relu(norm(name="bn2")(y))
        y = norm(name="bn3")(conv(4 * self.width, (1, 1), name="conv3")(y))
        if self.project:
            x = conv(4 * self.width, (1, 1), strides, name="conv_shortcut")(x)
            x = norm(name="bn_shortcut")(x)
        return nn.relu(x + y)


class ResNet50(nn.Module):
    """v1.5: the 3x3 convolution of a stage's first block strides."""

    classes: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        conv = partial(nn.Conv, use_bias=False, dtype=self.dtype)
        norm = partial(
            nn.BatchNorm,
            use_running_average=not train,
            momentum=0.9,
            dtype=self.dtype,
        )
        x = norm(name="bn_stem")(conv(64, (7, 7), (2, 2), 3, name="conv_stem")(x))
        around: Any = ((1, 1), (1, 1))  # annotated as str alone, takes pairs too
        x = nn.max_pool(nn.relu(x), (3, 3), (2, 2), around)
        for stage, blocks in enumerate((3, 4, 6, 3)):
            for block in range(blocks):
                x = Bottleneck(
                    width=64 * 2**stage,
                    stride=2 if block == 0 and stage > 0 else 1,
                    project=block == 0,
                    conv=conv,
                    norm=norm,
                    name=f"stage{stage + 1}_block{block + 1}",
                )(x)
        x = nn.Dense(self.classes, dtype=self.dtype, name="head")(x.mean((1, 2)))
        return x.astype(jnp.float32)


class CNN(nn.Module):
    classes: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        conv = partial(nn.Conv, dtype=self.dtype)
        x = nn.relu(conv(8, (4, 4), name="conv1")(x))
        x = nn.max_pool(x, (8, 8), (8, 8), "SAME")
        x = nn.relu(conv(16, (2, 2), name="conv2")(x))
        x = nn.max_pool(x, (4, 4), (4, 4), "SAME").reshape(x.shape[0], -1)
        head = nn.Dense(self.classes, dtype=self.dtype, name="head")
        return head(x).astype(jnp.float32)


def main() -> None:
    arguments = measure.make_parser(__doc__).parse_args()
    if arguments.work != "train":
        raise SystemExit("flax_step.py only trains")
    if arguments.model == "resnet":
        model = ResNet50(measure.CLASSES, jnp.dtype(arguments.dtype))
        optimizer = optax.sgd(measure.RESNET_RATE, measure.MOMENTUM, nesterov=True)
    else:
        model = CNN(measure.CLASSES, jnp.dtype(arguments.dtype))
        optimizer = optax.adam(measure.CNN_RATE, eps=measure.ADAM_EPSILON)
    clock = measure.Clock(arguments)
    time_training(clock, model, optimizer, arguments)
    measure.print_result(
        arguments,
        clock,
        packages=("jax", "jaxlib", "flax", "optax", "numpy"),
        settings={
            "convolutions": "XLA's",
            "device": jax.local_devices()[0].device_kind,
            "cores": measure.cores(),
        },
    )


def time_training(
    clock: measure.Clock,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    arguments: Any,
) -> None:
    variables = unflatten_dict(measure.read_weights(arguments.weights), sep="/")
    params = variables["params"]
    state = jax.device_put(
        (params, variables.get("batch_stats", {}), optimizer.init(params))
    )
    images, labels = jax.device_put(measure.make_data())

    @partial(jax.jit, donate_argnums=0)
    def train_step(state: Any, images: jax.Array, labels: jax.Array, indices: Any):
        params, batch_stats, opt_state = state
        inputs = (images[indices] / 255.0 - measure.MEAN) / measure.STD

        def loss_of(params: Any) -> tuple[jax.Array, Any]:
            logits, updates = model.apply(
                {"params": params, "batch_stats": batch_stats},
                inputs,
                train=True,
                mutable=["batch_stats"],
            )
            losses = optax.softmax_cross_entropy_with_integer_labels(
                logits, labels[indices]
            )
            return jnp.mean(losses), updates.get("batch_stats", {})

        (loss, batch_stats), gradients = jax.value_and_grad(loss_of, has_aux=True)(
            params
        )
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return (optax.apply_updates(params, updates), batch_stats, opt_state), loss

    def step(number: int) -> jax.Array:
        nonlocal state
        indices = measure.batch_indices(number, arguments.batch_size)
        state, loss = train_step(state, images, labels, indices)
        return loss

    clock.run(step, lambda loss: float(jax.block_until_ready((loss, state))[0]))


if __name__ == "__main__":
    main()
