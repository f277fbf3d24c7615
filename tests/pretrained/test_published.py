"""Published weights: their names, and what their content says of the preprocessing."""

import pytest

from signjax.pretrained.published import (
    CAFFE,
    PUBLISHED,
    STRIKES_BACK,
    preprocessing_of,
)


def test_every_file_has_an_address_a_checksum_and_a_place_in_the_cache() -> None:
    files = [published.file for published in PUBLISHED.values()]
    for file in files:
        assert all(address.startswith("https://") for address in file.mirrors)
        assert [len(x) for x in (file.sha256, file.md5) if x] in ([64], [32])
    assert len({file.name for file in files}) == len(files)


def test_keras_weights_take_caffes_mean() -> None:
    # keras/src/applications/imagenet_utils.py, mode "caffe", in RGB order.
    assert PUBLISHED["keras-imagenet"].preprocessing == CAFFE
    mean = [value * 255 for value in CAFFE.mean]
    assert mean == pytest.approx([123.68, 116.779, 103.939])


def test_the_content_tells_the_preprocessing() -> None:
    known = PUBLISHED["timm/resnet50.a1_in1k"].file.sha256
    assert preprocessing_of(known) == STRIKES_BACK
    assert preprocessing_of("0" * 64) is None
    assert preprocessing_of("") is None
