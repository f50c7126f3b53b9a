"""The distribution of the squared deviations, whose mean is the variance, with its tail."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy import stats

from benchmarks.plots.part import Drawn, Part, replicates
from benchmarks.plots.style import NAMED, Looks, fitted, legend_below, log_ticks, panels, short
from benchmarks.verdicts import drawable

HEIGHT = 2.0
LEAST = 0.01
REFERENCE = "Gaussian, one coordinate"


def survival(counts: list[list[float]], replicates: float) -> tuple[np.ndarray, np.ndarray]:
    """(d, share of squared deviations of d or more), at each edge 2^(k/2) of the bins counted.

    counts: [k, how many have 2^(k/2) <= d < 2^((k+1)/2)].
    """
    ordered = np.array(sorted(counts), dtype=float)
    steps = np.arange(ordered[0, 0], ordered[-1, 0] + 1)
    full = np.zeros(len(steps))
    full[(ordered[:, 0] - steps[0]).astype(int)] = ordered[:, 1]
    return 2 ** (steps / 2), full[::-1].cumsum()[::-1] / replicates


def tail(frame: pd.DataFrame, ax: Axes, looks: Looks) -> Axes:
    """P(squared deviation / variance > x), one line an estimator; its tail's shape k in the legend.

    frame: one row an estimator, with deviation_counts, replicates, variance and tail. Dotted: one Gaussian coordinate.
    """
    largest, least = 10.0, 1.0
    for name in looks:
        row = frame[frame["estimator"] == name].iloc[0]
        d, share = survival(row["deviation_counts"], row["replicates"])
        x = d / row["variance"]
        index = f": k = {round(row['tail'], 2) + 0.0:.2f}".replace("-", "−") if np.isfinite(row["tail"]) else ""
        ax.plot(x, share, label=short(name, 24) + index, **looks[name] | {"ms": 2.2}, markevery=(len(x) - 1, len(x)))
        largest, least = max(largest, x[-1]), min(least, share[-1])
    ax.set(xscale="log", yscale="log", xlim=(LEAST, 2 * largest), ylim=(least / 2, 1.5))
    grid = np.geomspace(LEAST, 2 * largest, 200)
    ax.plot(grid, stats.chi2.sf(grid, 1), color="black", lw=0.8, ls=":", label=REFERENCE)
    ax.set(xlabel="$x$ = squared deviation / variance", ylabel="share of replicates above $x$")
    log_ticks(ax.xaxis)
    log_ticks(ax.yaxis)
    legend_below(ax)
    return ax


def tail_figures(part: Part) -> list[Drawn]:
    """Squared deviations over all parameters at the largest latent_dim and the fewest samples, heaviest tails first.

    Drawn where the results have counts of them; ten estimators at most.
    """
    whole = part.whole
    if "deviation_counts" not in whole:
        return []
    fine = whole["deviation_counts"].map(lambda counts: np.ndim(counts) > 0 and len(counts) > 0).astype(bool)
    rows = whole[fine & drawable(whole, "variance") & ~whole["estimator"].isin(part.noiseless)]
    if rows.empty:
        return []
    dim = rows["latent_dim"].max()
    counts = rows[rows["latent_dim"] == dim].groupby("num_samples")["estimator"].nunique()
    samples = min(counts.index[counts == counts.max()])
    rows = rows[(rows["latent_dim"] == dim) & (rows["num_samples"] == samples)]
    order = rows.assign(tail=rows["tail"].astype(float)).sort_values(["tail", "estimator"], ascending=[False, True])
    names = [str(name) for name in order["estimator"][:NAMED]]
    chosen = rows[rows["estimator"].isin(names)]
    figure, (ax,) = panels(1)
    tail(chosen, ax, {name: part.looks(names)[name] for name in names})
    more = f" The {len(names)} with the heaviest tails of {len(rows)}." if len(rows) > len(names) else ""
    caption = (
        "Distribution of the squared deviations of one estimate from its mean (their mean is the variance): "
        f"{part.about}, D = {dim}, S = {samples}, {replicates(chosen)}.{more} k is the shape of a generalised Pareto "
        "tail as far as it was seen: the larger, the heavier; values in lumps, and tails that grow lighter further "
        "out, look heavy too: the table's status says what is concluded. Dotted: the square of one standard normal."
    )
    return [Drawn(f"tails-{part.suffix}", caption, fitted(figure, [HEIGHT]))]
