"""Settings that every test runs under, and what several of them share."""

import os
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from tests.helpers.streaming import write_images

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

# Set through jax.config rather than the environment, so that the command line's own
# processes, which tests start, run with what a user has.
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 8)
if "JAX_PLATFORMS" not in os.environ:
    jax.config.update("jax_platforms", "cpu")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root, where main.py is."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and weights beside the checkout; skips without it."""
    if not SHARED.is_dir():
        pytest.skip("the folder shared/ is not beside this checkout")
    return SHARED


@pytest.fixture(scope="module")
def module_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One cache for a file's runs: compiled programs are shared, no home is touched."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGNJAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("SIGNJAX_DATA", raising=False)
        yield


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of train/ and test/ that no test may change."""
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def needs_grain() -> None:
    pytest.importorskip("grain", reason='needs grain: pip install "signjax[stream]"')
