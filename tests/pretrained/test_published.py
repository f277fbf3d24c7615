"""Published weights: their names, and what their content says of the preprocessing."""

import pytest

from signjax.errors import InputError
from signjax.pretrained.published import (
    CAFFE,
    PUBLISHED,
    STRIKES_BACK,
    named,
    preprocessing_of,
)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError) as caught:
        named("timm/resnet50.b1k")
    assert "timm/resnet50.b1k" in str(caught.value)
    assert all(name in str(caught.value) for name in PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_file_has_an_address_and_a_checksum(name: str) -> None:
    file = named(name).file
    assert all(address.startswith("https://") for address in file.mirrors)
    digests = [len(digest) for digest in (file.sha256, file.md5) if digest]
    assert digests in ([64], [32])


def test_no_two_files_have_the_same_place_in_the_cache() -> None:
    names = [published.file.name for published in PUBLISHED.values()]
    assert len(set(names)) == len(PUBLISHED)


def test_keras_weights_take_caffes_mean() -> None:
    # keras/src/applications/imagenet_utils.py, mode "caffe", in RGB order.
    assert named("keras-imagenet").preprocessing == CAFFE
    mean = [value * 255 for value in CAFFE.mean]
    assert mean == pytest.approx([123.68, 116.779, 103.939])


def test_the_content_tells_the_preprocessing() -> None:
    known = named("timm/resnet50.a1_in1k").file.sha256
    assert preprocessing_of(known) == STRIKES_BACK
    assert preprocessing_of("0" * 64) is None
    assert preprocessing_of("") is None
