"""Bias with its intervals, one line a cell, beside the bounds within which it is as good as none."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from benchmarks.intervals import EQUIVALENCE
from benchmarks.plots.part import Drawn, Part, replicates
from benchmarks.plots.style import fitted, legend_below, log_ticks, panels, short
from benchmarks.verdicts import has_norm

LINE = 0.115
LINES, MOST = 40, 60
FOUND, NOT_FOUND = "#D55E00", "0.3"


class Cell(NamedTuple):
    """What a line of the forest is of."""

    estimator: str
    latent_dim: int
    num_samples: int


def shares(frame: pd.DataFrame, relative: bool) -> pd.DataFrame:
    """Bias and its interval; relative: as a share of the exact gradient's norm."""
    scale = frame["gradient_norm"] if relative else 1.0
    return frame[["bias", "bias_low", "bias_high"]].div(scale, axis=0).astype(float)


def limits(share: pd.DataFrame, relative: bool) -> tuple[float, float]:
    """The ends of the axis: below all that is above zero, and the bounds of equivalence, by a third."""
    positive = share.to_numpy()[share.to_numpy() > 0]
    most = positive.max() if positive.size else 1.0
    edge = min(positive.min() if positive.size else 1.0, most / 10, EQUIVALENCE if relative else np.inf) / 3
    return edge, 2 * max(most, 3 * EQUIVALENCE if relative else 0.0)


def bias(
    frame: pd.DataFrame, ax: Axes, cells: list[Cell], relative: bool, ends: tuple[float, float] | None = None
) -> Axes:
    """Bias with its 95 % interval, one line a cell, downwards; relative: as a share of the exact gradient's norm.

    An interval that holds zero has no left end on this log axis: it runs to the edge, and has no dot. A cell that is
    not in the frame leaves its line empty.
    """
    share = shares(frame, relative)
    edge, most = ends or limits(share, relative)
    own = (Cell(*cell) for cell in zip(frame["estimator"], frame["latent_dim"], frame["num_samples"], strict=True))
    heights = np.array([len(cells) - 1 - cells.index(cell) for cell in own], dtype=float)
    found = biased(frame).to_numpy()
    colours = [FOUND if f else NOT_FOUND for f in found]
    ax.hlines(heights, share["bias_low"].clip(lower=edge), share["bias_high"].clip(lower=edge), colours, lw=1.2)
    above = (share["bias_low"] > 0).to_numpy() | found
    dots = share["bias"].to_numpy()
    ax.scatter(dots[above & found], heights[above & found], c=FOUND, s=9, zorder=3)
    ax.scatter(dots[above & ~found], heights[above & ~found], fc="white", ec=NOT_FOUND, s=8, lw=0.7, zorder=3)
    if relative:
        ax.axvspan(edge, EQUIVALENCE, color="0.92", lw=0, zorder=0)
    ax.set_yticks(range(len(cells))[::-1], _labels(cells))
    ax.set_xscale("log")
    ax.set_xlim(edge, most)
    log_ticks(ax.xaxis)
    ax.set_ylim(-0.7, len(cells) - 0.3)
    ax.set_xlabel("bias / norm of the exact gradient" if relative else "norm of the bias", x=1.0, ha="right")
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", lw=0.2)
    return ax


def biased(frame: pd.DataFrame) -> pd.Series:
    """Whose bias was found: the verdict, or where there is none an interval that leaves zero out."""
    return frame["verdict"].str.startswith("biased") if "verdict" in frame else frame["bias_low"] > 0


def _labels(cells: list[Cell]) -> list[str]:
    """Names, with the sizes that are not the same in all lines."""
    dims, samples = ({cell[i] for cell in cells} for i in (1, 2))
    return [
        short(cell.estimator, 24)
        + (f" D={cell.latent_dim}" if len(dims) > 1 else "")
        + (f" S={cell.num_samples}" if len(samples) > 1 else "")
        for cell in cells
    ]


def forest_figures(part: Part) -> list[Drawn]:
    """Bias of every cell, a panel a group; absolute where the exact gradient is lost in its own noise.

    Drawn wherever a bias was measured. Beyond 40 lines only over all parameters; beyond 60 one an estimator.
    """
    rows = part.rows[part.rows["bias"].notna()]
    if rows.empty:
        return []
    relative = bool(has_norm(rows).all())
    groups = {name: rows.loc[rows.index.intersection(group.index)] for name, group in part.groups.items()}
    groups = {name: group for name, group in groups.items() if len(group)}
    less = ""
    if sum(map(len, groups.values())) > LINES:
        name = list(groups)[-1] if "all" not in groups else "all"
        less = " Over all parameters." if len(groups) > 1 else ""
        groups = {name: groups[name]}
    ((name, whole),) = list(groups.items())[-1:]
    if len(groups) == 1 and len(whole) > MOST:
        order = shares(whole, relative).sort_values(["bias", "bias_high"]).index
        groups = {name: whole.loc[order].drop_duplicates("estimator", keep="last")}
        less += " Of each estimator, the cell with the largest bias."
    return [_drawn(part, groups, relative, less)]


def _drawn(part: Part, groups: dict[str, pd.DataFrame], relative: bool, less: str) -> Drawn:
    every = pd.concat(groups.values())
    found = {Cell(*cell) for cell in zip(every["estimator"], every["latent_dim"], every["num_samples"], strict=True)}
    cells = sorted(found, key=lambda cell: (part.names.index(cell.estimator), *cell[1:]))
    figure, axes = panels(len(groups))
    for ax, (name, rows) in zip(axes, groups.items(), strict=True):
        bias(rows, ax, cells, relative, limits(shares(every, relative), relative))
        if len(groups) > 1:
            ax.set_title(name)
        if ax is not axes[-1]:
            ax.set_xlabel("")
            ax.tick_params(axis="x", labelbottom=False)
    kinds = biased(every)
    dots = [Line2D([], [], color=FOUND, marker="o", ms=3, lw=1.2, label="bias found")] if kinds.any() else []
    if not kinds.all():
        dots.append(Line2D([], [], color=NOT_FOUND, marker="o", ms=3, mfc="white", lw=1.2, label="bias not found"))
    zone = [Line2D([], [], color="0.88", lw=5, label=f"within {100 * EQUIVALENCE:g} %")] if relative else []
    legend_below(axes[-1], dots + zone)
    same = [f"{symbol} = {cells[0][i]}" for i, symbol in ((1, "D"), (2, "S")) if len({cell[i] for cell in cells}) == 1]
    sizes = f" {', '.join(same)}." if same else ""
    bounds = f" Shaded: within {100 * EQUIVALENCE:g} % of the gradient's norm." if relative else ""
    caption = (
        f"Bias: {part.about}, {replicates(every)}.{sizes}{less} Lines are 95 % intervals; one that reaches the left "
        f"edge holds zero.{bounds} Bias counts as found at a false discovery rate of 1 %."
    )
    return Drawn(f"bias-{part.suffix}", caption, fitted(figure, [0.1 + LINE * len(cells)] * len(axes)))
