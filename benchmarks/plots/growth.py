"""Variance, and what it costs, against the latent dimension and the number of samples."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from benchmarks import comparisons
from benchmarks.plots.part import Drawn, Part, listed, replicates
from benchmarks.plots.style import (
    GREY,
    LABELS,
    NAMED,
    SYMBOLS,
    Looks,
    fitted,
    legend_below,
    log_ticks,
    natural,
    panels,
    short,
    size_ticks,
)
from benchmarks.verdicts import drawable, unbiased

HEIGHT = 1.55
COSTS = ("seconds", "evaluations", "peak_memory")
EQUAL = {"work_variance": "at equal evaluations", "variance_time": "at equal time"}
TIME = "Time is a multiple of drawing the noise of one latent coordinate in the same seconds."
BANDS = "Bands are 95 % intervals"
Draws = dict[str, Callable[[Axes], Axes]]


def scaling(
    frame: pd.DataFrame, ax: Axes, looks: Looks, x: str, y: str, slopes: bool = True, legend: bool = True
) -> Axes:
    """y against x on log axes, one line an estimator, 95 % intervals as a band, its exponent and theirs in the legend.

    frame: one row an estimator and x, with columns y, y_low and y_high. Estimators without a look are thin and grey.
    """
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    fine = drawable(frame, y)
    for name in sorted(set(frame["estimator"]), key=natural):
        rows = frame[frame["estimator"] == name].sort_values(x)
        if name in looks:
            _line(rows, ax, looks[name], x, y, fine[rows.index], slopes)
        else:
            ax.plot(rows[x], rows[y].where(fine[rows.index]), color=GREY, lw=0.5, zorder=1)
    size_ticks(ax, frame[x])
    if fine.any():
        _limits(frame[fine], ax, y)
    log_ticks(ax.yaxis)
    ax.set(xlabel=LABELS[x], ylabel=LABELS[y])
    if legend:
        legend_below(ax, title=f"estimator: exponent of {SYMBOLS[x]}" if slopes else None)
    return ax


def _line(rows: pd.DataFrame, ax: Axes, look: dict[str, Any], x: str, y: str, fine: pd.Series, slopes: bool) -> None:
    """One estimator's line and band; hollow on the lower edge, where what it has is nothing beside the others."""
    name = str(rows["estimator"].iloc[0])
    nothing = ~fine & np.isfinite(rows[y].astype(float))
    if nothing.any():
        at = rows.loc[nothing, x]
        hollow = {
            "ls": "",
            "marker": look["marker"],
            "ms": look["ms"],
            "mec": look["color"],
            "mfc": "white",
            "mew": 0.7,
        }
        label = f"{short(name)} (0 within rounding)" if not fine.any() else None
        ax.plot(at, 0 * at, transform=ax.get_xaxis_transform(), clip_on=False, zorder=3, label=label, **hollow)
    if fine.any():
        part = rows[fine]
        low, high = (part.get(f"{y}{end}", part[y]).astype(float) for end in ("_low", "_high"))
        label = _label(name, part, x, y, low, high) if slopes else short(name)
        ax.plot(
            part[x], part[y], label=label, zorder=3 - look["ms"] / 10, **look
        )  # the small on the large, if they coincide
        ax.fill_between(part[x], low, high, color=look["color"], alpha=0.25, lw=0)


def _limits(rows: pd.DataFrame, ax: Axes, y: str) -> None:
    """All values and their intervals, but of an endless one no more than a factor of 5; a decade at least."""
    values = rows[y].astype(float)
    low, high = (rows.get(f"{y}{end}", values).astype(float) for end in ("_low", "_high"))
    least = np.log10(max(values.min() / 5, low.where(low > 0, values / 5).min()))
    most = np.log10(min(values.max() * 5, high.max() if high.notna().any() else np.inf))
    margin = max(0.05 * (most - least), (1 - (most - least)) / 2)  # below a decade, noise looks like a trend
    ax.set_ylim(10 ** (least - margin), 10 ** (most + margin))


def _label(name: str, rows: pd.DataFrame, x: str, y: str, low: pd.Series, high: pd.Series) -> str:
    """A name and the exponent that its line has, with the 95 % interval's half-width."""
    exponent, least, most = comparisons.slope(rows[x], rows[y], low, high)
    error = max(most - exponent, exponent - least)
    if not np.isfinite(exponent):
        return short(name)
    return f"{short(name)}: {exponent + 0.0:.2f}".replace("-", "−") + (f" ± {error:.2g}" if error >= 0.005 else "")


def held(part: Part, x: str, other: str) -> int | None:
    """The value of the other size at which most estimators have rows; None if there x has one value alone.

    The fewest samples, or the most dimensions, of those.
    """
    whole = part.whole
    present = {size: len(set(whole.loc[whole[other] == size, "estimator"])) for size in sorted(set(whole[other]))}
    best = [size for size, count in present.items() if count == max(present.values())]
    value = min(best) if other == "num_samples" else max(best)
    return int(value) if len(set(whole.loc[whole[other] == value, x])) >= 2 else None


def _held(part: Part, rows: pd.DataFrame, other: str, value: int) -> pd.DataFrame:
    """The rows at one value of the other size, of the estimators that have noise."""
    return rows[(rows[other] == value) & ~rows["estimator"].isin(part.noiseless)]


def chosen(rows: pd.DataFrame, x: str) -> list[str]:
    """The ten estimators that keep their colours: of least variance at the largest x.

    Those with a bias, or whose variance has no interval away from zero, come last."""
    rows = rows[drawable(rows, "variance")]
    doubtful = ~unbiased(rows) | ~(rows["variance_low"] > 0)
    order = rows.assign(doubtful=doubtful).sort_values([x, "doubtful", "variance"], ascending=[False, True, True])
    return [str(name) for name in order["estimator"].drop_duplicates()[:NAMED]]


def growth_figures(part: Part) -> list[Drawn]:
    """Variance by group, variance at equal cost, and cost, against each size that has two values or more."""
    made = []
    for x, other in (("latent_dim", "num_samples"), ("num_samples", "latent_dim")):
        value = held(part, x, other)
        if value is None:
            continue
        at = {name: _held(part, rows, other, value) for name, rows in part.groups.items()}
        whole = _held(part, part.whole, other, value)
        looks = part.looks(chosen(whole, x))
        said = _said(part, whole, looks, f"{part.about}, {SYMBOLS[other].strip('$')} = {value}")
        groups = {name: rows for name, rows in at.items() if drawable(rows, "variance").any()}
        if groups:
            draws: Draws = {
                name: partial(scaling, rows, looks=looks, x=x, y="variance") for name, rows in groups.items()
            }
            text = f"Total variance of one estimate, by parameter group: {said} {BANDS}"
            text += "; the exponent is the fitted slope, with its own."
            made.append(_stack(f"variance-{x}-{part.suffix}", text, draws))
        made += _costs(part, whole, looks, x, said)
    return made


def _costs(part: Part, whole: pd.DataFrame, looks: Looks, x: str, said: str) -> list[Drawn]:
    """The figures of variance at equal cost and of cost; of calls of f only where they differ."""
    made = []
    equal = [y for y in EQUAL if drawable(whole, y).any()]
    if equal:
        draws: Draws = {EQUAL[y]: partial(scaling, whole, looks=looks, x=x, y=y) for y in equal}
        text = f"Variance × calls of f, and variance × time, of one estimate (less is better): {said} {TIME}"
        made.append(_stack(f"equal-{x}-{part.suffix}", f"{text} {BANDS}; the exponent is the fitted slope.", draws))
    costs = [y for y in COSTS if y in whole and drawable(whole, y).any()]
    costs = [y for y in costs if y != "evaluations" or len(set(whole[y])) > 1]
    if costs:
        draws = {y: partial(scaling, whole, looks=looks, x=x, y=y, slopes=False, legend=y == costs[-1]) for y in costs}
        text = f"What an estimate costs: {said} Seconds are medians, in a full chunk of replicates. {BANDS}."
        made.append(_stack(f"cost-{x}-{part.suffix}", text, draws, titled=False))
    return made


def _said(part: Part, whole: pd.DataFrame, looks: Looks, held: str) -> str:
    """What is held fixed, how many replicates there are, who is missing, and who is grey."""
    fine = drawable(whole, "variance")
    drawn = set(whole.loc[fine, "estimator"])
    missing = set(part.names) - drawn
    absent = f" Not shown, for want of a variance above zero: {listed(missing)}." if missing else ""
    grey = len(drawn - set(looks))
    others = f" Grey: {grey} more, those with more variance (or a bias found)." if grey else ""
    nothing = np.isfinite(whole["variance"].astype(float)) & ~fine & whole["estimator"].isin(looks)
    hollow = " Hollow, on the edge: zero within rounding, or below 1e-10 of the largest." if nothing.any() else ""
    return f"{held}, {replicates(whole)}.{absent}{others}{hollow}"


def _stack(name: str, caption: str, draws: Draws, titled: bool = True) -> Drawn:
    """Panels one below the other."""
    figure, axes = panels(len(draws))
    for ax, (title, draw) in zip(axes, draws.items(), strict=True):
        draw(ax)
        if titled and len(draws) > 1:
            ax.set_title(title)
    return Drawn(name, caption, fitted(figure, [HEIGHT] * len(axes)))
