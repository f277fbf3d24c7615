"""What a device that is full is told as."""

import jax
import pytest

from signjax.errors import RunError
from signjax.runtime.devices import memory_advice


def test_out_of_memory_says_what_to_lower() -> None:
    with pytest.raises(RunError, match=r"batch size 512 at 128 x 128.*batch_size"):
        with memory_advice(512, 128):
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        with memory_advice(512, 128):
            raise jax.errors.JaxRuntimeError("INTERNAL: something else")
