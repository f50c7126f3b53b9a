"""The rank-flip map: how the order of the estimators changes with the point at which the gradient is measured."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from benchmarks.plots.part import PLACE, Drawn, Part, best, ranked, replicates, suffix, unranked
from benchmarks.plots.style import fitted, panels, short
from benchmarks.store import SETTING
from benchmarks.verdicts import unbiased

LINE = 0.15
ROWS = 20
POINTS = ("init", "near", "trained", "optimum", "narrow", "far", "saturated")
ONE = "one estimate"


class Ranking:
    """At one latent_dim and num_samples: by estimator and point, rank, log10 of variance over the best, ties."""

    def __init__(self, parts: Sequence[Part], dim: int, samples: int) -> None:
        self.dim, self.samples = dim, samples
        ranks, logs, first, self.biased = {}, {}, {}, {}
        for part in sorted(parts, key=_place):
            whole = part.whole
            cell = whole[(whole["latent_dim"] == dim) & (whole["num_samples"] == samples)]
            values = ranked(cell, ONE, part.noiseless)
            if values.empty:
                continue
            point = str(cell["point"].iloc[0])
            held = tuple(cell[PLACE].iloc[0])
            ranks[point] = values.rank(method="min")
            least = values[values > 0].min() if (values > 0).any() else 1.0
            logs[point] = (values.clip(lower=least) / least).map(np.log10)
            first[point] = best(values, held, ONE, part.ties)
            self.biased[point] = set(cell.loc[~unbiased(cell), "estimator"])
        self.ranks, self.logs, self.first = pd.DataFrame(ranks), pd.DataFrame(logs), first

    def ordered(self) -> list[str]:
        """The estimators by mean rank; beyond 20, those that come first or tie for it somewhere, then the others."""
        mean = self.ranks.mean(axis=1)
        names = sorted(mean.index, key=lambda name: (mean[name], name))
        if len(names) <= ROWS:
            return names
        ever = {name for tied in self.first.values() for name in tied}
        best_rank = self.ranks.min(axis=1)
        kept = sorted(names, key=lambda name: (name not in ever, best_rank[name], mean[name], name))[:ROWS]
        return [name for name in names if name in kept]

    def text(self, name: str, point: str) -> str:
        """The rank, with = where it is tied with the first; or that it is biased."""
        if name in self.biased[point]:
            return "biased"
        tied = name in self.first[point] and len(self.first[point]) > 1
        rank = float(self.ranks[point][name])
        return "" if np.isnan(rank) else f"{rank:.0f}{'=' if tied else ''}"


def _place(part: Part) -> tuple[int, str]:
    """Points in the order of a training, others after them."""
    point = str(part.whole["point"].iloc[0])
    return POINTS.index(point) if point in POINTS else len(POINTS), point


def flip_map(ranking: Ranking, ax: Axes) -> Axes:
    """A row an estimator, a column a point: coloured by log10 of variance over the best one's, numbered by rank.

    The first is framed, and so are those that are not distinguishable from it, with = after the rank.
    """
    names, points = ranking.ordered(), [str(point) for point in ranking.ranks]
    logs = ranking.logs.loc[names].to_numpy(dtype=float)
    texts = np.array([[ranking.text(name, point) for point in points] for name in names])
    most = max(float(np.nanmax(logs)), 0.5)
    bar = {"orientation": "horizontal", "label": "log10 of variance / the best one's", "aspect": 40, "pad": 0.02}
    ax.set_facecolor("0.93")
    sns.heatmap(logs, ax=ax, cmap="cividis_r", vmin=0, vmax=most, annot=texts, fmt="", cbar_kws=bar, lw=0.5)
    for x, point in enumerate(points):
        for y, name in enumerate(names):
            if np.isnan(logs[y, x]):
                ax.text(x + 0.5, y + 0.5, texts[y, x], ha="center", va="center", color="0.4", fontsize=6)
            if name in ranking.first[point]:
                ax.add_patch(
                    Rectangle((x + 0.06, y + 0.06), 0.88, 0.88, fill=False, ec="#D55E00", lw=1.1, clip_on=False)
                )
    ax.set_yticks(np.arange(len(names)) + 0.5, [short(name, 24) for name in names], rotation=0)
    ax.set_xticks(np.arange(len(points)) + 0.5, points, rotation=0)
    ax.tick_params(length=0)
    ax.set(xlabel="", ylabel="")
    return ax


def flip_figures(parts: Sequence[Part]) -> list[Drawn]:
    """Ranks over the points of one problem, at its smallest and its largest latent_dim.

    Drawn where two estimators or more can be ranked at two points or more. parts: one a point.
    """
    if len(parts) < 2:
        return []
    counts = pd.concat([part.whole for part in parts]).groupby(["latent_dim", "num_samples"])["estimator"].count()
    dims = sorted(set(counts.index.get_level_values(0)))
    rankings = []
    for dim in dict.fromkeys([dims[0], dims[-1]]):
        at = counts[dim]
        ranking = Ranking(parts, int(dim), int(min(at.index[at == at.max()])))
        if (ranking.ranks.count() >= 2).sum() >= 2:
            rankings.append(ranking)
    if not rankings:
        return []
    figure, axes = panels(len(rankings))
    for ax, ranking in zip(axes, rankings, strict=True):
        flip_map(ranking, ax)
        ax.set_title(f"D = {ranking.dim}, S = {ranking.samples}")
    for bar in figure.axes[len(axes) :]:
        bar.xaxis.label.set_fontsize(6.5)
    heights = [LINE * len(ranking.ordered()) + 0.1 for ranking in rankings]
    fitted(figure, heights + [0.07] * len(rankings))
    first = parts[0].whole.iloc[0]
    name = suffix(first[column] for column in SETTING if column != "point")
    return [Drawn(f"flips-{name}", _caption(parts, rankings), figure)]


def _caption(parts: Sequence[Part], rankings: list[Ranking]) -> str:
    rows = pd.concat([part.whole for part in parts])
    first = rows.iloc[0]
    about = f"{first['problem']} ({first['dtype']}, {first['device']}, seed {first['seed']})"
    left = max(len(ranking.ranks) - len(ranking.ordered()) for ranking in rankings)
    return (
        f"Ranks by variance of one estimate over all parameters, at each point: {about}, {replicates(rows)}. Among "
        "those whose bias was tested and not found there. Framed: the first; with =, those not distinguishable from "
        "it, at a false discovery rate of 1 %. Rows are in order of mean rank."
        + (f" {left} that are first nowhere are left out." if left else "")
        + unranked(rows, parts[0].noiseless)
    )
