"""Figures of a results frame. Each function draws on Axes that it is given, and returns them."""

import io
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from benchmarks import comparisons, overtaking, store

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


Looks = dict[str, dict[str, Any]]


def looks_of(names: Iterable[str]) -> Looks:
    """A colour, marker, size and dash for each estimator: the same in every panel, told apart where lines coincide."""
    ordered = sorted(set(names), key=_natural)
    colours = sns.color_palette("colorblind" if len(ordered) <= 10 else "husl", max(len(ordered), 1))
    looks = zip(
        ordered, colours, cycle("osD^vPX*<>"), cycle([6.0, 4.5, 3.0]), cycle(["-", "--", "-.", ":"]), strict=False
    )
    return {name: {"color": c, "marker": m, "ms": size, "ls": dash} for name, c, m, size, dash in looks}


def _natural(name: str) -> list[Any]:
    """Sort key that puts `f2` before `f10`."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name)]


def shown(values: pd.Series) -> pd.Series:
    """Which values a logarithmic axis can show."""
    return (values > 0) & np.isfinite(values.astype(float))


def scaling(frame: pd.DataFrame, ax: Axes, looks: Looks, x: str, y: str) -> Axes:
    """y against x on log axes, one line an estimator, 95 % intervals as a band, its exponent and theirs in the legend.

    frame: one row an estimator and x, with columns y, y_low and y_high.
    """
    for name, look in looks.items():
        rows = frame[(frame["estimator"] == name) & shown(frame[y])].sort_values(x)
        if rows.empty:
            continue
        low, high = rows[f"{y}_low"], rows[f"{y}_high"]
        exponent, least, most = comparisons.slope(rows[x], rows[y], low, high)
        error = max(most - exponent, exponent - least)
        label = f"{name}, {SYMBOLS[x]}$^{{{exponent:.2f}}}$" if np.isfinite(exponent) else name
        label += f" ± {error:.2g}" if error >= 0.005 else ""
        label += " (0 within rounding)" if overtaking.zero(rows, y).all() else ""
        ax.plot(rows[x], rows[y], lw=1.2, label=label, **look)
        ax.fill_between(rows[x], low, high, color=look["color"], alpha=0.25, lw=0)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    sizes = sorted(set(frame[x]))
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.xaxis.set_minor_locator(NullLocator())
    if np.ptp(np.log10(ax.get_ylim())) > 2:
        ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set(xlabel=LABELS[x], ylabel=LABELS[y])
    if ax.lines:
        ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.22), handlelength=3)
    return ax


Cells = list[tuple[str, int, int]]


def bias(frame: pd.DataFrame, ax: Axes, looks: Looks, cells: Cells, relative: bool) -> Axes:
    """Bias with its 95 % interval, one line a cell, downwards; relative: as a share of the exact gradient's norm.

    An interval that holds zero has no left end on this log axis: it runs to the edge, and has no dot. A cell that is
    not in the frame leaves its line empty.
    """
    scale = frame["gradient_norm"] if relative else 1.0
    share = frame[["bias", "bias_low", "bias_high"]].div(scale, axis=0).astype(float)
    positive = share.to_numpy()[share.to_numpy() > 0]
    most = positive.max() if positive.size else 1.0
    edge = min(positive.min() if positive.size else 1.0, most / 10) / 3
    own = zip(frame["estimator"], frame["latent_dim"], frame["num_samples"], strict=True)
    heights = np.array([len(cells) - 1 - cells.index(cell) for cell in own], dtype=float)
    colours = [looks[name]["color"] for name in frame["estimator"]]
    ax.hlines(heights, share["bias_low"].clip(lower=edge), share["bias_high"].clip(lower=edge), colours, lw=1.5)
    found = (share["bias_low"] > 0).to_numpy()
    dots = [colour for colour, f in zip(colours, found, strict=True) if f]
    ax.scatter(share["bias"].to_numpy()[found], heights[found], c=dots, s=12)
    ax.set_yticks(range(len(cells))[::-1], [f"{name}  D={d} S={s}" for name, d, s in cells])
    ax.set_xscale("log")
    ax.set_xlim(edge, 2 * most)
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_ylim(-0.7, len(cells) - 0.3)
    ax.set(xlabel="bias / norm of the exact gradient" if relative else "norm of the bias", ylabel="")
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


def figures(frame: pd.DataFrame, without: Collection[str] = ()) -> Iterator[tuple[str, str, Figure]]:
    """(name, caption, figure) of each figure that the frame has data for; the caller closes them.

    without: problems that are not drawn.
    """
    matplotlib.use("agg")
    frame = frame[frame["status"].isin(store.MEASURED)]
    everyone = looks_of(frame["estimator"])
    with sns.axes_style("ticks"), plt.rc_context(STYLE):
        for setting, part in frame[~frame["problem"].isin(without)].groupby(SETTING):
            where = dict(zip(SETTING, setting, strict=True))
            suffix = re.sub(r"[^\w.=+-]+", "_", "-".join(str(value) for value in setting))
            about = (
                f"{where['problem']} at {where['point']} ({where['dtype']}, {where['device']}, seed {where['seed']})"
            )
            looks = {name: look for name, look in everyone.items() if name in set(part["estimator"])}
            yield from _scaling_figures(part, looks, suffix, about)
            if part["bias"].notna().any():
                yield _bias_figure(part, looks, suffix, about)


def _scaling_figures(part: pd.DataFrame, looks: Looks, suffix: str, about: str) -> Iterator[tuple[str, str, Figure]]:
    """Variance and cost against both sizes, for one problem and point; the other size is held where all have rows."""
    groups = {str(name): rows for name, rows in part.groupby("group", sort=False)}
    height = PANEL[1] + 0.16 * len(looks)
    for x, other in (("latent_dim", "num_samples"), ("num_samples", "latent_dim")):
        whole = groups["all"]
        present = {size: len(set(whole.loc[whole[other] == size, "estimator"])) for size in sorted(set(whole[other]))}
        best = [size for size, count in present.items() if count == max(present.values())]
        value = min(best) if other == "num_samples" else max(best)
        at = {name: rows[rows[other] == value] for name, rows in groups.items()}
        if len(set(whole.loc[whole[other] == value, x])) < 2:
            continue
        missing = [n for n in looks if not at["all"].loc[at["all"]["estimator"] == n, "variance"].pipe(shown).any()]
        absent = f" Not shown, for want of a variance: {', '.join(missing)}." if missing else ""
        held = f"{about}, {SYMBOLS[other].strip('$')} = {value}."
        figure = panels(at, partial(scaling, looks=looks, x=x, y="variance"), height)
        text = f"Total variance of one estimate by parameter group: {held}{absent} Bands are 95 % intervals"
        yield f"variance-{x}-{suffix}", f"{text}; the exponent is the fitted slope, with its own.", figure
        figure, (left, right) = plt.subplots(1, 2, figsize=(2 * PANEL[0], height), layout="constrained")
        scaling(at["all"], left, looks, x, "seconds")
        scaling(at["all"], right, looks, x, "work_variance_time")
        text = f"Seconds of one estimate (medians), and variance at equal time: {held}{absent} Bands are 95 % intervals"
        yield f"cost-{x}-{suffix}", f"{text}; the exponent is the fitted slope, with its own.", figure


def _bias_figure(part: pd.DataFrame, looks: Looks, suffix: str, about: str) -> tuple[str, str, Figure]:
    """Bias of every cell of one problem and point; absolute where the exact gradient is lost in its own noise."""
    part = part[part["bias"].notna()]
    noise = np.sqrt((part["variance"] / part["replicates"]).astype(float))
    relative = bool((part["gradient_norm"] > 1e-3 * noise).all())
    groups = {str(name): rows for name, rows in part.groupby("group", sort=False)}
    order = list(looks)
    found = set(zip(part["estimator"], part["latent_dim"], part["num_samples"], strict=True))
    cells = sorted(found, key=lambda cell: (order.index(cell[0]), cell[1:]))
    figure = panels(groups, partial(bias, looks=looks, cells=cells, relative=relative), 0.8 + 0.13 * len(cells), True)
    caption = f"Bias: {about}. Lines are 95 % intervals; one that reaches the left edge holds zero."
    return f"bias-{suffix}", caption, figure


def calibration(frame: pd.DataFrame) -> Figure:
    """Rates that intervals cover and tests reject, with their 95 % intervals; dashed: claimed, grey: allowed."""
    matplotlib.use("agg")
    claims = list(dict.fromkeys(frame["claim"]))
    names = list(dict.fromkeys(zip(frame["case"], frame["group"], strict=True)))
    colours = dict(zip(dict.fromkeys(frame["case"]), sns.color_palette("colorblind"), strict=False))
    with sns.axes_style("ticks"), plt.rc_context(STYLE):
        size = (1.55 * len(claims) + 1.6, 0.17 * len(names) + 0.9)
        figure, axes = plt.subplots(1, len(claims), figsize=size, sharey=True, squeeze=False, layout="constrained")
        for ax, claim in zip(axes[0], claims, strict=True):
            part = frame[frame["claim"] == claim]
            heights = [len(names) - names.index(name) for name in zip(part["case"], part["group"], strict=True)]
            hues = [colours[case] for case in part["case"]]
            claimed, bound = part[["claimed", "bound"]].iloc[0]
            ends = (0.0, bound) if claimed < 0.5 else (bound, 1.0)
            ax.axvspan(*ends, color="0.93", lw=0)
            ax.axvline(claimed, color="0.3", lw=0.8, ls="--")
            ax.hlines(heights, part["rate_low"], part["rate_high"], hues, lw=1.5)
            ax.scatter(part["rate"], heights, c=hues, s=9, clip_on=False, zorder=3)
            least, most = part["rate_low"].min(), part["rate_high"].max()
            ax.set_xlim((0, max(most, 2 * bound)) if claimed < 0.5 else (min(least, bound - 0.02), 1.0))
            ax.set(
                title=claim.replace(" at", "\nat")
                .replace("ted in", "ted\nin")
                .replace(" cov", "\ncov")
                .replace("ce within", "ce\nwithin"),
                xlabel="rate",
            )
            ax.locator_params(axis="x", nbins=4)
        axes[0][0].set_yticks(range(len(names), 0, -1), [f"{case}: {group}" for case, group in names])
    return figure


def save(figure: Figure, path: Path) -> bytes:
    """Write a figure as path.png and path.svg, close it, and return the SVG."""
    for suffix in ("png", "svg"):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix, dpi=200, metadata={"Date": None} if suffix == "svg" else None)
        store.write_atomically(path.with_name(f"{path.name}.{suffix}"), buffer.getvalue())
    plt.close(figure)
    return buffer.getvalue()
