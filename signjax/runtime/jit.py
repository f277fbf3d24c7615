"""How functions of arrays become programs on a mesh: jitted, compiled, traced once."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import export
from jax.sharding import Mesh

from signjax.runtime.cpu import return_freed_memory
from signjax.runtime.distributed import batched, replicated, shard_batch
from signjax.runtime.kept import kept


def jit_training(mesh: Mesh, function: Any, *, batch_axis: int = 0) -> Any:
    """`function` of (state, images, labels, indices, key), jitted; donates the state.

    The indices are split over the mesh along batch_axis; all else is on each device.
    """
    whole, split = replicated(mesh), batched(mesh, batch_axis)
    inputs = (whole, whole, whole, split, whole)
    return jax.jit(function, in_shardings=inputs, out_shardings=whole, donate_argnums=0)


def compile_training(mesh: Mesh, jitted: Any, arguments: Any, *, cache_key: Any) -> Any:
    """What `jit_training` gave, compiled for arguments of these shapes and dtypes.

    It returns (state, metrics), the latter of state.metrics' structure. cache_key: all
    that the function closes over, by its repr.
    """
    if not _traces_slowly(mesh):
        return jitted.lower(*arguments).compile()
    state = arguments[0]
    returned = jax.tree.structure((state, state.metrics))
    return _compile(
        mesh, jitted, arguments, returned, cache_key=cache_key, donate=state
    )


def jit_inference(
    mesh: Mesh, function: Any, *, cache_key: Any = None
) -> Callable[[Any, np.ndarray], Any]:
    """`function` of (variables, images), jitted over the mesh; donates nothing.

    cache_key: all that it closes over, by its repr, if it returns one array.
    """
    whole, split = replicated(mesh), batched(mesh)
    jitted = jax.jit(function, in_shardings=(whole, split), out_shardings=whole)
    if cache_key is None or not _traces_slowly(mesh):
        return lambda variables, images: jitted(variables, shard_batch(mesh, images))
    programs: dict[Any, Any] = {}

    def infer(variables: Any, images: np.ndarray) -> Any:
        shape = images.shape, images.dtype
        if shape not in programs:
            one = jax.tree.structure(0)
            arguments = variables, images
            programs[shape] = _compile(
                mesh, jitted, arguments, one, cache_key=cache_key
            )
        return programs[shape](variables, images)

    return infer


def _traces_slowly(mesh: Mesh) -> bool:
    """Python takes seconds for the CPU's convolutions, which are many operations."""
    return mesh.size == 1 and mesh.devices.item().platform == "cpu"


def _compile(
    mesh: Mesh,
    jitted: Any,
    arguments: Any,
    returned: Any,
    *,
    cache_key: Any,
    donate: Any = (),
) -> Any:
    """`jitted`, compiled for one device from its trace, which is kept.

    returned: the structure of what it returns. donate: the first of the arguments.
    """
    leaves, structure = jax.tree.flatten(arguments)
    shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]

    def trace() -> bytearray:
        def flat(*leaves: Any) -> list[Any]:
            return jax.tree.leaves(jitted(*structure.unflatten(leaves)))

        return export.export(jax.jit(flat))(*shapes).serialize()

    whole = replicated(mesh)
    program = jax.jit(
        export.deserialize(
            kept("traced", (cache_key, str(structure), shapes), trace)
        ).call,
        in_shardings=whole,
        out_shardings=whole,
        donate_argnums=range(len(jax.tree.leaves(donate))),
    )
    compiled = program.lower(*shapes).compile()
    return_freed_memory()
    return lambda *given: returned.unflatten(compiled(*jax.tree.leaves(given)))
