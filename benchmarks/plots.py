"""Figures of a results frame. Each function draws on Axes that it is given, and returns them."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

LABELS = {
    "latent_dim": "latent dimension $D$",
    "num_samples": "samples $S$",
    "variance": "total variance",
    "seconds": "seconds an estimate",
    "work_variance_time": "variance × seconds",
}
SYMBOLS = {"latent_dim": "$D$", "num_samples": "$S$"}
PANEL = (2.9, 2.5)
STYLE: Any = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "svg.fonttype": "none",
    "svg.hashsalt": "gradiometer",
}
SETTING = ["problem", "point", "seed", "device", "dtype"]


def slope(x: pd.Series, y: pd.Series) -> float:
    """Exponent b of the least-squares power law y = a x^b; nan below two sizes."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0]) if len(set(x)) > 1 else float("nan")


def scaling(frame: pd.DataFrame, ax: Axes, x: str, y: str) -> Axes:
    """y against x on log axes, one line an estimator, its 95 % interval as a band, its exponent in the legend.

    frame: one row an estimator and x. Columns y_low and y_high make the band where they exist.
    """
    palette = dict(zip(sorted(frame["estimator"].unique()), sns.color_palette("colorblind"), strict=False))
    looks = zip(cycle("osD^vPX*<>"), cycle(["-", "--", "-.", ":"]), strict=False)
    for (name, rows), (marker, dashes) in zip(frame[frame[y] > 0].groupby("estimator"), looks, strict=False):
        rows = rows.sort_values(x)
        colour = palette.get(name, "black")
        exponent = slope(rows[x], rows[y])
        label = f"{name}, {SYMBOLS[x]}$^{{{exponent:.2f}}}$" if np.isfinite(exponent) else name
        ax.plot(rows[x], rows[y], linestyle=dashes, marker=marker, ms=4, lw=1.2, color=colour, label=label)
        if f"{y}_low" in rows:
            ax.fill_between(rows[x], rows[f"{y}_low"], rows[f"{y}_high"], color=colour, alpha=0.25, lw=0)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    sizes = sorted(frame[x].unique())
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.xaxis.set_minor_locator(NullLocator())
    if np.ptp(np.log10(ax.get_ylim())) > 2:
        ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set(xlabel=LABELS[x], ylabel=LABELS[y])
    ax.legend(frameon=False)
    return ax


def bias(frame: pd.DataFrame, ax: Axes) -> Axes:
    """Bias as a share of the gradient's norm, with its 95 % interval, one line a row of the frame.

    An interval that holds zero has no left end on this log axis: it runs to the edge, and has no dot.
    """
    frame = frame.sort_values(["estimator", "latent_dim", "num_samples"], ascending=[True, False, False])
    share = frame[["bias", "bias_low", "bias_high"]].div(frame["gradient_norm"], axis=0)
    positive = share.to_numpy()[share.to_numpy() > 0]
    edge = positive.min() / 3 if positive.size else 1e-12
    palette = dict(zip(sorted(frame["estimator"].unique()), sns.color_palette("colorblind"), strict=False))
    heights = np.arange(len(frame))
    colours = [palette.get(name, "black") for name in frame["estimator"]]
    ax.hlines(heights, share["bias_low"].clip(lower=edge), share["bias_high"].clip(lower=edge), colours, lw=1.5)
    found = (share["bias_low"] > 0).to_numpy()
    ax.scatter(
        share["bias"].to_numpy()[found], heights[found], c=[c for c, f in zip(colours, found, strict=True) if f], s=12
    )
    ax.set_yticks(heights, [f"{r.estimator}  D={r.latent_dim} S={r.num_samples}" for r in frame.itertuples()])
    ax.set_xscale("log")
    ax.set_xlim(left=edge)
    ax.set_ylim(-0.7, len(frame) - 0.3)
    ax.set(xlabel="bias / norm of the exact gradient", ylabel="")
    ax.grid(axis="y", lw=0.2)
    return ax


def panels(
    frames: dict[str, pd.DataFrame], draw: Callable[[pd.DataFrame, Axes], Any], height: float, sharey: bool = False
) -> Figure:
    """One panel a named frame, side by side."""
    size = (PANEL[0] * len(frames), height)
    figure, axes = plt.subplots(1, len(frames), figsize=size, squeeze=False, layout="constrained", sharey=sharey)
    for ax, (title, frame) in zip(axes[0], frames.items(), strict=True):
        draw(frame, ax)
        ax.set_title(title)
    return figure


def figures(frame: pd.DataFrame) -> Iterator[tuple[str, str, Figure]]:
    """(name, caption, figure) of each figure that the frame has data for; the caller closes them."""
    matplotlib.use("agg")
    frame = frame[frame["status"].isin(["ok", "budget"])]
    with sns.axes_style("ticks"), plt.rc_context(STYLE):
        for setting, part in frame.groupby(SETTING):
            where = dict(zip(SETTING, setting, strict=True))
            suffix = "-".join(str(value) for value in setting)
            about = (
                f"{where['problem']} at {where['point']} ({where['dtype']}, {where['device']}, seed {where['seed']})"
            )
            yield from _figures_of(part, suffix, about)


def _figures_of(part: pd.DataFrame, suffix: str, about: str) -> Iterator[tuple[str, str, Figure]]:
    """The figures of one problem and point."""
    groups = {str(name): rows for name, rows in part.groupby("group", sort=False)}
    band = "Bands are 95 % intervals; the exponent is the fitted slope."
    fixed = {
        "latent_dim": ("num_samples", part["num_samples"].min()),
        "num_samples": ("latent_dim", part["latent_dim"].max()),
    }
    for x, (other, value) in fixed.items():
        at = {name: rows[rows[other] == value] for name, rows in groups.items()}
        if at["all"][x].nunique() < 2:
            continue
        held = f"{about}, {SYMBOLS[other].strip('$')} = {value}."
        figure = panels(at, partial(scaling, x=x, y="variance"), PANEL[1])
        yield f"variance-{x}-{suffix}", f"Total variance of one estimate by parameter group: {held} {band}", figure
        figure, (left, right) = plt.subplots(1, 2, figsize=(2 * PANEL[0], PANEL[1]), layout="constrained")
        scaling(at["all"], left, x, "seconds")
        scaling(at["all"], right, x, "work_variance_time")
        yield f"cost-{x}-{suffix}", f"Cost of one estimate, and variance at equal time: {held} {band}", figure
    named = {name: rows for name, rows in groups.items() if (rows["gradient_norm"] > 0).all()}
    if named:
        height = 0.8 + 0.13 * max(len(rows) for rows in named.values())
        caption = f"Bias: {about}. Lines are 95 % intervals; one that reaches the left edge holds zero."
        yield f"bias-{suffix}", caption, panels(named, bias, height, sharey=True)
