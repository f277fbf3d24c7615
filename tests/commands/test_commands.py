"""What goes wrong around a mode, whichever it is, ends in one line."""

import io
from pathlib import Path

import pytest
from PIL import Image

from configs import cnn
from signjax.commands import run
from signjax.errors import RunError
from tests.helpers.mode_options import options


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.image_size", 3_200_000),  # numpy's error
        ("data.synthetic_train", 10**11),  # XLA's
    ],
)
def test_what_no_memory_holds_is_told_with_what_to_lower(
    key: str, value: int, tmp_path: Path
) -> None:
    config = cnn.get_config("")
    config.data.source = "synthetic"
    config.update_from_flattened_dict({key: value})
    with pytest.raises(RunError, match=r"out of memory \(.+\): lower config\.data"):
        run("train", options(config=config, workdir=str(tmp_path / "run")))
    assert not (tmp_path / "run").exists()


def test_damage_beside_a_picture_that_pillow_reads_is_no_warning(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hands").mkdir()
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01"  # ends within its first entry
    picture = io.BytesIO()
    Image.new("RGB", (64, 64)).save(picture, "JPEG", exif=exif)
    (tmp_path / "hands" / "0.jpg").write_bytes(picture.getvalue())
    run("audit", options(data=str(tmp_path)))
    told = capfd.readouterr()
    assert "1 pictures" in told.out and not told.err
