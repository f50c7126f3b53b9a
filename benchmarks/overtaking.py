"""Where one estimator's variance overtakes another's, along an option of the problem."""

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
from scipy.interpolate import CubicSpline

from benchmarks import labels, store
from benchmarks.intervals import Array

FEWEST = 4
ROUNDED = 1e3
HELD = ["problem", "option", "point", "latent_dim", "num_samples", "seed", "device", "dtype", "group"]
COLUMNS = [*HELD, "estimator_a", "estimator_b", "value", "value_low", "value_high", "below"]


def crossings(frame: pd.DataFrame) -> pd.DataFrame:
    """Where two estimators' variances cross along a numeric option of the problem that has four values or more.

    The log variances are interpolated by a cubic spline over the option, or over its logarithm where the values are
    spaced like a geometric series. The interval is where the 95 % interval of the curves' difference (Zou and Donner
    2008), interpolated alike, holds zero, widened by how far the spline moves there if either neighbouring value is
    left out. Only where measured values on both sides are certainly apart, the other way round, is it a crossing; two
    between the same values are not seen. A variance that is missing, zero within rounding, or does not exist, parts the
    curves: none is looked for across it.

    frame: what `benchmarks.report.load` returns. Returns one row a crossing: problem (its label without the option),
    option, the rest of the cell, group, estimator_a, estimator_b, value, value_low, value_high, and below: which of
    the two has less variance below it.
    """
    rows = frame[frame["status"].isin(store.MEASURED)]
    found = []
    for column, part in _sweeps(rows):
        held = part[HELD].iloc[0].to_dict()
        found += [held | pair for pair in _pairs(part, column)]
    return pd.DataFrame(found, columns=COLUMNS)


def swept(frame: pd.DataFrame) -> set[str]:
    """The labels of the problems that are steps of a sweep over an option: four values or more."""
    return {str(label) for _, part in _sweeps(frame) for label in part["label"]}


def _sweeps(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """(column of an option, rows) where it takes four values or more and all else is held; `label`: the problem's."""
    rows = rows if "problem.name" in rows else labels.with_options(rows)
    for column in [name for name in map(str, rows) if name.startswith("problem.") and name != "problem.name"]:
        option = column.removeprefix("problem.")
        part = rows[rows[column].notna()].assign(option=option, label=rows["problem"])
        part["problem"] = [labels.without(label, option) for label in part["problem"]]
        for _, line in part.groupby(HELD, sort=False):
            if line[column].nunique() >= FEWEST:
                yield column, line


def zero(frame: pd.DataFrame, column: str) -> pd.Series:
    """Which numbers of a column are zero within the rounding that their intervals state."""
    value, low, high = (frame[name].astype(float) for name in (column, f"{column}_low", f"{column}_high"))
    return (value <= 0) | (low <= 0) & (high > ROUNDED * value)


def geometric(values: pd.Series) -> bool:
    """Whether positive values are spaced more like a geometric series than like an arithmetic one."""
    x = np.unique(values.dropna().to_numpy(dtype=float))
    if len(x) < 3 or x[0] <= 0:
        return False
    steps = np.diff(x), np.diff(np.log(x))
    return bool(steps[1].std() / steps[1].mean() < steps[0].std() / steps[0].mean())


def _pairs(part: pd.DataFrame, column: str) -> list[dict[str, object]]:
    """The crossings of every pair of estimators in one setting."""
    usable = np.isfinite(part["variance"].astype(float)) & ~zero(part, "variance")
    names = ["variance", "variance_low", "variance_high"]
    interval = part[names].astype(float)
    logs = np.log(interval.where(usable & (interval > 0).all(axis=1)).to_numpy())
    curves = part[["estimator", column]].assign(**dict(zip(names, logs.T, strict=True))).groupby("estimator")
    lines = {str(name): line.drop_duplicates(column).set_index(column).sort_index() for name, line in curves}
    log = geometric(part[column])
    found = []
    for a, b in combinations(sorted(lines), 2):
        both = lines[a].add_suffix("_a").join(lines[b].add_suffix("_b"), how="outer")
        fine = both.notna().all(axis=1)
        for _, run in both[fine].groupby((~fine).cumsum()[fine]):
            if len(run) >= FEWEST:
                x = run.index.to_numpy(dtype=float)
                at = _changes(np.log(x) if log else x, *_difference(run))
                found += [_row(a, b, np.exp(ends) if log else ends, less) for ends, less in at]
    return found


def _row(a: str, b: str, ends: Array, a_is_less: bool) -> dict[str, object]:
    value, low, high = ends
    names = {"estimator_a": a, "estimator_b": b, "below": a if a_is_less else b}
    return names | {"value": value, "value_low": low, "value_high": high}


def _difference(run: pd.DataFrame) -> tuple[Array, Array, Array]:
    """Log variance of a less that of b, and its interval's ends, from the two intervals."""
    a, a_low, a_high, b, b_low, b_high = (
        run[f"variance{end}_{name}"].to_numpy(dtype=float) for name in "ab" for end in ("", "_low", "_high")
    )
    return a - b, a - b - np.hypot(a - a_low, b_high - b), a - b + np.hypot(a_high - a, b - b_low)


def _changes(x: Array, middle: Array, low: Array, high: Array) -> list[tuple[Array, bool]]:
    """(root, ends of its interval) wherever a curve with an interval changes sign for certain, and if it is upwards."""
    splines = [CubicSpline(x, y) for y in (middle, low, high)]
    roots = [spline.roots(discontinuity=False, extrapolate=False) for spline in splines]
    edges = np.unique(np.concatenate([x[[0, -1]], *(root[np.isfinite(root)] for root in roots)]))
    centres = (edges[1:] + edges[:-1]) / 2
    signs = np.where(splines[1](centres) > 0, 1, np.where(splines[2](centres) < 0, -1, 0))
    measured = [((x >= start) & (x <= end)).any() for start, end in pairwise(edges)]
    certain = [(sign, *ends) for sign, ends, m in zip(signs, pairwise(edges), measured, strict=True) if sign and m]
    found = []
    for (before, _, start), (after, end, _) in pairwise(certain):
        if before != after:
            slack = 1e-9 * (x[-1] - x[0])
            inside = roots[0][(roots[0] >= start - slack) & (roots[0] <= end + slack)]
            root = np.sort(inside)[len(inside) // 2] if len(inside) else (start + end) / 2
            reach = _moves(x, middle, root)
            ends = min(start, root) - reach, max(end, root) + reach
            found.append((np.array([root, *np.clip(ends, x[x <= start].max(), x[x >= end].min())]), bool(before < 0)))
    return found


def _moves(x: Array, y: Array, root: float) -> float:
    """How far a root of the spline may move for the spline's own error: that of leaving out a value beside the root."""
    after = int(np.clip(np.searchsorted(x, root), 1, len(x) - 1))
    others = [CubicSpline(np.delete(x, i), np.delete(y, i))(root) for i in (after - 1, after)]
    slope = CubicSpline(x, y)(root, 1)
    return float(np.abs(others).max() / abs(slope)) if slope else np.inf
