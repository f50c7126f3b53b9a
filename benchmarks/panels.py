"""Figures that an experiment describes as data: which rows, which columns, against what."""

import math
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from benchmarks import plots, store
from benchmarks.descriptions import Described, select, values_of
from benchmarks.labels import LABELLED
from benchmarks.overtaking import geometric, zero
from benchmarks.verdicts import FLOOR

LABELS = plots.LABELS | {
    "work_variance": "variance × evaluations",
    "variance/latent_dim": "total variance / $D$",
    "mse": "mean squared error",
    "variance/gradient_norm": "variance / norm of the gradient",
    "bias/gradient_norm": "bias / norm of the exact gradient",
}
HEIGHT = 1.9
CHARACTERS, TITLE_WIDTH = 58, 42
MARKS = 9
CLOSE = 0.08


class Line(NamedTuple):
    """The rows of one line of a panel, in order of x."""

    x: np.ndarray
    y: pd.Series
    low: pd.Series
    high: pd.Series


def figures(described: Described, frame: pd.DataFrame) -> Iterator[tuple[str, str, Figure]]:
    """(name, caption, figure) of each figure described that has rows; the caller closes them.

    frame: results with their options, see `benchmarks.labels.with_options`.
    """
    frame = frame[frame["status"].isin(store.MEASURED)]
    for figure in described:
        chosen = [(panel, *select(panel, frame)) for panel in figure["panels"]]
        drawn = [(panel, rows) for panel, rows, reason in chosen if not reason]
        missing = [f"{panel['title']} ({reason})" for panel, _, reason in chosen if reason]
        if drawn:
            with plots.applied():
                made, edges = _figure(drawn, frame)
            bands = "Bands and bars are 95 % intervals."
            hollow = f"Hollow, on the edge of an axis: {'; '.join(sorted(edges))}." if edges else ""
            absent = f"Left out: {'; '.join(missing)}." if missing else ""
            said = [figure.get("caption", "").strip(), bands, hollow, absent]
            yield store.file_name(figure["name"]), " ".join(text for text in said if text), made


def _figure(drawn: list[tuple[dict[str, Any], pd.DataFrame]], frame: pd.DataFrame) -> tuple[Figure, set[str]]:
    """Panels in rows of two over one legend, and what is drawn on the edges of their axes.

    One panel is as wide as a column, two as a page.
    """
    across = min(len(drawn), 2)
    down = math.ceil(len(drawn) / across)
    figure = Figure(figsize=(plots.PAGE if across > 1 else plots.COLUMN, 6.0 * down))
    FigureCanvasAgg(figure)
    axes = figure.subplots(down, across, squeeze=False)
    edges: set[str] = set()
    everyone = {hue: _looks(hue, frame[hue]) for hue in {panel.get("hue", "estimator"): None for panel, _ in drawn}}
    named: set[tuple[str, str]] = set()
    for ax, (panel, rows) in zip(axes.flat, drawn, strict=False):
        hue = panel.get("hue", "estimator")
        looks = {name: look for name, look in everyone[hue].items() if name in set(rows[hue].astype(str))}
        edges |= draw(panel, rows, ax, looks)
        named |= {(hue, name) for name in looks if panel["x"] != hue}
    for ax in axes.flat[len(drawn) :]:
        ax.remove()
    legend = {name: look for hue, every in everyone.items() for name, look in every.items() if (hue, name) in named}
    if legend:
        handles = [Line2D([], [], label=plots.short(name), **look) for name, look in legend.items()]
        columns = min(len(legend), max(1, math.floor(CHARACTERS * across / (7 + max(map(len, legend))))))
        figure.legend(handles=handles, loc="outside lower center", ncols=columns)
    return plots.fitted(figure, [HEIGHT] * down), edges


def draw(panel: dict[str, Any], rows: pd.DataFrame, ax: Axes, looks: plots.Looks) -> set[str]:
    """One panel: a line and a band a name where x is a number, else dots and bars side by side.

    Returns what is drawn hollow on the edges of a logarithmic axis, because it cannot be drawn on it.
    """
    x, hue = panel["x"], panel.get("hue", "estimator")
    numeric = pd.api.types.is_numeric_dtype(rows[x])
    places = {} if numeric else {value: i for i, value in enumerate(_ordered(x, rows[x]))}
    logx = numeric and panel.get("logx", x in plots.SYMBOLS or geometric(rows[x]))
    logy = panel.get("logy", "bias" not in panel["y"])
    ax.set(xscale="log" if logx else "linear", yscale="log" if logy else "linear")
    names = [name for name in looks if name in set(rows[hue].astype(str))]
    ys = values_of(panel, rows)[0]
    floor = FLOOR * ys[np.isfinite(ys)].max() if logy else None
    edges: set[str] = set()
    for i, name in enumerate(names):
        part = rows[rows[hue].astype(str) == name].sort_values(x)
        dodge = 0.0 if numeric or x == hue else 0.6 * ((i + 0.5) / len(names) - 0.5)
        at = part[x].to_numpy(dtype=float) if numeric else np.array([places[str(value)] for value in part[x]]) + dodge
        edges |= _line(Line(at, *values_of(panel, part)), ax, looks[name], numeric, floor)
    ax.set_title(textwrap.fill(panel["title"], TITLE_WIDTH))
    ax.set(xlabel=_label(x) if numeric else "", ylabel=_label(panel["y"]))
    if numeric:
        _ticks(ax, rows[x], logx)
    else:
        wide = sum(map(len, places)) > 24
        ax.set_xticks(range(len(places)), list(places), rotation=35 if wide else 0, ha="right" if wide else "center")
        ax.set_xlim(-0.5, len(places) - 0.5)
    if logy and np.ptp(ends := np.log10(ax.get_ylim())) < 1:  # a decade at least, or noise looks like a trend
        ax.set_ylim(10 ** (ends.mean() - 0.5), 10 ** (ends.mean() + 0.5))
    if logy:
        plots.log_ticks(ax.yaxis)
    return edges


def _line(line: Line, ax: Axes, look: dict[str, Any], numeric: bool, floor: float | None) -> set[str]:
    """One line with its intervals; what the axis cannot show goes to its edge, and is named in what is returned.

    floor: what counts as zero on a logarithmic axis, beside what is zero within its own rounding; None on a linear one.
    """
    names = pd.DataFrame({"y": line.y, "y_low": line.low, "y_high": line.high}).astype(float)
    infinite = np.isposinf(names["y"].to_numpy())
    nothing = (floor is not None) & (zero(names, "y") | (names["y"] <= (floor or 0.0))).to_numpy()
    fine = ~(infinite | nothing)
    x, (y, low, high) = line.x, np.where(fine, names.to_numpy().T, np.nan)  # nan parts the line
    hollow = {"ls": "", "marker": look["marker"], "ms": look["ms"], "mec": look["color"], "mfc": "white"}
    edges = set()
    for bound, (which, said) in enumerate(
        ((nothing, f"zero within rounding, or below {FLOOR:g} of the panel's largest"), (infinite, "infinite"))
    ):
        if which.any():
            edges.add(said)
            at = np.full(which.sum(), float(bound))
            ax.plot(line.x[which], at, transform=ax.get_xaxis_transform(), clip_on=False, zorder=3, **hollow)
    if fine.any() and numeric:
        ax.plot(x, y, markevery=math.ceil(len(x) / MARKS), **look)
        ax.fill_between(x, low, high, color=look["color"], alpha=0.25, lw=0)
    if fine.any() and (not numeric or fine.sum() == 1):
        ax.plot(x, y, **(look | {"ls": ""}))
        ax.vlines(x, low, high, color=look["color"], lw=1.5)
    return edges


def _ordered(column: str, values: Iterable[Any]) -> list[str]:
    """Categories in the order of the looks for estimators, else as they come."""
    names = list(dict.fromkeys(str(value) for value in values))
    return list(plots.looks_of(names)) if column == "estimator" else names


def _looks(hue: str, values: pd.Series) -> plots.Looks:
    """Of every name: an estimator's are those of all figures; other names have greys, which no estimator has."""
    looks = plots.looks_of(values.dropna().astype(str))
    greys = np.linspace(0.1, 0.7, len(looks))
    return (
        looks
        if hue in ("estimator", "estimator.name")
        else {n: looks[n] | {"color": f"{g:.2f}"} for n, g in zip(looks, greys, strict=True)}
    )


def _label(column: str) -> str:
    head, _, tail = column.partition(".")
    last = column.rpartition(".")[2].replace("_", " ")
    return f"${tail}$" if head in LABELLED and len(tail) == 1 else LABELS.get(column, last)


def _ticks(ax: Axes, x: pd.Series, log: bool) -> None:
    """The sizes themselves where they are few and apart, else what the scale offers."""
    sizes = sorted(set(x))
    crowded = log and len(sizes) > 1 and np.diff(np.log(sizes)).min() <= CLOSE * np.ptp(np.log(sizes))
    if log and len(sizes) <= 8 and not crowded:
        ax.set_xticks(sizes, [f"{size:g}" for size in sizes])
        ax.xaxis.set_minor_locator(NullLocator())
    elif log:
        least, most = sizes[0], sizes[-1]
        nice = [m * 10.0**e for e in range(-9, 10) for m in (1, 2, 5) if 0.999 * least <= m * 10.0**e <= 1.001 * most]
        ax.set_xticks(nice, [f"{size:g}" for size in nice])
        ax.xaxis.set_minor_locator(NullLocator())
