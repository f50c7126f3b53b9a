"""Whether an estimator takes longer than it did: log ratios of seconds, one a cell, pooled by estimator."""

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks import store
from benchmarks.comparisons import SIDES
from benchmarks.gate.noise import Noise, beyond_errors
from benchmarks.gate.regressions import TIME_SHARE, findings, spelled
from benchmarks.intervals import LEVEL, Array

SLOWER = 0.10
SHARED, SHARED_BESIDE = 0.01, 0.03
DEGREES, CELL_DEGREES = 7, 3
LOOKS, VISITS = 3, 3
FEWEST, FEWEST_OTHERS = 12, 5
MOST = 10
PRIOR, PRIOR_BESIDE = 0.3, 0.05
TRIMMED, TRIMMED_COST = 0.25, 1.2
CLIPPED_EFFICIENCY = 0.8
Located = dict[str, Any]


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
    if shifts.empty:
        return set()
    located = _each(shifts.assign(run=0), _scatter(shifts, common=True))
    held = zip(located, _held(list(located.values()), located, common=True), strict=True)
    return {name for name, (shift, _) in held if abs(shift) > np.log1p(SLOWER)}


def slowdowns(shifts: pd.DataFrame, common: bool, false_alarms: float = 0.01) -> tuple[pd.DataFrame, str]:
    """Each estimator's time over all its cells, relative to that of the others; and what could be found, in a line.

    A cell's ratio scatters between two runs by far more than its interval in either says (README), so all noise is
    taken from the comparison itself. An estimator's ratio is the mean over its cells, without the highest and lowest
    quarter. How much cells scatter is told by their distances from these means; how much an estimator's cells have in
    common in a run, by how far the means of all the *other* estimators scatter beyond that, at least by 1 %, or 3 %
    side by side (as measured: where code lies in memory). Both scatters are those of clipped squares (Huber's
    proposal 2), which what did change hardly moves. Tails are Student's, with 3 degrees a cell, and 7 for what cells
    share. With fewer than 12 cells the scatter is at least 0.3, that of folders measured on a machine with twice as
    much to do as it has cores, or 0.05 side by side.

    What was suspected in a first run (`run` 0) and timed again is judged by the later runs alone: they had no part in
    choosing it. Worse is what is significantly slower and slower by more than 10 %.

    common: whether both sides met the machine in one state, so that the shift of all cells is tested too. What each
    estimator is compared with is the median of the others; side by side, none where these are fewer than 5, so that
    one that got faster does not make another look slower.
    """
    if shifts.empty:
        return findings(shifts.reindex(columns=[*store.CELL, "group"]), "time"), "No times to compare."
    shifts = shifts.assign(run=shifts.get("run", 0))
    first = shifts[shifts["run"] == 0]
    variance = _scatter(first, common)
    located = _each(first, variance)
    judged = list((located | _each(shifts[shifts["run"] > 0], variance)).values())
    held = _held(judged, located, common)
    tables = [_tested(judged, held, "time")]
    if common:
        tables.append(_of_all(first, list(located.values()), variance))
    middle = float(np.exp(first["shift"].median()))
    said = f"Times of all cells: {middle:.3g} times the baseline's{'' if common else ' (not tested)'}; "
    return pd.concat(tables, ignore_index=True), said + _told(held, located, variance**0.5, common, false_alarms)


def _told(
    held: list[tuple[float, Noise]], located: dict[str, Located], scatter: float, common: bool, false_alarms: float
) -> str:
    """How much times scatter, what could be found, and what a time is."""
    usual = _held([_usual(located, common)], located, common)[0][1]
    least = max(np.exp(usual.detectable(TIME_SHARE * false_alarms / len(held))), 1 + SLOWER)
    shared = float(np.median([noise.shared for _, noise in held]))
    found = f"One estimator that takes {least:.3g} times as long is found 9 times in 10."
    found = found if least < MOST else f"None that takes less than {MOST} times as long would be found for certain."
    return (
        f"cells scatter by {100 * scatter:.2g} %, and what those of one estimator share by {100 * shared:.2g} %. "
        f"{found} A time is {'the seconds of a full chunk' if common else 'a multiple of drawing as many normals'}"
        f"{'' if common and len(located) <= FEWEST_OTHERS else ', its ratio relative to the other estimators'}."
    )


def _scatter(first: pd.DataFrame, common: bool) -> float:
    """The variance of cells about their estimator's mean."""
    rows = [own.to_numpy() for _, own in first.groupby("estimator")["shift"]]
    distances = np.concatenate([own - stats.trim_mean(own, TRIMMED) for own in rows])
    free = len(distances) - len(rows)
    found = beyond_errors(distances, np.zeros_like(distances), free) if free else 0.0
    return found if len(first) >= FEWEST else max(found, (PRIOR_BESIDE if common else PRIOR) ** 2)


def _usual(located: dict[str, Located], common: bool) -> Located:
    """The estimator with the median error; side by side, timed again as those are that seem slower."""
    usual = sorted(located.values(), key=lambda own: own["squared"])[len(located) // 2]
    times = LOOKS * VISITS
    again = {"squared": usual["squared"] / times, "count": usual["count"] * times, "runs": LOOKS}
    return usual | again if common else usual


def _each(shifts: pd.DataFrame, variance: float) -> dict[str, Located]:
    """Where the cells of each estimator are, see `_located`."""
    return {str(name): _located(own, variance) for name, own in shifts.groupby("estimator", sort=False)}


def _located(own: pd.DataFrame, variance: float) -> Located:
    """Where some cells are, the mean of their log ratios, its squared error, their count and mean seconds."""
    listed = {name: ", ".join(dict.fromkeys(own[name])) for name in ("problem", "point")}
    sizes = {name: spelled(own[name]) for name in ("latent_dim", "num_samples")}
    return {
        "estimator": own["estimator"].iloc[0],
        **listed,
        **sizes,
        "group": "all",
        "shift": stats.trim_mean(own["shift"], TRIMMED),
        "squared": variance / len(own) * (TRIMMED_COST if int(TRIMMED * len(own)) else 1.0),
        "count": len(own),
        "runs": own["run"].nunique(),
        **{column: np.exp(np.log(own[column]).mean()) for column in ("seconds", "seconds_against")},
    }


def _held(judged: list[Located], located: dict[str, Located], common: bool) -> list[tuple[float, Noise]]:
    """Each of some estimators held against all others, see `_against`."""
    return [_against(own, [located[n] for n in located if n != own["estimator"]], common) for own in judged]


def _against(own: Located, others: list[Located], common: bool) -> tuple[float, Noise]:
    """An estimator's shift relative to that of the others, and its noise, as they tell it."""
    values, squared = (np.array([other[name] for other in others]) for name in ("shift", "squared"))
    count, degrees = len(others), CELL_DEGREES * own["count"]
    shared = max(_shared(values, squared), (SHARED_BESIDE if common else SHARED) ** 2)
    of_run = float(np.sqrt(shared / own["runs"]))
    if count < FEWEST_OTHERS and common:
        return own["shift"], Noise(own["squared"] ** 0.5, degrees, of_run, DEGREES)
    middle = float(np.median(values)) if count else 0.0
    of_middle = np.pi / 2 * float((squared + shared).mean()) / count if count else 0.0
    told = DEGREES if common else min(DEGREES, max(CLIPPED_EFFICIENCY * count, 0.5))
    return own["shift"] - middle, Noise(float(np.sqrt(own["squared"] + of_middle)), degrees, of_run, told)


def _shared(values: Array, squared: Array) -> float:
    """The variance of estimators' means beyond their errors."""
    return beyond_errors(values - np.median(values), squared, len(values) - 1) if len(values) > 1 else 0.0


def _of_all(first: pd.DataFrame, located: list[Located], variance: float) -> pd.DataFrame:
    """The time of all cells together, side by side."""
    names = dict.fromkeys(("estimator", "problem", "point", "latent_dim", "num_samples"), "all")
    whole = _located(first, variance) | names
    shared = _shared(*(np.array([own[name] for own in located]) for name in ("shift", "squared")))
    error = float(np.sqrt(whole["squared"] + shared / len(located)))
    noise = Noise(error, CELL_DEGREES * len(first), SHARED_BESIDE, DEGREES)
    return _tested([whole], [(whole["shift"], noise)], "time, of all")


def _tested(located: list[Located], held: list[tuple[float, Noise]], what: str) -> pd.DataFrame:
    """Intervals and one-sided p-values of log ratios; 1 for what is within 10 %."""
    shifts = np.array([shift for shift, _ in held])
    half = np.array([noise.quantile((1 - LEVEL) / 2) for _, noise in held])

    def p(sign: int) -> list[float]:
        return [noise.beyond(sign * shift) if sign * shift > np.log1p(SLOWER) else 1.0 for shift, noise in held]

    return findings(
        pd.DataFrame(located),
        what,
        baseline=[own["seconds_against"] for own in located],
        candidate=[own["seconds"] for own in located],
        ratio=np.exp(shifts),
        ratio_low=np.exp(shifts - half),
        ratio_high=np.exp(shifts + half),
        worse=p(1),
        better=p(-1),
    )
