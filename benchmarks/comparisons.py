"""Which estimator is better, and how variance and cost grow: from a table of results, with intervals."""

import numpy as np
import pandas as pd
from scipy import optimize, stats

from benchmarks import store
from benchmarks.intervals import LEVEL, Array, Z, hall, hall_inverse

FALSE_DISCOVERIES = 0.01
PAIRED = [*store.CELL[1:], "group"]  # where estimators meet
UNTRUSTED = "the tail"
COLUMNS = [*PAIRED, "estimator", "against", "at", "ratio", "ratio_low", "ratio_high", "p", "verdict"]
AT = {"one estimate": None, "equal evaluations": "evaluations", "equal seconds": "relative_seconds"}
GROWING = ("variance", "work_variance", "work_variance_time")
SIDES = ("", "_against")


def compare(frame: pd.DataFrame, against: str | None = None) -> pd.DataFrame:
    """Ratios of two estimators' variances in the same cell, at one estimate each, equal evaluations and equal seconds.

    Both met common random numbers, so that batch k of one is paired with batch k of the other: the interval is that of
    the difference of log variances over the 64 pairs, by Hall's transformation of Student's t. Timings, which are
    independent, add their own error; they are taken relative to drawing as many normals at the same time, since the
    machine's own speed changes between cells. The verdict is on `estimator`: `better` or `worse` where the ratio is
    not 1 at a false discovery rate of 1 % over the table (Benjamini and Hochberg 1995), else `not distinguishable`.

    Args:
        frame: what `benchmarks.report.load` returns, or a DataFrame of the rows of `benchmarks.measure.measure`.
        against: an estimator that all others are compared with; by default every pair.

    Returns:
        One row a cell, group, pair and `at`: setting, estimator, against, at, ratio (of variances, below 1 where
        `estimator` is the better one), ratio_low, ratio_high (95 % interval), p, verdict. A variance that is zero
        within rounding has no ratio and is left out. One that does not exist is infinitely worse than one that does.
        Where a tail is too heavy for an interval to be trusted, there is no interval, and nothing is distinguished.

    Raises:
        ValueError: `against` is not in the frame.
    """
    rows = frame[frame["status"].isin(store.MEASURED)]
    names = sorted(set(rows["estimator"]))
    if against is not None and against not in names:
        raise ValueError(f"against={against}: choose from {', '.join(names)}")
    rows = rows[(rows["variance_low"] > 0) | (rows["variance"] > 0) & rows["reason"].str.contains(UNTRUSTED)]
    rows = rows[rows["batch_variances"].map(lambda batches: bool(np.isfinite(batches).all())).astype(bool)]
    pairs = rows.merge(rows, on=PAIRED, suffixes=SIDES)
    pairs = pairs[np.isfinite(pairs["variance"]) | np.isfinite(pairs["variance_against"])]
    chosen = pairs["estimator"] < pairs["estimator_against"] if against is None else pairs["estimator"] != against
    pairs = pairs[chosen & (pairs["estimator_against"] == (against or pairs["estimator_against"]))]
    tables = [found for at, cost in AT.items() if len(found := ratios(pairs, cost).assign(at=at))]
    if not tables:
        return pd.DataFrame(columns=COLUMNS)
    table = pd.concat(tables, ignore_index=True)
    different = stats.false_discovery_control(table["p"].fillna(1.0)) < FALSE_DISCOVERIES
    better = np.where(table["ratio"] < 1, "better", "worse")
    return table.assign(verdict=np.where(different, better, "not distinguishable"))[COLUMNS]


def exponents(frame: pd.DataFrame, values: tuple[str, ...] = GROWING) -> pd.DataFrame:
    """Exponents b of power laws value = a x^b in latent_dim and in num_samples, by weighted least squares on the logs.

    Points weigh by their intervals, see `slope`; those whose tail allows no interval do not count.

    frame: as for `compare`. Returns one row a line: setting, value, x, exponent, exponent_low, exponent_high.
    """
    measured = frame[frame["status"].isin(store.MEASURED) & ~frame["reason"].fillna("").str.contains(UNTRUSTED)]
    rows = []
    for x in ("latent_dim", "num_samples"):
        held = ["estimator", *(name for name in PAIRED if name != x)]
        for setting, line in measured.groupby(held, sort=False):
            for value in values:
                found = slope(line[x], line[value], line[f"{value}_low"], line[f"{value}_high"])
                if np.isfinite(found[0]):
                    fit = dict(zip(["exponent", "exponent_low", "exponent_high"], found, strict=True))
                    rows.append(dict(zip(held, setting, strict=True)) | {"value": value, "x": x} | fit)
    columns = ["estimator", *PAIRED, "value", "x", "exponent", "exponent_low", "exponent_high"]
    return pd.DataFrame(rows, columns=columns)


def slope(x: pd.Series, y: pd.Series, low: pd.Series, high: pd.Series) -> tuple[float, float, float]:
    """Exponent of y = a x^b and its 95 % interval; nan below two sizes. Zeros within rounding do not count.

    Where the points scatter by more than their intervals allow, a variance between them is added to each one's own so
    that it does not (Paule and Mandel 1982), and the interval takes Student's t.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.array([x, y, low, high], dtype=float))
    x_, y_, low_, high_ = logs[:, np.isfinite(logs).all(0)]
    if len(set(x_)) < 2:
        return (float("nan"),) * 3
    own = ((high_ - low_) / (2 * Z)) ** 2 + np.finfo(float).eps
    free = len(x_) - 2

    def fit(between: float) -> tuple[float, float, float]:
        """Exponent, its variance, and how much the points scatter beyond what is allowed."""
        weights = 1 / (own + between)
        centred = x_ - np.average(x_, weights=weights)
        exponent = weights * centred @ y_ / (weights @ centred**2)
        residuals = y_ - np.average(y_, weights=weights) - exponent * centred
        return float(exponent), float(1 / (weights @ centred**2)), float(weights @ residuals**2 - free)

    misfit = free > 0 and fit(0.0)[2] > 0
    between = optimize.brentq(lambda b: fit(b)[2], 0.0, 4 * np.var(y_) * len(y_)) if misfit else 0.0
    exponent, squared, _ = fit(between)
    half = (stats.t.ppf((1 + LEVEL) / 2, free) if misfit else Z) * np.sqrt(squared)
    return exponent, exponent - half, exponent + half


def ratios(pairs: pd.DataFrame, cost: str | None) -> pd.DataFrame:
    """Ratios of variance x cost of rows side by side, their 95 % intervals, and the p-values of a ratio of 1.

    pairs: one row a pair; the second row's columns end in `_against`. cost: a column, or None for the variance alone;
    pairs in which it is zero are left out.
    """
    if cost is not None:
        pairs = pairs[(pairs[cost] > 0) & (pairs[f"{cost}_against"] > 0)]
    if pairs.empty:
        return pd.DataFrame(columns=COLUMNS[:-1])
    ratio, error, skewness, degrees = log_ratios(pairs, cost)
    t = np.divide(ratio, error, out=np.where(ratio == 0, 0.0, np.inf), where=error > 0)
    quantile = stats.t.ppf((1 + LEVEL) / 2, degrees)
    low, high = (ratio - error * hall_inverse(np.full(len(ratio), end), skewness) for end in (quantile, -quantile))
    doubted = np.isfinite(ratio) & np.any([pairs["reason" + s].str.contains(UNTRUSTED) for s in SIDES], axis=0)
    p = np.where(np.isinf(ratio), 0.0, 2 * stats.t.sf(np.abs(hall(np.clip(t, -1e9, 1e9), skewness)), degrees))
    low, high, p = (np.where(doubted, np.nan, x) for x in (low, high, p))
    names = pairs[[*PAIRED, "estimator", "estimator_against"]].rename(columns={"estimator_against": "against"})
    return names.assign(ratio=np.exp(ratio), ratio_low=np.exp(low), ratio_high=np.exp(high), p=p)


def log_ratios(pairs: pd.DataFrame, cost: str | None = None) -> tuple[Array, Array, Array, int]:
    """Logs of the ratios of `ratios`, their standard errors and skewness, and the errors' degrees of freedom.

    Batches are paired by their number: the errors hold whether the two rows met common random numbers or not.
    """
    variances = [pairs["variance" + s].to_numpy(dtype=float) for s in SIDES]
    ratio = np.log(variances[0]) - np.log(variances[1])
    influence = _influence(pairs, "") - _influence(pairs, "_against")
    count = influence.shape[1]
    squared = influence.var(1, ddof=1) / count
    for side in SIDES:
        exact = (pairs["variance_source" + side] == "exact").to_numpy()
        squared[exact] += _log_error(pairs[exact], "variance", side) ** 2
        squared += _log_error(pairs, cost, side) ** 2 if cost == "relative_seconds" else 0.0
    if cost is not None:
        costs = [pairs[cost + s].to_numpy(dtype=float) for s in SIDES]
        ratio = ratio + np.log(costs[0]) - np.log(costs[1])
    error = np.sqrt(squared)
    skewness = np.divide((influence**3).mean(1) / count**2, error**3, out=np.zeros_like(error), where=error > 0)
    return ratio, error, skewness, count - 1


def _log_error(pairs: pd.DataFrame, column: str, suffix: str) -> Array:
    """Standard error of the log of a column with an interval."""
    ends = pairs[[f"{column}_low{suffix}", f"{column}_high{suffix}"]].to_numpy(dtype=float)
    return np.log(ends[:, 1] / ends[:, 0]) / (2 * Z)


def _influence(pairs: pd.DataFrame, suffix: str) -> Array:
    """Each batch's pull on the log variance, (pairs, K); none on an exact one."""
    batches = np.array(pairs[f"batch_variances{suffix}"].tolist(), dtype=float)
    exact = (pairs[f"variance_source{suffix}"] == "exact").to_numpy()[:, None]
    with np.errstate(invalid="ignore"):  # an exact variance may have met no draw that differs
        return np.where(exact, 0.0, batches / batches.mean(1, keepdims=True) - 1)
