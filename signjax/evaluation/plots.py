"""Learning curves, drawn by matplotlib (the plots extra)."""

import importlib.util
import io
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from signjax.runtime.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Blue and vermilion of Okabe and Ito: told apart with any color vision, and in gray.
COLORS = {"train": "#0072B2", "validation": "#D55E00", "test": "#D55E00"}
INK, FAINT = "#333333", "#DDDDDD"

HOW_TO_GET = 'no learning curves or report: pip install "signjax[plots]" makes them'


def available() -> bool:
    """Whether the plots extra is installed; where not, `HOW_TO_GET` says how."""
    return all(map(importlib.util.find_spec, ("matplotlib", "jinja2")))


def learning_curves(
    records: Sequence[Mapping[str, Any]],
    path: str | os.PathLike[str],
    *,
    title: str,
) -> None:
    """Draws loss and accuracy over epochs into a PNG of 1500 x 675 pixels.

    records: at least one, as in metrics.jsonl: each with `epoch` and, for the splits
    that were measured (train, validation, test), `<split>_loss` and
    `<split>_accuracy`; None leaves a gap.
    title: printed above exactly as given; name the data in it.
    """
    figure = _curves(records)
    figure.suptitle(title, color=INK, fontsize=12, weight="bold", parse_math=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_bytes(path, buffer.getvalue())


def learning_curves_svg(records: Sequence[Mapping[str, Any]]) -> str:
    """The same as an <svg> element; its colors are the page's --ink, --train, ..."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    nobody = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "signjax"}):
        _curves(records).savefig(
            buffer, format="svg", transparent=True, metadata=nobody
        )
    svg = buffer.getvalue()
    for name in ("train", "test"):  # validation is drawn as test is
        svg = svg.replace(COLORS[name].lower(), f"var(--{name})")
    for name, color in (("ink", INK), ("faint", FAINT)):
        svg = svg.replace(color.lower(), f"var(--{name})")
    return svg[svg.index("<svg") :]


def _curves(records: Sequence[Mapping[str, Any]]) -> "Figure":
    # A Figure without pyplot: no global state, no window system, nothing to close.
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.12, wspace=0.04)
    figure = Figure(figsize=(10, 4.5), dpi=150, layout=layout, facecolor="white")
    loss, accuracy = figure.subplots(1, 2)
    _draw(loss, records, "loss")
    _draw(accuracy, records, "accuracy")
    _scale_loss(loss, records)
    accuracy.set_ylim(0, 1.02)
    return figure


def _draw(axes: "Axes", records: Sequence[Mapping[str, Any]], quantity: str) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = [record["epoch"] for record in records]
    marker = "." if len(epochs) <= 50 else ""  # more would run together
    for split, color in COLORS.items():
        values = _series(records, f"{split}_{quantity}")
        if any(map(math.isfinite, values)):
            label = f"{split}, last {values[-1]:.3f}"
            axes.plot(epochs, values, color=color, label=label, marker=marker, lw=1.6)
    axes.set_xlabel("epoch", color=INK)
    axes.set_ylabel(quantity, color=INK)
    axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(color=FAINT, lw=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(which="both", colors=INK)
    axes.legend(frameon=False, labelcolor=INK)


def _series(records: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    """One value a record, NaN where it was not measured or not finite."""
    values = (record.get(key) for record in records)
    return [math.nan if value is None else value for value in values]


def _scale_loss(axes: "Axes", records: Sequence[Mapping[str, Any]]) -> None:
    """From zero; or logarithmic where the large end would crush the small one."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator

    series = [_series(records, f"{split}_loss") for split in COLORS]
    losses = [loss for values in series for loss in values if loss > 0]
    if losses and max(losses) > 30 * min(losses):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(bottom=0)
