"""Cost against variance, with bias: the Pareto front of the estimators and their numbers of samples."""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from benchmarks.plots.part import Drawn, Part, listed, replicates
from benchmarks.plots.style import GREY, NAMED, Looks, fitted, legend_below, log_ticks, natural, panels, short, shown
from benchmarks.verdicts import drawable, has_norm, trusted, unbiased, usable

HEIGHT = 2.6


def pareto(cost: NDArray[np.float64], loss: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points no other one beats: none costs less or as much and loses less, or costs less and loses as much."""
    order = np.lexsort((loss, cost))
    least = np.minimum.accumulate(np.concatenate([[np.inf], loss[order][:-1]]))
    on = np.zeros(len(cost), dtype=bool)
    on[order] = loss[order] < least
    for i in np.flatnonzero(on):  # those that coincide with a point of the front are on it too
        on |= (cost == cost[i]) & (loss == loss[i])
    return on


def points_of(part: Part) -> pd.DataFrame:
    """One row an estimator and S at the largest latent_dim that most have: x, y, their intervals, sound, on the fronts.

    x: time, in draws of the whole of z's noise. y: variance over the gradient's squared norm, where it has one.
    """
    rows = part.whole[usable(part.whole) & trusted(part.whole) & ~part.whole["estimator"].isin(part.noiseless)]
    rows = rows[drawable(rows, "variance") & shown(rows["time"])]
    if rows.empty:
        return rows
    counts = rows.groupby("latent_dim")["estimator"].nunique()
    dim = max(counts.index[counts == counts.max()])
    rows = rows[rows["latent_dim"] == dim]
    norm = rows["gradient_norm"].astype(float) if has_norm(rows).all() else pd.Series(1.0, index=rows.index)
    ends = ("", "_low", "_high")
    x = {f"x{end}": rows[f"time{end}"] / dim for end in ends}
    y = {f"y{end}": rows[f"variance{end}"].astype(float) / norm**2 for end in ends}
    rows = rows.assign(**x, **y, share=rows["bias"].astype(float) / norm, sound=unbiased(rows), first=False)
    on = pareto(rows["x"].to_numpy(), rows["y"].to_numpy())
    fine = rows["sound"].to_numpy()
    rows.loc[fine, "first"] = pareto(rows.loc[fine, "x"].to_numpy(), rows.loc[fine, "y"].to_numpy())
    return rows.assign(any=on)


def trade_off(points: pd.DataFrame, ax: Axes, looks: Looks, relative: bool) -> Axes:
    """Points with bars, hollow where biased; the front of the unbiased solid, that of all dashed."""
    ax.set(xscale="log", yscale="log")
    for name in sorted(set(points["estimator"]), key=natural):
        rows = points[points["estimator"] == name].sort_values("num_samples")
        if name not in looks:
            ax.plot(rows["x"], rows["y"], color=GREY, lw=0.4, marker=".", ms=2.5, mew=0, zorder=1)
            continue
        look = looks[name] | {"ls": ""}
        ax.plot(rows["x"], rows["y"], color=look["color"], lw=0.5, alpha=0.6, zorder=2)
        for axis, draw in (("x", ax.hlines), ("y", ax.vlines)):
            draw(rows[{"x": "y", "y": "x"}[axis]], rows[f"{axis}_low"], rows[f"{axis}_high"], look["color"], lw=0.6)
        for fine, part in rows.groupby("sound"):
            ax.plot(part["x"], part["y"], **look, mfc=look["color"] if fine else "white", mew=0.8, zorder=3)
    ends = _frame(points, ax)
    fronts = {"any": points[points["any"]], "first": points[points["first"]]}
    if set(fronts["any"].index) != set(fronts["first"].index):
        _staircase(fronts["any"], ax, ends, ls=(0, (4, 2)), color="0.45", lw=0.8)
    _staircase(fronts["first"], ax, ends, ls="-", color="0.2", lw=0.8)
    log_ticks(ax.xaxis)
    log_ticks(ax.yaxis)
    ax.set_xlabel("time of an estimate / draw of $z$'s noise")
    ax.set_ylabel("variance / squared norm of gradient" if relative else "total variance")
    return ax


def _frame(points: pd.DataFrame, ax: Axes) -> tuple[float, float]:
    """Limits around the points and their bars, of a long one no more than a factor of 3; returns the upper ones."""
    for axis, limit in (("x", ax.set_xlim), ("y", ax.set_ylim)):
        low, high = (points[f"{axis}{end}"].fillna(points[axis]) for end in ("_low", "_high"))
        least = np.log10(np.maximum(low, points[axis].min() / 3).min())
        most = np.log10(np.minimum(high, points[axis].max() * 3).max())
        margin = 0.07 * max(most - least, 0.5)
        limit(10 ** (least - margin), 10 ** (most + margin))
    return ax.get_xlim()[1], ax.get_ylim()[1]


def _staircase(front: pd.DataFrame, ax: Axes, ends: tuple[float, float], **look: Any) -> None:
    """The edge of what is reached: from the top down to the first point, along and down, to the right."""
    front = front.sort_values(["x", "y"])
    if len(front):
        x = [front["x"].iloc[0], *front["x"], ends[0]]
        y = [ends[1], *front["y"], front["y"].iloc[-1]]
        ax.step(x, y, where="post", zorder=1.5, **look)


def name_points(points: pd.DataFrame, ax: Axes, relative: bool) -> None:
    """The names of those on a front beside their points, and the bias of the biased, where there is room."""
    spots = ax.transData.transform(points[["x", "y"]].to_numpy(dtype=float))
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in spots]
    room = ax.bbox.padded(-4)
    front = points[points["any"] | points["first"]]
    for name in sorted(set(front["estimator"]), key=natural):
        rows = front[front["estimator"] == name].sort_values("x")
        share = f" ({100 * rows['share'].max():.2g} %)" if relative and not rows["sound"].all() else ""
        for (_, row), (dx, dy) in product(rows.iterrows(), [(1, 1), (-1, -1), (1, -1), (-1, 1), (0, 2), (0, -2)]):
            text = ax.annotate(
                short(name, 22) + share,
                (row["x"], row["y"]),
                xytext=(4 * dx, 3 * dy),
                textcoords="offset points",
                ha={1: "left", -1: "right", 0: "center"}[dx],
                va="bottom" if dy > 0 else "top",
                fontsize=6,
            )
            box = text.get_window_extent()
            inside = room.contains(box.x0, box.y0) and room.contains(box.x1, box.y1)
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()


def front_figures(part: Part) -> list[Drawn]:
    """The trade-off between time, variance and bias; drawn where there are two points or more."""
    points = points_of(part)
    if len(points) < 2:
        return []
    relative = bool(has_norm(points).all())
    order = points.sort_values(["first", "any", "sound", "y"], ascending=[False, False, False, True])
    looks = part.looks(list(order["estimator"].drop_duplicates())[:NAMED])
    figure, (ax,) = panels(1)
    trade_off(points, ax, looks, relative)
    handles = []
    for name, look in looks.items():
        rows = points[points["estimator"] == name]
        fine = bool(rows["sound"].all())
        bias = f": bias {_span(rows.loc[~rows['sound'], 'share'])}" if relative and not fine else ""
        face = look["color"] if fine else "white"
        handles.append(Line2D([], [], **look | {"ls": ""}, mfc=face, mew=0.8, label=short(name, 22) + bias))
    handles.append(Line2D([], [], color="0.2", lw=0.8, label="front, no bias found"))
    if not points["any"].equals(points["first"]):
        handles.append(Line2D([], [], color="0.45", lw=0.8, ls=(0, (4, 2)), label="front, bias accepted"))
    legend_below(ax, handles)
    fitted(figure, [HEIGHT])
    name_points(points, ax, relative)
    return [Drawn(f"front-{part.suffix}", _caption(part, points, looks), figure)]


def _span(shares: pd.Series) -> str:
    """Least and largest bias as text: 12 to 75 %; not tested where there is none."""
    shares = 100 * shares.dropna()
    if shares.empty:
        return "not tested"
    ends = f"{shares.min():.2g}", f"{shares.max():.2g}"
    return f"{ends[0]} %" if ends[0] == ends[1] else f"{ends[0]} to {ends[1]} %"


def _caption(part: Part, points: pd.DataFrame, looks: Looks) -> str:
    samples = [str(size) for size in sorted(set(points["num_samples"]))]
    grey = len(set(points["estimator"]) - set(looks))
    missing = set(part.names) - set(points["estimator"])
    return (
        f"Time, variance and bias of one estimate: {part.about}, D = {points['latent_dim'].iloc[0]}, "
        f"{replicates(points)}. One point an estimator and S ({', '.join(samples)}, joined by a line). Time is a "
        "multiple of drawing all of z's noise once in the same seconds. Filled: no bias found; hollow: biased or not "
        "tested, bias as a share of the gradient's norm. Down and left is better; bars are 95 % intervals."
        + (f" Grey: {grey} more estimators." if grey else "")
        + (
            f" Not shown, for want of a variance above zero, or of use in practice: {listed(missing)}."
            if missing
            else ""
        )
    )
