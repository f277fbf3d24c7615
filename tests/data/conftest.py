"""What several tests of data read."""

import pytest

from tests.helpers.streaming import write_images


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    """A folder of train/ and test/ that no test may change."""
    return write_images(tmp_path_factory.mktemp("images"))
