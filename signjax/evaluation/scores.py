"""A trained model's answers to labeled images: scores as plain numbers and in words."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from signjax.data.dataset import Dataset
from signjax.data.stream import Images
from signjax.evaluation.calibration import Calibration, why_no_abstention
from signjax.evaluation.metrics import (
    calibration_error,
    logits_of,
    negative_log_likelihood,
    score_logits,
    selective_accuracy,
    softmax,
)
from signjax.evaluation.occlusion import occlusion_maps, overlay
from signjax.workdir import TrainedModel, count_trained_on

FIRM = 0.9  # the confidence from which a model's other answer disputes a label


@dataclass(frozen=True)
class Evaluation:
    """A trained model's answers to the images of `data`, whose labels are its outputs.

    directory: the model's workdir. source: of the data, in words. calibration: None
    where the model has none. left_out: images of classes that it does not know, by
    class.
    """

    directory: Path
    trained: TrainedModel
    data: Dataset
    source: str
    calibration: Calibration | None
    left_out: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def logits(self) -> np.ndarray:
        """Float32 [N, C]; every image goes through the model when first asked for."""
        return self.logits_of(self.data.images)

    def logits_of(self, images: Images) -> np.ndarray:
        """Float32 logits [N, C] of images uint8 [N, S, S, 3]."""
        experiment, state = self.trained.experiment, self.trained.state
        return logits_of(experiment, state.variables, images)

    def looked(self, images: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
        """Images, uint8 [N, S, S, 3], with what spoke for a label, or with hands."""
        if hands := self.trained.experiment.view.hands:
            return hands.drawn(images)
        maps = occlusion_maps(self.logits_of, images, labels)
        return list(map(overlay, images, maps))

    @property
    def probabilities(self) -> np.ndarray:
        """Float64 [N, C], calibrated where the model is."""
        if self.calibration:
            return self.calibration.probabilities(self.logits)
        return softmax(self.logits)

    @cached_property
    def scores(self) -> dict[str, Any]:
        """`score_logits`, where model and data come from, and an entry an image.

        trained_on_count: images that the model was trained on, null where not known.
        calibrated: null where the model is not; else its temperature; loss and ece as
        in `score`, of the calibrated probabilities; selective, see
        `selective_accuracy`, null without a threshold; held_out, what it was fitted to.
        """
        trained, data = self.trained, self.data
        return score_logits(self.logits, data) | {
            "calibrated": self.calibration and self._calibrated(self.calibration),
            "images": self._answers(),
            "model": str(self.directory),
            "trained_on": trained.run.data["source"],
            "trained_on_count": count_trained_on(self.directory, data.images),
            "step": trained.step,
            "data": self.source,
            "left_out": dict(self.left_out),
        }

    def _calibrated(self, calibration: Calibration) -> dict[str, Any]:
        labels, threshold = self.data.labels, calibration.threshold
        scaled = self.logits / calibration.temperature
        return {
            "temperature": calibration.temperature,
            "loss": negative_log_likelihood(scaled, labels),
            "ece": calibration_error(self.probabilities, labels),
            "selective": None
            if threshold is None
            else selective_accuracy(self.probabilities, labels, threshold),
            "held_out": calibration.to_json(),
        }

    def _answers(self) -> list[dict[str, Any]]:
        """Of each image: index; path, null where it has none; true and predicted class;
        confidence.
        """
        data = self.data
        names = data.names or (None,) * len(data)
        return [
            {
                "index": index,
                "path": name,
                "true": data.classes[label],
                "predicted": data.classes[int(row.argmax())],
                "confidence": float(row.max()),
            }
            for index, (name, label, row) in enumerate(
                zip(names, data.labels, self.probabilities, strict=True)
            )
        ]

    def disputed(self) -> list[dict[str, Any]]:
        """Of `images` those whose label the model firmly disputes."""
        return [
            image
            for image in self._answers()
            if image["predicted"] != image["true"] and image["confidence"] >= FIRM
        ]

    def csv(self) -> str:
        """A table of `images`, with a heading; each value as it is (RFC 4180)."""
        images, text = self.scores["images"], io.StringIO()
        # Lines end in CR LF: with others Python before 3.11.9 leaves a CR unquoted.
        writer = csv.DictWriter(text, images[0])
        writer.writeheader()
        writer.writerows(images)
        return text.getvalue()

    def describe(self) -> dict[str, str]:
        """The scores but for the table of classes: heading -> text."""
        scores = self.scores
        low, high = scores["interval95"]
        lines = {
            "model": f"{self.directory}, step {scores['step']}",
            "data": f"{self.source}: {scores['count']} images",
        }
        if scores["trained_on"] == "synthetic":
            lines["model"] += ", trained on synthetic hands"
        if self.left_out:
            count, names = sum(self.left_out.values()), ", ".join(self.left_out)
            lines["left out"] = f"{count} images of classes not known: {names}"
        if known := scores["trained_on_count"]:
            lines["KNOWN"] = (
                f"{known} of the images were trained on, or held out for validation: "
                "of these the scores say nothing about new ones"
            )
        lines["accuracy"] = (
            f"{scores['accuracy']:.4f}, 95% interval {low:.3f} to {high:.3f}"
        )
        if rest := scores.get("leak_free"):
            lines["leak-free"] = (
                f"{rest['accuracy']:.4f} on the {rest['count']} images that are not in "
                "SIGNS' training set too"
            )
        lines["loss"] = f"{scores['loss']:.4f}"
        lines["ece"] = f"{scores['ece']:.4f}, the expected calibration error"
        if calibrated := scores["calibrated"]:
            lines["calibrated"] = (
                f"ece {calibrated['ece']:.4f}, loss {calibrated['loss']:.4f} at "
                f"temperature {calibrated['temperature']:.3f}"
            )
        if given := calibrated and calibrated["selective"]:
            lines["coverage"] = (
                f"{given['coverage']:.1%} of the images, those of confidence "
                f"{given['threshold']:.3f} or more; selective accuracy "
                f"{format_share(given['accuracy'])}"
            )
        if why := why_no_abstention(self.calibration):
            lines["abstains"] = why
        return lines


def format_share(value: float | None) -> str:
    """Three digits; a dash where it is undefined."""
    return "-" if value is None else f"{value:.3f}"
