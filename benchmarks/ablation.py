"""What each choice of a recipe is worth: trains without it, on development data.

    SIGNJAX_DATA=folder-of-the-h5-files python -m benchmarks.ablation --others=FOLDER

Scores are those of training images held out (config.data.validation_fraction, which
costs the training set as much), and of other people's hands in FOLDER, a folder of
class-named folders (ankara_signers.py makes one for development). The SIGNS test set
is not looked at. `--only` and `--weights` as for accuracy.py; `--changed="own light"`,
as often as you like, for rows of that name alone. Called again, it goes on with what
has no row yet; rows go to results/ablation.json, and those of what was deleted again as
it did not pay are in results/ablation_earlier.json.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.rows import RESULTS, read_rows, recipe_sha256
from benchmarks.runs import evaluated, trained, uses_weights

FILE = RESULTS / "ablation.json"
HELD_OUT = "--config.data.validation_fraction=0.15"
# With all of a recipe's epochs what is changed tells less.
PART = ("--config.train.epochs=18",)
PART_PRETRAINED = ("--config.train.epochs=8",)
ALL_EPOCHS = "--config.train.epochs=16"  # of resnet_pretrained.py
PERSPECTIVE = "--config.augment.perspective=0.2"
NO_PERSPECTIVE = "--config.augment.perspective=0.0"
LIGHT = ("gamma", "tint", "lighting", "blur", "noise", "greyscale")
USUAL_POSES = "--config.data.synthetic_pose_jitter=0.0"
# What resnet.py was before its last epochs were of SIGNS alone, and its answers the
# mean over turns too.
TO_THE_END = "--config.data.synthetic_epoch_fraction=1.0"
NOT_TURNED = "--config.tta.rotation=0.0"
BEFORE = (TO_THE_END, NOT_TURNED)
# What resnet_pretrained.py was before it had 128 pixels and such last epochs.
BEFORE_PRETRAINED = ("--config.data.image_size=96", TO_THE_END)
NO_DRAWN = "--config.data.synthetic_count=0"
TWICE_DRAWN = "--config.data.synthetic_count=540"
AUGMENTATION = [
    ("own backgrounds", ("--config.augment.background=0.0",)),
    ("own light", tuple(f"--config.augment.{name}=0.0" for name in LIGHT)),
]
# What resnet.py was before it learned from other backgrounds, light and drawn hands,
# and what its network was chosen with.
PLAIN = (
    "--config.train.epochs=10",
    "--config.tta.flip=False",
    NO_DRAWN,
    USUAL_POSES,
    *BEFORE,
    *(override for _, overrides in AUGMENTATION for override in overrides),
    "--config.augment.rotation=15.0",
    "--config.augment.scale=0.15",
    "--config.augment.contrast=0.2",
    "--config.augment.saturation=0.2",
)
# config -> [(what is changed, by which overrides)]; the first is the recipe itself.
ABLATIONS: dict[str, list[tuple[str, tuple[str, ...]]]] = {
    "resnet.py": [
        ("the recipe", PART),
        ("drawn hands to the end", (*PART, TO_THE_END)),
        ("not turned", (*PART, NOT_TURNED)),
        ("before", (*PART, *BEFORE)),
        ("before, usual poses", (*PART, USUAL_POSES, *BEFORE)),
        # As many steps, over more and fewer images.
        (
            "before, usual poses, twice the drawn hands",
            ("--config.train.epochs=15", TWICE_DRAWN, USUAL_POSES, *BEFORE),
        ),
        (
            "before, no drawn hands",
            ("--config.train.epochs=24", NO_DRAWN, USUAL_POSES, *BEFORE),
        ),
        ("not mirrored", (*PART, "--config.tta.flip=False")),
        *[
            (
                f"before, usual poses, {changed}",
                (*PART, *overrides, USUAL_POSES, *BEFORE),
            )
            for changed, overrides in AUGMENTATION
        ],
        (
            "before, usual poses, perspective",
            (*PART, PERSPECTIVE, USUAL_POSES, *BEFORE),
        ),
        ("plain: the earlier recipe", PLAIN),
        ("plain, stride in the first 1x1", (*PLAIN, "--config.model.stride_on=1x1")),
        ("plain, max-pool without padding", (*PLAIN, "--config.model.pool_padding=0")),
        ("plain, biases in convolutions", (*PLAIN, "--config.model.conv_bias=True")),
        (
            "plain, last scales start at 1",
            (*PLAIN, "--config.model.zero_init_last_scale=False"),
        ),
        ("plain, BatchNorm momentum 0.99", (*PLAIN, "--config.model.bn_momentum=0.99")),
        ("plain, Keras' initialisers", (*PLAIN, "--config.model.init=keras")),
    ],
    "resnet_pretrained.py": [
        (changed, (*PART_PRETRAINED, *overrides))
        for changed, overrides in (
            ("the recipe", ()),
            ("drawn hands to the end", (TO_THE_END,)),
            ("96 pixels", ("--config.data.image_size=96",)),
            ("before", BEFORE_PRETRAINED),
            ("before, all epochs", (*BEFORE_PRETRAINED, ALL_EPOCHS)),
            ("before, no perspective", (*BEFORE_PRETRAINED, NO_PERSPECTIVE)),
            (
                "before, no perspective, all epochs",
                (*BEFORE_PRETRAINED, NO_PERSPECTIVE, ALL_EPOCHS),
            ),
            *[
                (
                    f"before, no perspective, {changed}",
                    (*BEFORE_PRETRAINED, NO_PERSPECTIVE, *overrides),
                )
                for changed, overrides in AUGMENTATION
            ],
            # As many steps, over fewer images.
            (
                "before, no drawn hands",
                (*BEFORE_PRETRAINED, "--config.train.epochs=13", NO_DRAWN),
            ),
            ("not mirrored", ("--config.tta.flip=False",)),
            ("statistics anew", ("--config.train.recalibrate_batch_norm=True",)),
            ("all layers from the start", ("--config.optimizer.head_epochs=0.0",)),
            ("one learning rate", ("--config.optimizer.layer_decay=1.0",)),
        )
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", choices=["", *ABLATIONS])
    parser.add_argument("--changed", action="append", help="rows of that name")
    parser.add_argument("--weights", type=Path, help="of resnet_pretrained.py")
    parser.add_argument("--others", type=Path, help="other people's hands")
    arguments = parser.parse_args()
    done = {row["recipe_sha256"] for row in read()}
    for config, ablations in ABLATIONS.items():
        weights = arguments.weights if uses_weights(config) else None
        for changed, overrides in ablations:
            if arguments.only not in ("", config):
                continue
            if changed not in (arguments.changed or [changed]):
                continue
            if recipe_sha256(config, overrides) in done:
                continue
            row = train(config, overrides, weights, arguments.others)
            row["changed"] = changed
            FILE.write_text(json.dumps([*read(), row], indent=1) + "\n")
            print(config, changed, row, flush=True)


def read() -> list[dict[str, Any]]:
    """The rows that there are, all of the recipes as they are now."""
    return read_rows(
        FILE,
        [
            recipe_sha256(config, overrides)
            for config, ablations in ABLATIONS.items()
            for _, overrides in ablations
        ],
    )


def train(
    config: str, overrides: tuple[str, ...], weights: Path | None, others: Path | None
) -> dict[str, Any]:
    """Scores of one run with seed 0."""
    with trained(config, (*overrides, HELD_OUT), 0, weights) as run:
        records = (run.workdir / "metrics.jsonl").read_text().splitlines()
        last = json.loads(records[-1])
        held_out = json.loads((run.workdir / "calibration.json").read_text())
        scores = evaluated(run.workdir, others) if others else None
        return {
            **run.row(config, 0, overrides=overrides, weights=weights),
            "held_out_count": held_out["count"],
            "validation_accuracy": last["validation_accuracy"],
            "validation_loss": last["validation_loss"],
            "others_accuracy": scores["accuracy"] if scores else None,
            "others_count": scores["count"] if scores else None,
        }


if __name__ == "__main__":
    main()
