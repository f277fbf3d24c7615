"""One process at a time trains in a workdir of a bucket."""

import time
from collections.abc import Callable

import pytest

from signjax.errors import InputError, RunError
from signjax.runtime import lease as module
from signjax.runtime.bucket import BucketPath
from signjax.runtime.files import MetricsFile
from signjax.runtime.lease import Lease, lease


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT", 0.1)
    monkeypatch.setattr(module, "LAPSE", 1.0)


def killed(path: BucketPath) -> Lease:
    """One whose process writes no more."""
    held = Lease(path)
    held.take()
    held._over.set()
    return held


def test_another_is_refused_until_the_first_has_ended(bucket: BucketPath) -> None:
    with lease(bucket / "lock"):
        with pytest.raises(InputError, match="is in use by another process that tra"):
            with lease(bucket / "lock"):
                pytest.fail("both hold it")
    assert bucket.files() == []
    with lease(bucket / "lock"):
        pass


def test_what_a_killed_process_holds_is_taken_over(bucket: BucketPath) -> None:
    killed(bucket / "lock")
    begin = time.monotonic()
    with lease(bucket / "lock"):
        assert time.monotonic() - begin >= module.LAPSE
    assert bucket.files() == []


def test_of_two_that_find_it_free_one_has_it(
    bucket: BucketPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second looks before the first writes, and writes after."""
    read, others = BucketPath.read, []

    def then_another(path: BucketPath) -> object:
        found = read(path)
        monkeypatch.undo()
        others.append(killed(path))
        return found

    monkeypatch.setattr(BucketPath, "read", then_another)
    with pytest.raises(InputError, match="is in use"), lease(bucket / "lock"):
        pytest.fail("both hold it")
    assert others[0].path.is_file()


@pytest.mark.parametrize(
    "write",
    [
        lambda run: MetricsFile(run / "metrics.jsonl").append({"step": 2}),
        lambda run: MetricsFile(run / "metrics.jsonl").truncate_after(0),
    ],
)
def test_a_process_that_was_held_up_writes_no_more_where_another_trains(
    bucket: BucketPath, write: Callable[[BucketPath], None]
) -> None:
    metrics = MetricsFile(bucket / "metrics.jsonl")
    with lease(bucket / "lock"):
        metrics.append({"step": 1})
        first = module._held[-1]
        first._over.set()
        first._over = type(first._over)()  # the thread is gone, the lease is not over
        other = Lease(bucket / "lock")
        other.take()
        with pytest.raises(RunError, match="another process trains there since"):
            write(bucket)
    assert metrics.read() == [{"step": 1}]
    other.require()
    other.release()


def test_an_answer_that_is_lost_loses_no_lease(
    bucket: BucketPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = BucketPath.write

    def lose_the_answer(*arguments: object, **words: object) -> bytes:
        monkeypatch.undo()
        write(*arguments, **words)
        raise RunError("the network is gone")

    with lease(bucket / "lock"):
        held = module._held[-1]
        with held._writing:
            monkeypatch.setattr(BucketPath, "write", lose_the_answer)
        time.sleep(0.5)
        held._last = 0.0
        held.require()


def test_objects_that_may_not_be_listed_are_told(
    bucket: BucketPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorStore takes a list that is refused for an empty one."""
    monkeypatch.setattr(BucketPath, "files", lambda self: [])
    with pytest.raises(InputError, match="may not be listed: give"):
        with lease(bucket / "lock"):
            pytest.fail("it was taken")
    assert not (bucket / "lock").is_file()
