"""Settings that every test runs under, and what several of them share."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from signjax.runtime.bucket import BucketPath
from tests.helpers.bucket import BUCKET, bucket_server
from tests.helpers.streaming import write_images

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

# What tests start would inherit that a nohup, under which they may run, ignores it.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Set through jax.config rather than the environment, so that the command line's own
# processes, which tests start, run with what a user has.
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 8)
# To compile takes most of the time here; LLVM's part of it is halved.
jax.config.update("jax_disable_most_optimizations", True)
if "JAX_PLATFORMS" not in os.environ:
    jax.config.update("jax_platforms", "cpu")


# Files of minutes, which come first: one left for the end would keep one core waiting.
LONG = ("test_stopping", "test_distributed", "test_main")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem not in LONG)


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


@pytest.fixture
def optimized() -> Iterator[None]:
    """What the test compiles is compiled, and so rounds, as a user's programs are."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One for the runs of all files: compiled programs are shared, no home touched."""
    cache = tmp_path_factory.getbasetemp() / "cache"
    cache.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGNJAX_CACHE", str(cache))
        patch.delenv("SIGNJAX_DATA", raising=False)
        yield


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of train/ and test/ that no test may change."""
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def needs_grain() -> None:
    pytest.importorskip("grain", reason='needs grain: pip install "signjax[stream]"')


@pytest.fixture(scope="session")
def bucket_address() -> Iterator[str]:
    """gs://NAME of a bucket that is served on this machine."""
    reason = 'needs gcp-storage-emulator: pip install "signjax[test]"'
    pytest.importorskip("gcp_storage_emulator", reason=reason)
    with bucket_server() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield f"gs://{BUCKET}"


@pytest.fixture
def bucket(bucket_address: str, request: pytest.FixtureRequest) -> BucketPath:
    """A name in that bucket below which a test finds nothing."""
    return BucketPath(bucket_address) / re.sub(r"\W", "-", request.node.name)


@pytest.fixture(params=["disk", "bucket"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path | BucketPath:
    """An empty place for a workdir."""
    if request.param == "disk":
        return tmp_path / "run"
    monkeypatch.setenv("SIGNJAX_CACHE", str(tmp_path / "cache"))
    return request.getfixturevalue("bucket")
