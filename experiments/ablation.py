"""What each choice of a recipe is worth: trains without it, on development data.

    SIGNJAX_DATA=folder-of-the-h5-files \\
        python -m experiments.ablation --unseen_signers=FOLDER

Scores are those of training images held out (config.data.validation_fraction, which
costs the training set as much), and of FOLDER, the development part of what
ankara_signers.py makes. The SIGNS test set is not looked at. `--only` and `--weights`
as for accuracy.py; `--changed="before"`, as often as you like, for rows of that name
alone. Called again, it goes on with what has no row yet; rows go to
results/ablation.json.
"""

import json
from pathlib import Path
from typing import Any

from experiments.rows import RESULTS, add_row, read_rows, recipe_sha256
from experiments.runs import evaluated, make_parser, trained, weights_for

FILE = RESULTS / "ablation.json"
HELD_OUT = "--config.data.validation_fraction=0.15"
# With all of a recipe's epochs what is changed tells less.
PART = ("--config.train.epochs=18",)
ALL_EPOCHS = "--config.train.epochs=16"  # of resnet_pretrained.py
PERSPECTIVE = "--config.augment.perspective=0.2"
NO_PERSPECTIVE = "--config.augment.perspective=0.0"
COLOR = ("gamma", "tint", "lighting", "blur", "noise", "greyscale")
NO_POSE_JITTER = "--config.data.synthetic_pose_jitter=0.0"
# resnet.py before its last epochs were of SIGNS alone and evaluation rotated views.
TO_THE_END = "--config.data.synthetic_epoch_fraction=1.0"
NO_ROTATION = "--config.tta.rotation=0.0"
BEFORE = (TO_THE_END, NO_ROTATION)
# resnet_pretrained.py as it was measured: before it kept synthetic hands to the last
# epoch and rotated views.
PART_PRETRAINED = (
    "--config.train.epochs=8",
    "--config.data.synthetic_epoch_fraction=0.6",
    NO_ROTATION,
)
# resnet_pretrained.py before it had 128 pixels and such last epochs.
BEFORE_PRETRAINED = ("--config.data.image_size=96", TO_THE_END)
NO_SYNTHETIC = "--config.data.synthetic_count=0"
TWICE_SYNTHETIC = "--config.data.synthetic_count=540"
AUGMENTATION = [
    ("no new backgrounds", ("--config.augment.background=0.0",)),
    ("no color jitter", tuple(f"--config.augment.{name}=0.0" for name in COLOR)),
]
# resnet.py before it trained on new backgrounds, color jitter and synthetic hands; what
# its network was chosen with.
PLAIN = (
    "--config.train.epochs=10",
    "--config.tta.flip=False",
    NO_SYNTHETIC,
    NO_POSE_JITTER,
    *BEFORE,
    *(override for _, overrides in AUGMENTATION for override in overrides),
    "--config.augment.rotation=15.0",
    "--config.augment.scale=0.15",
    "--config.augment.contrast=0.2",
    "--config.augment.saturation=0.2",
)
# config -> [(what is changed, by which overrides)].
ABLATIONS: dict[str, list[tuple[str, tuple[str, ...]]]] = {
    "resnet.py": [
        ("the recipe", PART),
        ("synthetic hands to the end", (*PART, TO_THE_END)),
        ("TTA without rotation", (*PART, NO_ROTATION)),
        ("before", (*PART, *BEFORE)),
        ("before, no pose jitter", (*PART, NO_POSE_JITTER, *BEFORE)),
        # As many steps, over more and fewer images.
        (
            "before, no pose jitter, twice the synthetic hands",
            ("--config.train.epochs=15", TWICE_SYNTHETIC, NO_POSE_JITTER, *BEFORE),
        ),
        (
            "before, no synthetic hands",
            ("--config.train.epochs=24", NO_SYNTHETIC, NO_POSE_JITTER, *BEFORE),
        ),
        ("TTA without flip", (*PART, "--config.tta.flip=False")),
        *[
            (
                f"before, no pose jitter, {changed}",
                (*PART, *overrides, NO_POSE_JITTER, *BEFORE),
            )
            for changed, overrides in AUGMENTATION
        ],
        (
            "before, no pose jitter, perspective",
            (*PART, PERSPECTIVE, NO_POSE_JITTER, *BEFORE),
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
            ("the recipe of 2026-11-28", ()),
            ("synthetic hands to the end", (TO_THE_END,)),
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
                "before, no synthetic hands",
                (*BEFORE_PRETRAINED, "--config.train.epochs=13", NO_SYNTHETIC),
            ),
            ("TTA without flip", ("--config.tta.flip=False",)),
            ("BatchNorm recalibrated", ("--config.train.recalibrate_batch_norm=True",)),
            ("all layers from the start", ("--config.optimizer.head_epochs=0.0",)),
            ("one learning rate", ("--config.optimizer.layer_decay=1.0",)),
        )
    ],
}


def main() -> None:
    parser = make_parser(__doc__, ABLATIONS)
    parser.add_argument("--changed", action="append", help="rows of that name")
    arguments = parser.parse_args()
    done = {row["recipe_sha256"] for row in read()}
    for config, ablations in ABLATIONS.items():
        for changed, overrides in ablations:
            if arguments.only not in ("", config):
                continue
            if changed not in (arguments.changed or [changed]):
                continue
            if recipe_sha256(config, overrides) in done:
                continue
            weights = weights_for(config, arguments.weights)
            row = train(config, overrides, weights, arguments.unseen_signers)
            row["changed"] = changed
            add_row(FILE, row)
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
    config: str, overrides: tuple[str, ...], weights: Path | None, unseen: Path | None
) -> dict[str, Any]:
    """Scores of one run with seed 0."""
    with trained(config, (*overrides, HELD_OUT), 0, weights) as run:
        records = (run.workdir / "metrics.jsonl").read_text().splitlines()
        last = json.loads(records[-1])
        held_out = json.loads((run.workdir / "calibration.json").read_text())
        scores = evaluated(run.workdir, unseen) if unseen else None
        return {
            **run.row(config, 0, overrides=overrides, weights=weights),
            "held_out_count": held_out["count"],
            "validation_accuracy": last["validation_accuracy"],
            "validation_loss": last["validation_loss"],
            "unseen_signers_accuracy": scores["accuracy"] if scores else None,
            "unseen_signers_count": scores["count"] if scores else None,
        }


if __name__ == "__main__":
    main()
