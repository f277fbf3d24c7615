"""What a person reads where something cannot be."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from signjax.errors import InputError, SignjaxError


@contextmanager
def refused(told: str, error: type[SignjaxError] = InputError) -> Iterator[None]:
    """What is inside must end in one line that matches `told`."""
    with pytest.raises(error, match=told) as caught:
        yield
    assert str(caught.value).isprintable()
