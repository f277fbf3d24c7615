"""model.json: what an exported model is, for programs to read."""

from typing import Any

import jax

from signjax.evaluation.calibration import Calibration
from signjax.export.trained import Answering, pretrained_on, synthetic_count
from signjax.workdir import TrainedModel, versions

# By where the images came from: Hugging Face's word for the licence, and what is known.
LICENCES = {
    "signs": ("unknown", "SIGNS, its training images, has no published licence"),
    "digits": (
        "unknown",
        "of its training images the Ankara digits are Apache-2.0, SIGNS has no "
        "published licence",
    ),
    "ankara": ("apache-2.0", "its training images, the Ankara digits, are Apache-2.0"),
    "synthetic": ("apache-2.0", "its training images were rendered by signjax"),
    "folder": ("unknown", "that of its training images, which signjax does not know"),
    "ported": ("unknown", "that of who published the weights"),
}

# Of the scores: an entry an image, and a path.
_LOCAL = {"images", "model"}


def model_record(
    trained: TrainedModel,
    answering: Answering,
    calibration: Calibration | None,
    scores: dict[str, Any] | None,
    *,
    precision: str,
    checked: dict[str, Any],
) -> dict[str, Any]:
    """Plain values, of which none is a path of this machine.

    scores: of its own test images, see `evaluation.scores`, or None. checked: what the
    export was compared with signjax on, and how far the answers differ.
    """
    data = {key: trained.run.data[key] for key in ("source", "sha256")}
    data |= {key: trained.run.data.get(key) for key in ("train_count", "test_count")}
    # Some of train_count may be held out; train_size were learned from, synthetic
    # ones among them.
    data["train_size"] = trained.run.train_size
    data["synthetic_count"] = synthetic_count(trained)
    licence, reason = LICENCES.get(data["source"], LICENCES["folder"])
    begun = pretrained_on(trained)
    if begun:
        licence, reason = "unknown", f"{reason}; the pretrained weights have their own"
    prepared = answering.preprocessing._asdict()
    leaves = jax.tree.leaves(answering.variables["params"])
    return {
        "name": trained.experiment.name,
        "network": type(answering.model).__name__,
        "parameters": sum(leaf.size for leaf in leaves),
        "precision": precision,
        "classes": list(answering.classes),
        "image_size": prepared.pop("image_size"),
        "tta": {key: prepared.pop(key) for key in ("flip", "rotation")},
        "preprocessing": prepared,
        "temperature": answering.temperature,
        "threshold": answering.threshold,
        "calibration": calibration and calibration.to_json(),
        "scores": scores and {k: scores[k] for k in scores.keys() - _LOCAL},
        "data": data,
        "pretrained": begun,
        "licence": {"id": licence, "reason": reason},
        "checked": checked,
        "versions": versions(),
    }
