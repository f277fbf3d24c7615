"""One HTML file about a trained model, whole in itself: open it, send it.

Pictures are in the page as data addresses and nothing is loaded from anywhere.
"""

import base64
import html
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from signjax.evaluation import plots

_SHOWN = 128  # pixels a side at least of a mistake's picture


@dataclass(frozen=True)
class Mistake:
    """A picture that was labelled wrongly.

    image: uint8 [S, S, 3], as the network saw it. heat: float [S, S], what each place
    spoke for the wrong label. confidence: of that label, and likelihood of the true.
    """

    image: np.ndarray
    heat: np.ndarray
    true: str
    predicted: str
    confidence: float
    likelihood: float


@dataclass(frozen=True)
class Report:
    """What a report says.

    numbers: heading -> text, in order. scores: as `evaluation.score`. reliability: the
    curves of `plots.reliability_diagram`. records: of metrics.jsonl. mistakes: the
    worst first; of `wrong` ones. audit: lines. config, versions, data: of run.json.
    """

    title: str
    numbers: Mapping[str, str]
    scores: Mapping[str, Any]
    reliability: Mapping[str, Sequence[Mapping[str, float]]]
    records: Sequence[Mapping[str, Any]]
    mistakes: Sequence[Mistake]
    audit: Sequence[str]
    config: Mapping[str, Any]
    versions: Mapping[str, str]
    data: Mapping[str, Any]


def render(report: Report) -> str:
    """The page. Needs matplotlib: ask `plots.available` first."""
    wrong = report.scores["count"] - sum(
        row[i] for i, row in enumerate(report.scores["confusion"])
    )
    sections = [
        _section("Scores", _rows(report.numbers)),
        _section("Learning curves", _curves(report)),
        _section("Confusion", _confusion(report.scores)),
        _section("Reliability", _reliability(report.reliability)),
        _section(f"Worst of {wrong} mistakes", _mistakes(report.mistakes)),
        _section("Data audit", _verbatim("\n".join(report.audit))),
        _section("Trained on", _rows(report.data)),
        _section("Versions", _rows(report.versions)),
        _section("Config", _verbatim(json.dumps(report.config, indent=1))),
    ]
    title = html.escape(report.title)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{title}</h1>\n{''.join(sections)}</body>\n</html>\n"
    )


_STYLE = """
body { font: 15px/1.45 sans-serif; color: #333; max-width: 1000px; margin: 2em auto;
  padding: 0 1em }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em }
table { border-collapse: collapse } td, th { padding: .15em .9em .15em 0;
  text-align: left; vertical-align: top } th { font-weight: normal; color: #777 }
pre { background: #f5f5f5; padding: .8em; overflow-x: auto; font-size: 12px;
  white-space: pre-wrap; overflow-wrap: anywhere }
img { max-width: 100% } figure { display: inline-block; margin: 0 1.4em 1.2em 0 }
figcaption { font-size: 13px }
"""


def _section(heading: str, body: str) -> str:
    return f"<section>\n<h2>{html.escape(heading)}</h2>\n{body}\n</section>\n"


def _rows(values: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><th>{html.escape(str(key))}</th><td>{html.escape(str(value))}</td></tr>\n"
        for key, value in values.items()
    )
    return f"<table>\n{rows}</table>"


def _verbatim(text: str) -> str:
    return f"<pre>{html.escape(text)}</pre>"


def _curves(report: Report) -> str:
    if not report.records:
        return "<p>None: this workdir holds no metrics of training.</p>"
    return _plot(
        lambda file: plots.learning_curves(report.records, file, title=""),
        "loss and accuracy over epochs",
    )


def _confusion(scores: Mapping[str, Any]) -> str:
    classes = scores["classes"]
    matrix = _plot(
        lambda file: plots.confusion_matrix(scores["confusion"], classes, file),
        "predicted class of each true class",
    )
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{of['count']}</td>"
        f"<td>{_share(of['recall'])}</td><td>{_share(of['precision'])}</td></tr>\n"
        for name, of in scores["per_class"].items()
    )
    head = "<tr><th>class</th><th>images</th><th>recall</th><th>precision</th></tr>"
    return f"{matrix}\n<table>\n{head}\n{rows}</table>"


def _reliability(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    text = "On the dotted line, of the answers given with 80% confidence 80% are right."
    return (
        _plot(
            lambda file: plots.reliability_diagram(curves, file),
            "accuracy over confidence",
        )
        + f"<p>{text}</p>"
    )


def _mistakes(mistakes: Sequence[Mistake]) -> str:
    if not mistakes:
        return "<p>There is none.</p>"
    text = (
        "Left what the network saw; right where it looked: the redder a place, the "
        "more covering it takes away from the wrong answer."
    )
    return f"<p>{text}</p>\n" + "\n".join(map(_mistake, mistakes))


def _mistake(mistake: Mistake) -> str:
    caption = html.escape(
        f"{mistake.true} taken for {mistake.predicted}, confidence "
        f"{mistake.confidence:.3f} (of {mistake.true}: {mistake.likelihood:.3f})"
    )
    pictures = _picture(mistake.image, f"a {mistake.true}") + _picture(
        overlay(mistake.image, mistake.heat), "where the network looked"
    )
    return f"<figure>{pictures}<figcaption>{caption}</figcaption></figure>"


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A greyed picture, redder the larger `heat` is: uint8 [S, S, 3].

    image: uint8 [S, S, 3]. heat: float [S, S]; its largest value is full red, and zero
    and below stay grey.
    """
    grey = image.mean(axis=2, keepdims=True) * 0.6 + 90
    share = np.maximum(heat, 0) / max(float(heat.max()), np.finfo(float).tiny)
    red = np.array([215.0, 30.0, 30.0])
    mixed = grey + 0.75 * share[..., None] * (red - grey)
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def _picture(pixels: np.ndarray, alt: str) -> str:
    """An <img> of uint8 [S, S, 3], enlarged by whole pixels where it is small."""
    times = -(-_SHOWN // len(pixels))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    side = times * len(pixels)
    style = f'width="{side}" height="{side}" style="image-rendering: pixelated"'
    return _img(buffer.getvalue(), alt, style)


def _plot(draw: Callable[[io.BytesIO], None], alt: str) -> str:
    buffer = io.BytesIO()
    draw(buffer)
    return _img(buffer.getvalue(), alt)


def _img(png: bytes, alt: str, attributes: str = "") -> str:
    data = base64.b64encode(png).decode()
    text = html.escape(alt, quote=True)
    return f'<img {attributes} alt="{text}" src="data:image/png;base64,{data}">'


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
