"""A row: of training's own program, with figures that follow from each other."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from configs import cnn
from signjax import experiment
from signjax.benchmark.measure import measure
from signjax.benchmark.programs import make_program
from signjax.benchmark.sweep import SweepPoint, plan
from signjax.runtime.console import Console
from signjax.train import train

ONE, TWO = jax.local_devices()[:1], jax.local_devices()[:2]
MATMUL = 1e11  # FLOP/s
# What design and readers of the file rely on.
FIELDS = set(
    "model variant backend device device_count batch_size image_size dtype program "
    "flops_per_image compile_seconds step_ms images_per_second mfu peak_memory_bytes "
    "versions git_commit timestamp".split()
)


def config(**changes: Any) -> Any:
    small = cnn.get_config("seed")
    flat = {"data.image_size": 32, "train.batch_size": 16, **changes}
    small.update_from_flattened_dict(flat)
    return small


def point(
    program: str,
    train_size: int,
    devices: list[jax.Device] = ONE,
    from_config: Any = None,
) -> SweepPoint:
    sweep = {"program": [program], "train_size": [train_size]}
    (only,) = plan(from_config or config(), sweep, devices)
    return only


class StopAtUse:
    """A jitted step that stops whoever uses it in any way; the error has its digest."""

    def __init__(self, jitted: Any) -> None:
        self.jitted = jitted

    def __call__(self, *arguments: Any) -> Any:
        # By shapes alone: training traces it within another program.
        arguments = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arguments
        )
        text = self.jitted.lower(*arguments).as_text()
        raise StopIteration(hashlib.sha256(text.encode()).hexdigest())

    lower = trace = __call__


def test_it_times_the_program_that_training_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jit_training = experiment.jit_training

    def stop_at_use(*arguments: Any, **keywords: Any) -> StopAtUse:
        return StopAtUse(jit_training(*arguments, **keywords))

    def program(use: Callable[..., Any], *arguments: Any, **keywords: Any) -> str:
        with pytest.raises(StopIteration) as seen:
            use(*arguments, **keywords)
        return str(seen.value)

    monkeypatch.setattr(experiment, "jit_training", stop_at_use)
    of_shapes = experiment.Experiment.abstract_state  # which suffice
    monkeypatch.setattr(experiment.Experiment, "initial_state", of_shapes)
    small = config(
        **{
            "data.source": "synthetic",
            "data.synthetic_train": 48,
            "data.synthetic_test": 12,
            "augment.rotation": 8.0,
        }
    )
    trained = program(train, small, tmp_path / "run", ONE, Console(quiet=True))
    step, bare = (point(name, 48, from_config=small) for name in ("step", "bare"))
    assert program(measure, step, repeats=1) == trained
    assert program(measure, bare, repeats=1) != trained  # augments nothing


def test_a_row_holds_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signjax.benchmark.measure.measure_matmul", lambda _: MATMUL)
    # 32 x 32 x 8 x 48 + 4 x 4 x 16 x 32 + 16 x 6 products, forward and backward.
    flops = 6 * (32 * 32 * 8 * 48 + 4 * 4 * 16 * 32 + 16 * 6)
    rows = {
        name: measure(point(name, 40, TWO), repeats=2, trace=str(tmp_path))
        for name in ("step", "epoch")
    }
    for name, row in rows.items():
        assert row.keys() >= FIELDS
        assert (row["model"], row["variant"]) == ("cnn", "cnn-seed")
        assert (row["backend"], row["dtype"]) == ("cpu", "float32")
        assert (row["device_count"], row["program"]) == (2, name)
        assert (row["batch_size"], row["train_size"]) == (16, 40)
        assert (row["image_size"], row["flops_per_image"]) == (32, flops)
        spread = row["step_ms"]
        assert 0 < spread["p25"] <= spread["median"] <= spread["p75"]
        assert spread["n"] == 2
        assert row["peak_flops"] == row["matmul_peak"] == MATMUL
        # The two devices are of one CPU, whose product was measured.
        achieved = flops * row["images_per_second"]
        assert row["mfu"] == pytest.approx(achieved / MATMUL)
        assert row["peak_memory_bytes"] > row["program_memory_bytes"] > 0
        assert row["ridge_flops_per_byte"] is None
        assert row["versions"]["jax"] == jax.__version__
        profiles = tmp_path.glob(f"{name}-16-float32-2/**/*.xplane.pb")
        assert len(list(profiles)) == 1
    step, epoch = rows.values()
    assert step["images_per_second"] == pytest.approx(16e3 / step["step_ms"]["median"])
    # 40 images are 2 batches of 16 and one of 8, padded.
    assert (step["steps_per_call"], epoch["steps_per_call"]) == (1, 3)
    speed = 40 / 3 * 1e3 / epoch["step_ms"]["median"]
    assert epoch["images_per_second"] == pytest.approx(speed)
    assert step["flops_per_byte"] == pytest.approx(8 * flops / step["bytes_accessed"])
    assert epoch["flops_per_byte"] is None


def test_an_epoch_is_its_steps() -> None:
    """The same parameters as from one call a step, the padded last one included."""
    only = point("epoch", 40)
    program = make_program(only)
    start = jax.device_get(only.experiment.initial_state())
    at_once = program.repeat(start, 1)
    images, labels, batches, key = program.inputs(0)
    state = start
    for batch in batches:
        state, _ = only.experiment.train_step(state, images, labels, batch, key)
    assert int(at_once.step) == len(batches) == program.steps == 3
    assert program.images == 40
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, 1e-4, 1e-6),
        at_once.params,
        state.params,
    )


def test_a_padded_batch_is_not_timed_as_a_full_one() -> None:
    program = make_program(point("step", 40))
    assert program.images == 16
    assert all((program.inputs(call)[2] >= 0).all() for call in range(5))
