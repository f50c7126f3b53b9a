"""Whether an estimator takes longer than it did: log ratios of seconds, one a cell, pooled by estimator."""

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks import store
from benchmarks.comparisons import SIDES
from benchmarks.gate.regressions import TIME_SHARE, findings, spelled
from benchmarks.intervals import LEVEL, Array

SLOWER = 0.10
BETWEEN = 0.03
DEGREES = 10
LOOKS, VISITS = 3, 3
FEWEST = 12
PRIOR, PRIOR_BESIDE = 0.3, 0.05
EFFICIENCY = np.pi / 2
MAD = 1.4826
POWER = 0.9


def shifts_of(pairs: pd.DataFrame) -> pd.DataFrame:
    """Log ratios of `relative_seconds`, multiples of drawing as many normals in the same run: a row a cell."""
    cells = pairs[(pairs["group"] == "all") & np.all([pairs["relative_seconds" + s] > 0 for s in SIDES], axis=0)]
    now, before = (cells["relative_seconds" + s] for s in SIDES)
    return cells.assign(shift=np.log(now / before), seconds=now, seconds_against=before)


def shifts_of_turns(turns: pd.DataFrame) -> pd.DataFrame:
    """Log ratios of the seconds of turns side by side (`lockstep.timed`): the median over the turns, a row a cell."""
    seconds = [[np.array(own, dtype=float) for own in turns["seconds" + s]] for s in SIDES]
    medians = {"seconds" + s: [float(np.median(own)) for own in side] for s, side in zip(SIDES, seconds, strict=True)}
    shift = [float(np.median(np.log(now / before))) for now, before in zip(*seconds, strict=True)]
    return turns.assign(group="all", shift=shift, **medians)


def suspects(shifts: pd.DataFrame) -> set[str]:
    """Estimators that seem slower or faster by more than 10 %, side by side: worth another look."""
    middle = _middle(shifts, common=True)
    middles = shifts.groupby("estimator")["shift"].median() - middle
    return set(middles.index[middles.abs() > np.log1p(SLOWER)])


def _middle(shifts: pd.DataFrame, common: bool) -> float:
    """The shift that estimators are compared with: that of all, or, side by side, none where they are too few."""
    return 0.0 if common and len(shifts) < FEWEST else float(shifts["shift"].median())


def slowdowns(shifts: pd.DataFrame, common: bool, false_alarms: float = 0.01) -> tuple[pd.DataFrame, str]:
    """Each estimator's time over all its cells, relative to that of all; and what could have been found, in a line.

    A cell's ratio scatters between two runs by far more than its interval in either says (README), so the scatter is
    taken from all cells of the comparison: 1.48 times the median distance from their median, which an estimator that
    did change does not move. An estimator's ratio is the median over its cells; its squared error is the cells'
    pi/2 x scatter² / count and what they share (3 %, as measured: where code lies in memory). The quantiles are
    Student's with 10 degrees of freedom, for bursts of a busy machine. With fewer than 12 cells the scatter is at least
    0.3, that of folders measured on a machine with twice as much to do as it has cores, or 0.05 side by side.

    What was suspected in a first run (`run` 0) and timed again is judged by the later runs alone: they had no part in
    choosing it. Worse is what is significantly slower and slower by more than 10 %.

    common: whether both sides met the machine in one state, so that the shift of all cells is tested too. What each
    estimator is compared with is that shift, or none where fewer than 12 cells are to tell it.
    """
    if shifts.empty:
        return findings(shifts.reindex(columns=[*store.CELL, "group"]), "time"), "No times to compare."
    shifts = shifts.assign(run=shifts.get("run", 0))
    first = shifts[shifts["run"] == 0]
    middle = _middle(first, common)
    scatter = MAD * float((first["shift"] - first["shift"].median()).abs().median())
    if len(first) < FEWEST:
        scatter = max(scatter, PRIOR_BESIDE if common else PRIOR)
    groups = [own for _, own in shifts.groupby("estimator", sort=False)]
    table = pd.DataFrame([_pooled(own[own["run"] > 0] if own["run"].any() else own, middle, scatter) for own in groups])
    tables = [_tested(table, "time")]
    if common:
        names = dict.fromkeys(("estimator", "problem", "point", "latent_dim", "num_samples"), "all")
        tables.append(_tested(pd.DataFrame([_pooled(first, 0.0, scatter) | names]), "time, of all"))
    quantile = stats.t.isf(TIME_SHARE * false_alarms / len(table), DEGREES) + stats.norm.ppf(POWER)
    looks, visits = (LOOKS, VISITS) if common else (1, 1)
    error = _error(scatter, int(first["estimator"].value_counts().median()) * looks * visits, looks)
    least = max(np.exp(error * quantile) - 1, SLOWER)
    times = f"{np.exp(first['shift'].median()):.3g} times the baseline's{'' if common else ' (not tested)'}"
    line = (
        f"cells scatter by {100 * scatter:.2g} %. One estimator slower by {100 * least:.2g} % is found 9 times in 10."
    )
    return pd.concat(tables, ignore_index=True), f"Times of all cells: {times}; {line}"


def _pooled(own: pd.DataFrame, middle: float, scatter: float) -> dict[str, object]:
    """Where some cells are, the median of their log ratios beyond the middle, its error, and their mean seconds."""
    listed = {name: ", ".join(dict.fromkeys(own[name])) for name in ("problem", "point")}
    sizes = {name: spelled(own[name]) for name in ("latent_dim", "num_samples")}
    return {
        "estimator": own["estimator"].iloc[0],
        **listed,
        **sizes,
        "group": "all",
        "shift": own["shift"].median() - middle,
        "error": _error(scatter, len(own), own["run"].nunique()),
        **{column: np.exp(np.log(own[column]).mean()) for column in ("seconds", "seconds_against")},
    }


def _error(scatter: float, cells: int, runs: int) -> float:
    """Standard error of the median over cells, whose scatter is known, of so many runs."""
    return float(np.sqrt(EFFICIENCY * scatter**2 / cells + BETWEEN**2 / runs))


def _tested(table: pd.DataFrame, what: str) -> pd.DataFrame:
    """Intervals and one-sided p-values of log ratios; 1 for what is within 10 %."""
    shift, error = table["shift"].to_numpy(), table["error"].to_numpy()
    half = stats.t.ppf((1 + LEVEL) / 2, DEGREES) * error

    def p(sign: int) -> Array:
        return np.where(sign * shift > np.log1p(SLOWER), stats.t.sf(sign * shift / error, DEGREES), 1.0)

    return findings(
        table,
        what,
        baseline=table["seconds_against"],
        candidate=table["seconds"],
        ratio=np.exp(shift),
        ratio_low=np.exp(shift - half),
        ratio_high=np.exp(shift + half),
        worse=p(1),
        better=p(-1),
    )
