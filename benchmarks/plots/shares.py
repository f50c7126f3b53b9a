"""The figures of a speed run: shares of the rate at which normals are drawn, other libraries, and the roofline."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.plots.style import COLUMN, PALETTE, applied, frozen, legend_below, log_ticks

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
    ax.set_xlabel("share of drawing as many normals")
    ax.legend(loc="lower center", bbox_to_anchor=(0.4, 1), ncols=2)


def _others(ax: Axes, others: pd.DataFrame, names: list[str]) -> None:
    for kind, colour, marker in (("score", PALETTE[0], "o"), ("reparam", PALETTE[1], "s")):
        own = others[others["name"].str.startswith(f"{kind}: ")]
        places = [-names.index(name.partition(": ")[2]) for name in own["name"]]
        ax.plot(own["value"], places, ls="", marker=marker, ms=4, color=colour, clip_on=False)
    D, S = others[["D", "S"]].iloc[0]
    ax.set_xscale("log")
    ax.set_yticks([-i for i in range(len(names))], names)
    ax.set_xlabel(f"estimates a second, $D$ = {D:g}, $S$ = {S:g}")


def roofline(frame: pd.DataFrame) -> Figure:
    """Numbers a second against the bytes that each moves; the line is what the speed of a copy allows."""
    rows = frame[frame["section"] == "roofline"].set_index("name")
    bandwidth = float((rows["value"] * rows["bytes"])["copy"])
    with applied():
        figure = Figure(figsize=(COLUMN, 0.75 * COLUMN))
        FigureCanvasAgg(figure)
        ax = figure.subplots()
        x = np.geomspace(0.8 * rows["bytes"].min(), 1.3 * rows["bytes"].max(), 2)
        ax.plot(x, bandwidth / x, color="0.3", lw=0.8, label=f"{bandwidth / 1e12:.2g} TB/s, as a copy has")
        ax.plot(rows.loc[["randn"], "bytes"], rows.loc[["randn"], "value"], "k*", ms=6, label="randn, the floor")
        for name, (colour, marker, face) in LOOKS.items():
            ax.plot(
                rows.loc[[name], "bytes"],
                rows.loc[[name], "value"],
                ls="",
                marker=marker,
                ms=5,
                mec=colour,
                mfc=face,
                label=name,
            )
        ax.set(xscale="log", yscale="log", xlabel="bytes that each number moves", ylabel="numbers a second")
        log_ticks(ax.xaxis)
        log_ticks(ax.yaxis)
        legend_below(ax)
        return frozen(figure)
