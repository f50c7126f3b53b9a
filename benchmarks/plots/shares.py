"""The figure of a speed run: estimates as shares of the rate at which normals are drawn, and other libraries."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.plots.style import COLUMN, PALETTE, applied, frozen

LINE, AROUND = 0.17, 0.75
LOOKS = {
    "score, eager": (PALETTE[0], "o", "none"),
    "score, compiled": (PALETTE[0], "o", PALETTE[0]),
    "reparam, eager": (PALETTE[1], "s", "none"),
    "reparam, compiled": (PALETTE[1], "s", PALETTE[1]),
}


def speeds(frame: pd.DataFrame) -> Figure:
    """Above: the share of the floor of each job, eager (hollow) and compiled; below: other libraries, if any."""
    shares = frame[(frame["section"] == "throughput") & (frame["unit"] == "of the floor")]
    others = frame[(frame["section"] == "others") & (frame["unit"] == "estimates a second")]
    jobs = list(dict.fromkeys(zip(shares["D"], shares["S"], strict=True)))
    names = list(dict.fromkeys(name.partition(": ")[2] for name in others["name"]))
    heights = [LINE * len(part) + AROUND for part in (jobs, names) if part]
    with applied():
        figure = Figure(figsize=(COLUMN, sum(heights)))
        FigureCanvasAgg(figure)
        axes = list(figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights).flat)
        _jobs(axes[0], shares, jobs)
        if names:
            _others(axes[1], others, names)
        return frozen(figure)


def _jobs(ax: Axes, shares: pd.DataFrame, jobs: list[tuple[float, float]]) -> None:
    for name, (colour, marker, face) in LOOKS.items():
        own = shares[shares["name"] == name]
        places = [-jobs.index(job) for job in zip(own["D"], own["S"], strict=True)]
        ax.hlines(places, own["low"], own["high"], colour, lw=1)
        ax.plot(own["value"], places, ls="", marker=marker, ms=4, mec=colour, mfc=face, label=name, clip_on=False)
    ax.axvline(1, color="0.3", lw=0.8, ls="--")
    ax.set_yticks([-i for i in range(len(jobs))], [f"$D$ = {D:g}, $S$ = {S:g}" for D, S in jobs])
    ax.set_xlim(0, max(1.05, 1.1 * float(shares.loc[shares["name"] != "floor", "high"].max())))
    ax.set_xlabel("estimates, as a share of the floor (drawing as many normals)")
    ax.legend(loc="lower center", bbox_to_anchor=(0.4, 1), ncols=2)


def _others(ax: Axes, others: pd.DataFrame, names: list[str]) -> None:
    for kind, colour, marker in (("score", PALETTE[0], "o"), ("reparam", PALETTE[1], "s")):
        own = others[others["name"].str.startswith(f"{kind}: ")]
        places = [-names.index(name.partition(": ")[2]) for name in own["name"]]
        ax.plot(own["value"], places, ls="", marker=marker, ms=4, color=colour, clip_on=False)
    D, S = others[["D", "S"]].iloc[0]
    ax.set_xscale("log")
    ax.set_yticks([-i for i in range(len(names))], names)
    ax.set_xlabel(f"estimates a second, $D$ = {D:g}, $S$ = {S:g}, one core")
