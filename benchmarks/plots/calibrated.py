"""The figure of a calibration: how often intervals cover and tests reject."""

import math

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.plots.style import COLUMN, PALETTE, applied, frozen

LINE, AROUND, LEGEND = 0.065, 0.48, 0.4


def calibration(frame: pd.DataFrame) -> Figure:
    """Rates that intervals cover and tests reject, with their 95 % intervals; dashed: claimed, grey: allowed.

    One panel a claim, in it one line a case and group, in the order of the table; colours are cases.
    """
    claims = list(dict.fromkeys(frame["claim"]))
    names = list(dict.fromkeys(zip(frame["case"], frame["group"], strict=True)))
    colours = dict(zip(dict.fromkeys(frame["case"]), PALETTE, strict=False))
    across = min(len(claims), 2)
    down = math.ceil(len(claims) / across)
    with applied():
        figure = Figure(figsize=(COLUMN, (LINE * len(names) + AROUND) * down + LEGEND))
        FigureCanvasAgg(figure)
        axes = list(figure.subplots(down, across, sharey=True, squeeze=False).flat)
        for ax in axes[len(claims) :]:
            ax.remove()
        for ax, claim in zip(axes, claims, strict=False):
            part = frame[frame["claim"] == claim]
            heights = [len(names) - names.index(name) for name in zip(part["case"], part["group"], strict=True)]
            hues = [colours[case] for case in part["case"]]
            claimed, bound = part[["claimed", "bound"]].iloc[0]
            ends = (0.0, bound) if claimed < 0.5 else (bound, 1.0)
            ax.axvspan(*ends, color="0.92", lw=0)
            ax.axvline(claimed, color="0.3", lw=0.8, ls="--")
            ax.hlines(heights, part["rate_low"], part["rate_high"], hues, lw=1.2)
            ax.scatter(part["rate"], heights, c=hues, s=6, clip_on=False, zorder=3)
            least, most = part["rate_low"].min(), part["rate_high"].max()
            ax.set_xlim((0, max(most, 2 * bound)) if claimed < 0.5 else (min(least, bound - 0.02), 1.0))
            ax.set_title(claim)
            ax.set_yticks([])
            ax.locator_params(axis="x", nbins=4)
        handles = [Line2D([], [], color=colour, marker="o", ms=3, label=case) for case, colour in colours.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
        for ax in axes[len(claims) - across : len(claims)]:
            ax.set_xlabel("rate")
        return frozen(figure)
