"""Figures of a results frame, for print at 8 cm. Each function draws on Axes that it is given, and returns them."""

from collections.abc import Collection, Iterator

import pandas as pd
from matplotlib.figure import Figure

from benchmarks import store
from benchmarks.plots.calibrated import calibration
from benchmarks.plots.flips import flip_figures
from benchmarks.plots.forest import forest_figures
from benchmarks.plots.fronts import front_figures
from benchmarks.plots.growth import growth_figures, scaling
from benchmarks.plots.part import Part, Ties, suffix, with_time
from benchmarks.plots.shares import roofline, speeds
from benchmarks.plots.style import (
    COLUMN,
    LABELS,
    PAGE,
    SYMBOLS,
    Looks,
    applied,
    fitted,
    log_ticks,
    looks_of,
    save,
    short,
)
from benchmarks.plots.tails import tail_figures
from benchmarks.plots.winners import winner_figures
from benchmarks.store import SETTING
from benchmarks.verdicts import without_noise

__all__ = [
    "COLUMN",
    "LABELS",
    "PAGE",
    "SETTING",
    "SYMBOLS",
    "Looks",
    "applied",
    "calibration",
    "figures",
    "fitted",
    "log_ticks",
    "looks_of",
    "roofline",
    "save",
    "scaling",
    "short",
    "speeds",
]


def figures(
    frame: pd.DataFrame, without: Collection[str] = (), pairs: pd.DataFrame | None = None
) -> Iterator[tuple[str, str, Figure]]:
    """(name, caption, figure) of each figure that the frame has data for.

    without: problems that are not drawn. pairs: what `benchmarks.comparisons.compare` says of the frame, if known.
    """
    ties = Ties(frame, pairs)
    frame = frame[frame["status"].isin(store.MEASURED)]
    looks = looks_of(frame["estimator"])
    frame = with_time(frame[~frame["problem"].isin(without)])
    if frame.empty:
        return
    held = [name for name in SETTING if name != "point"]
    for _, problem in frame.groupby(held):
        parts = []
        noiseless = without_noise(problem)
        for setting, rows in problem.groupby(SETTING):
            where = dict(zip(SETTING, setting, strict=True))
            about = (
                f"{where['problem']} at {where['point']} ({where['dtype']}, {where['device']}, seed {where['seed']})"
            )
            parts.append(Part(rows, about, suffix(setting), looks, noiseless, ties))
        with applied():
            made = flip_figures(parts)
        yield from made
        for part in parts:
            for draw in (winner_figures, front_figures, growth_figures, forest_figures, tail_figures):
                with applied():
                    made = draw(part)
                yield from made
