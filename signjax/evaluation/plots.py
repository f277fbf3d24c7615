"""Pictures of a run, by matplotlib (the plots extra)."""

import importlib.util
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Blue and vermilion of Okabe and Ito: told apart with any colour vision, and in grey.
COLORS = {"train": "#0072B2", "validation": "#D55E00", "test": "#D55E00"}
INK, FAINT = "#333333", "#DDDDDD"

# Of a confusion matrix: classes, and letters of a name that stands level.
_MOST_NAMED, _LONG_NAME = 40, 4
_MOST_DRAWN = 30  # letters of a name

HOW_TO_GET = 'no learning curves: pip install "signjax[plots]" draws them'


def available() -> bool:
    """Whether the plots extra is installed; where not, `HOW_TO_GET` says how."""
    return importlib.util.find_spec("matplotlib") is not None


def learning_curves(
    records: Sequence[Mapping[str, Any]],
    path: str | os.PathLike[str] | IO[bytes],
    *,
    title: str,
) -> None:
    """Draws loss and accuracy over epochs into a PNG of 1500 x 675 pixels.

    records: at least one, as in metrics.jsonl: each with `epoch` and, for the splits
    that were measured (train, validation, test), `<split>_loss` and
    `<split>_accuracy`; None leaves a gap.
    title: printed above exactly as given; name the data in it.
    """
    # A Figure without pyplot: no global state, no window system, nothing to close.
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.12, wspace=0.04)
    figure = Figure(figsize=(10, 4.5), dpi=150, layout=layout, facecolor="white")
    figure.suptitle(title, color=INK, fontsize=12, weight="bold", parse_math=False)
    loss, accuracy = figure.subplots(1, 2)
    _draw(loss, records, "loss")
    _draw(accuracy, records, "accuracy")
    _scale_loss(loss, records)
    accuracy.set_ylim(0, 1.02)
    figure.savefig(path, format="png")


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


def step_times(rows: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Draws benchmark rows as bars of images a second into a PNG 1500 pixels wide.

    rows: at least one, as --mode=benchmark writes them. A bar's length is by the median
    step, the line at its end by the quartiles; beside it stands its share of the peak.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.12)
    size = (10, 1.6 + 0.35 * len(rows))
    figure = Figure(figsize=size, dpi=150, layout=layout, facecolor="white")
    title = f"{rows[0]['variant']} on {rows[0]['device']}"
    figure.suptitle(title, color=INK, fontsize=12, weight="bold", parse_math=False)
    axes = figure.subplots()
    for place, row in enumerate(rows):
        _draw_speed(axes, place, row)
    axes.set_yticks(range(len(rows)), [_setting(row) for row in rows], color=INK)
    axes.invert_yaxis()  # the first row on top
    axes.set_xlabel("images a second", color=INK)
    axes.margins(x=0.15)
    axes.grid(axis="x", color=FAINT, lw=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(which="both", colors=INK)
    figure.savefig(path, format="png")


def _draw_speed(axes: "Axes", place: int, row: Mapping[str, Any]) -> None:
    step = row["step_ms"]
    speed = row["images_per_second"]
    fastest, slowest = (speed * step["median"] / step[p] for p in ("p25", "p75"))
    color = COLORS["train"]
    axes.barh(place, speed, height=0.6, color=color)
    axes.plot([slowest, fastest], [place, place], color=INK, lw=1.6)
    share = "" if row["mfu"] is None else f", {row['mfu']:.1%} of peak"
    axes.annotate(
        f"{step['median']:.4g} ms{share}",
        (max(speed, fastest), place),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        color=INK,
    )


def _setting(row: Mapping[str, Any]) -> str:
    devices = row["device_count"]
    return f"{row['program']} {row['batch_size']} {row['dtype']}" + (
        f" x {devices}" if devices > 1 else ""
    )


def confusion_matrix(
    confusion: Sequence[Sequence[int]],
    classes: Sequence[str],
    file: str | os.PathLike[str] | IO[bytes],
) -> None:
    """Draws counts, rows by true class, into a PNG; a row's colours are its shares.

    Of more than 40 classes colours alone, as numbers and names would not be readable.
    """
    from matplotlib.figure import Figure

    count = len(classes)
    readable = count <= _MOST_NAMED
    side = 2.2 + 0.42 * min(count, _MOST_NAMED)
    figure = Figure(figsize=(side, side), dpi=110, layout="constrained")
    axes = figure.subplots()
    shares = [[n / max(1, sum(row)) for n in row] for row in confusion]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(count) if readable else ():
        for column in range(count):
            number, share = confusion[row][column], shares[row][column]
            if number:
                color = "white" if share > 0.5 else INK
                axes.text(column, row, str(number), ha="center", va="center", c=color)
    if readable:
        labels = [_drawable(name) for name in classes]
        names: dict[str, Any] = {"labels": labels, "color": INK, "parse_math": False}
        upright = 90 if max(map(len, classes)) > _LONG_NAME else 0
        axes.set_xticks(range(count), rotation=upright, **names)
        axes.set_yticks(range(count), **names)
    axes.set_xlabel("predicted", color=INK)
    axes.set_ylabel("true", color=INK)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    with warnings.catch_warnings():
        # Letters that matplotlib's font lacks; the report has the names as text too.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(file, format="png")


def _drawable(name: str) -> str:
    """As a picture shows a name: what is no UTF-8 escaped, a long one cut."""
    shown = name.encode(errors="backslashreplace").decode()
    return shown if len(shown) <= _MOST_DRAWN else f"{shown[: _MOST_DRAWN - 1]}…"


def reliability_diagram(
    bins: Mapping[str, Sequence[Mapping[str, float]]],
    file: str | os.PathLike[str] | IO[bytes],
) -> None:
    """Draws accuracy over confidence into a PNG; honest confidence is on the diagonal.

    bins: the name of a curve -> rows of `confidence`, `accuracy` and `count`, for one
    or two curves.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 4.4), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=INK, lw=1, ls=":")
    colors = [COLORS["train"], COLORS["test"]]
    for (name, rows), color in zip(bins.items(), colors[: len(bins)], strict=True):
        places = [row["confidence"] for row in rows]
        values = [row["accuracy"] for row in rows]
        axes.plot(places, values, color=color, label=name, marker="o", ms=4, lw=1.4)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("mean confidence of a tenth of the images", color=INK)
    axes.set_ylabel("accuracy of that tenth", color=INK)
    axes.grid(color=FAINT, lw=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK)
    axes.legend(frameon=False, labelcolor=INK)
    figure.savefig(file, format="png")
