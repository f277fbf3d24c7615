"""Runs whose workdir is in a bucket: the bits, and the commands, of one on disk."""

from pathlib import Path

import pytest

from signjax.runtime.bucket import BucketPath, download
from tests.helpers.bucket import without_log
from tests.helpers.command_line import main
from tests.helpers.runs import (
    LONG,
    differences,
    freeze_when,
    is_inside_a_later_save,
    start,
    unfinished_files,
)

pytestmark = pytest.mark.usefixtures("module_cache")


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory, module_cache: None) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    assert main(*LONG, f"--workdir={workdir}").returncode == 0
    return workdir


@pytest.mark.slow
def test_a_run_killed_inside_a_save_ends_with_the_bits_of_one_on_disk(
    bucket: BucketPath, on_disk: Path, tmp_path: Path
) -> None:
    process = start(LONG, bucket)
    try:
        assert freeze_when(process, lambda: is_inside_a_later_save(bucket))
    finally:
        process.kill()
        process.communicate()
    assert unfinished_files(bucket) and (bucket / "lock").is_file()
    done = main(*LONG, f"--workdir={bucket}")
    assert done.returncode == 0 and "resumed after step" in done.stdout, done
    [line] = without_log(done.stderr).splitlines()
    assert f"{bucket}/checkpoints/" in line and "is passed over: it has no" in line
    assert differences(on_disk, bucket) == []
    download(bucket, tmp_path)
    assert differences(on_disk, tmp_path) == []
    assert not unfinished_files(bucket) and not (bucket / "lock").is_file()
    own = {file.relative_to(on_disk) for file in on_disk.iterdir() if file.is_file()}
    there = {str(file.relative_to(bucket).parts[0]) for file in bucket.files()}
    assert {str(x) for x in own} - there == {"lock"}

    done = main("--mode=evaluate", f"--workdir={bucket}", "--best")
    assert done.returncode == 0 and f"report: {bucket}/report_best.html" in done.stdout
