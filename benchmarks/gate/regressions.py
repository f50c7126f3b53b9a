"""What got worse between two sides: status, evaluations, variance, bias and time, at one false-alarm rate for all.

Each function takes rows side by side (`sides.join`) and returns findings, a row each, with the columns `COLUMNS`:
where, `what` it is, the two values, their ratio and its 95 % interval, one-sided p-values of no `worse` and no `better`
(nan where none is needed), `sure` (`worse` or `better`, where no chance is involved), `untested` (why, else empty).
`judge` puts them together.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from benchmarks import store
from benchmarks.comparisons import FALSE_DISCOVERIES, SIDES, UNTRUSTED, log_ratios
from benchmarks.intervals import LEVEL, Array, Z, hall, hall_inverse

Mask = NDArray[np.bool_]
WHERE = ["estimator", "problem", "point", "latent_dim", "num_samples", "group"]
COLUMNS = [
    *WHERE,
    *[
        "what",
        "baseline",
        "candidate",
        "ratio",
        "ratio_low",
        "ratio_high",
        "worse",
        "better",
        "sure",
        "untested",
        "why",
    ],
]
COUNTS = ("evaluations", "gradient_evaluations", "tuning_evaluations")
ROUNDING = 1e-5
TOLERANCE = 0.001
TUNING = 0.02
FAR = 10.0
NO_VARIANCE = "the variance does not exist"
OTHER_TUNING = "tuned on other random numbers"
SUSPECT, GROWN = 0.1, 0.001
TIME_SHARE = 0.25


def findings(rows: pd.DataFrame, what: str, **values: Any) -> pd.DataFrame:
    """Findings at rows; what is not given is nan, or empty."""
    empty = dict.fromkeys(COLUMNS[7:14], np.nan) | dict.fromkeys(COLUMNS[14:], "")
    return rows[WHERE].assign(what=what, **(empty | values))[COLUMNS].reset_index(drop=True)


def statuses(cells: pd.DataFrame) -> pd.DataFrame:
    """Cells that were measured on one side only; `why` is the other side's reason. Without chance."""
    now, before = cells["status"], cells["status_against"]
    measured = [side.isin(store.MEASURED) for side in (now, before)]
    sure = np.select([measured[1] & ~measured[0], measured[0] & ~measured[1]], ["worse", "better"], "")
    sure = np.where((now == "failed") & (before == "skipped"), "worse", sure)
    values = {"baseline": before, "candidate": now, "why": np.where(sure == "worse", cells["reason"], "")}
    return findings(cells.assign(group="all"), "status", sure=sure, **values)[sure != ""]


def counts(pairs: pd.DataFrame) -> pd.DataFrame:
    """Evaluations that one estimate, or tuning, takes: compared exactly, once a cell."""
    cells = pairs[pairs["group"] == "all"]
    tables = []
    for name in COUNTS:
        now, before = cells[name], cells[f"{name}_against"]
        same = np.isclose(now, before, rtol=1e-9, atol=0) | before.isna()
        sure = np.select([same, now > before, now < before], ["", "worse", "better"], "")
        values = {"baseline": before, "candidate": now, "ratio": now / before.where(before > 0)}
        tables.append(findings(cells, name.replace("_", " "), sure=sure, **values))
    return pd.concat(tables, ignore_index=True)


def variances(pairs: pd.DataFrame) -> pd.DataFrame:
    """Total variances. Exact ones are compared exactly; sampled ones by their ratio, see `tested` and `pooled`.

    Exact ones are the same if their intervals, widened by 1e-5 for another machine's rounding, meet. Zero within
    rounding that turns positive is worse; so is finite that turns infinite, but only on the same random numbers: on
    others, whether a tail is seen to have no variance is a matter of chance. Where a tail forbids an interval, nothing
    is tested. What was tuned with another seed has another variance (by 1 % to 70 %, as measured), and is not tested
    either; with the same seed, 2 % are added to its error, for another order of the draws.
    """
    low, high = ([pairs[f"variance_{end}{s}"].to_numpy() for s in SIDES] for end in ("low", "high"))
    sampled = [(pairs["variance_source" + s] != "exact").to_numpy() for s in SIDES]
    infinite, zero = [np.isinf(x) for x in high], [x <= 0 for x in low]
    heavy = [pairs["reason" + s].str.contains(UNTRUSTED).to_numpy(dtype=bool) for s in SIDES]
    exact, other = ~sampled[0] & ~sampled[1] & ~_tuned(pairs), _reseeded(pairs)
    surely = [
        (exact & (low[i] > high[j] * (1 + ROUNDING)) & ~zero[j])
        | (zero[j] & ~heavy[j] & (low[i] > FAR * high[j]))
        | (infinite[i] & ~infinite[j] & ~heavy[j] & ~other)
        for i, j in ((0, 1), (1, 0))
    ]
    settled = surely[0] | surely[1] | exact | zero[0] | zero[1]
    few = [x & ~_batched(pairs["batch_variances" + s]) for x, s in zip(sampled, SIDES, strict=True)]
    obstacles = {NO_VARIANCE: infinite, "the tail forbids an interval": heavy, "too few replicates": few}
    obstacles[OTHER_TUNING] = [_tuned(pairs) & other] * 2
    untested = np.select([settled, *(a | b for a, b in obstacles.values())], ["", *obstacles], "")
    before = pairs["variance_against"]
    values = {"baseline": before, "candidate": pairs["variance"], "untested": untested}
    values |= {"ratio": pairs["variance"] / before.where(~zero[1]), "sure": np.select(surely, ["worse", "better"], "")}
    table, chosen = findings(pairs, "variance", **values), ~settled & (untested == "")
    if not chosen.any():
        return table
    ratio, error, skewness, degrees = log_ratios(pairs[chosen])
    error = np.hypot(error, np.where(_tuned(pairs[chosen]), TUNING, 0.0))
    for name, column in tested(ratio, error, skewness, degrees).items():
        table.loc[chosen, name] = column
    return pd.concat([table, pooled(pairs[chosen], ratio, error, skewness, degrees)], ignore_index=True)


def tested(ratio: Array, error: Array, skewness: Array, degrees: Array | int) -> dict[str, Array]:
    """Intervals and one-sided p-values of log ratios: worse is more than 0.1 % above 1, better as much below.

    The larger of two p-values, of Student's t as it is and by Hall's (1992) transformation: many tests look far into
    the tail, where a skewness estimated from 64 batches is noise (at 1e-4, Hall's alone errs 2 to 8 times too often on
    heavy tails that differ by chance), and t alone is wrong where one side is exact. The same code on the same draws
    gives a ratio of 1 without error, and rounding, which may have a consistent sign, stays below 0.1 %.
    """
    end = np.broadcast_to(stats.t.ppf((1 + LEVEL) / 2, degrees), ratio.shape)
    low, high = (np.exp(ratio - error * hall_inverse(e, skewness)) for e in (end, -end))
    p: list[Array] = []
    for sign in (1, -1):
        beyond = sign * ratio - np.log1p(TOLERANCE)
        t = np.divide(beyond, error, out=np.where(beyond > 0, np.inf, -np.inf), where=error > 0)
        t = np.clip(t, -1e6, 1e6)
        p.append(np.maximum(stats.t.sf(t, degrees), stats.t.sf(hall(t, sign * skewness), degrees)))
    return {"ratio": np.exp(ratio), "ratio_low": low, "ratio_high": high, "worse": p[0], "better": p[1]}


def pooled(pairs: pd.DataFrame, ratio: Array, error: Array, skewness: Array, degrees: int) -> pd.DataFrame:
    """Each estimator's ratio on a problem, over all its cells (group `all`) together: what is too small for one cell.

    Cells draw independently. They weigh by the width of their reported intervals, not by the errors of the ratios: with
    common draws these are nearly zero, and would weigh by rounding. Degrees of freedom by Satterthwaite (1946).
    """
    widths = [np.log((pairs["variance_high" + s] / pairs["variance_low" + s]).to_numpy(dtype=float)) for s in SIDES]
    w = 1 / (widths[0] ** 2 + widths[1] ** 2 + 1e-6)
    whole = (pairs["group"] == "all").to_numpy()
    rows = []
    groups: dict[Any, Any] = pairs[whole].groupby(WHERE[:3], sort=False).indices
    for names, index in groups.items():
        own = np.flatnonzero(whole)[index]
        if len(own) < 2:
            continue
        shares = w[own] / w[own].sum()
        squared, parts = float(shares**2 @ error[own] ** 2), float(shares**4 @ error[own] ** 4)
        row = dict(zip(WHERE[:3], names, strict=True)) | {"group": "all"}
        row |= {name: spelled(pairs[name].to_numpy()[own]) for name in ("latent_dim", "num_samples")}
        row |= {"r": shares @ ratio[own], "error": squared**0.5}
        row["skewness"] = shares**3 @ (skewness * error**3)[own] / squared**1.5 if squared > 0 else 0.0
        row["degrees"] = degrees * squared**2 / parts if parts > 0 else degrees
        rows.append(row)
    if not rows:
        return findings(pairs[:0], "variance, cells together")
    table = pd.DataFrame(rows)
    columns = (table[name].to_numpy(dtype=float) for name in ("r", "error", "skewness", "degrees"))
    return findings(table, "variance, cells together", **tested(*columns))


def spelled(sizes: Iterable[float]) -> str:
    """Sizes as text: 2, 8."""
    return ", ".join(f"{size:g}" for size in sorted(set(sizes)))


def biases(pairs: pd.DataFrame) -> pd.DataFrame:
    """Biases: the candidate's own test where the baseline has none, else whether the norm has grown.

    Two unbiased runs differ in nothing, so that the candidate's p-value of no bias is a test of the change, and sharper
    than a difference. It is not where the baseline has a bias, though it may not have been found in this row: where the
    estimator was found biased in any row (1 % of false discoveries: Benjamini and Hochberg 1995), or the row's own
    p-value is below 0.1. There, the increase of the norm is held against the errors that the two intervals tell; where
    only that p-value is suspect, an increase at 0.001 makes the candidate's own test count after all. Biases
    exact on both sides are compared exactly. Rounding, 1e-5 of the gradient and its standard deviation, is no bias.
    """
    before = pairs["bias_p_against"]
    both = (before.notna() & pairs["bias_p"].notna()).to_numpy()
    found = pd.Series(False, index=pairs.index)
    if before.notna().any():
        found[before.notna()] = stats.false_discovery_control(before.dropna()) < FALSE_DISCOVERIES
    biased, suspect = pairs["estimator"].isin(pairs.loc[found, "estimator"]), before < SUSPECT
    exact = np.all([pairs[f"{x}_source{s}"] == "exact" for s in SIDES for x in ("variance", "gradient")], axis=0)
    slack = ROUNDING * (pairs["gradient_norm"] + np.sqrt(pairs["variance"].clip(lower=0)))
    sure, p = [], []
    for sign, (now, then) in zip((1, -1), (SIDES, SIDES[::-1]), strict=True):
        sure.append(exact & (pairs["bias_low" + now] > pairs["bias_high" + then] * (1 + ROUNDING) + slack))
        growth = sign * (pairs["bias"] - pairs["bias_against"]) - slack
        halves = pairs["bias" + now] - pairs["bias_low" + now], pairs["bias_high" + then] - pairs["bias" + then]
        p.append(stats.norm.sf(growth * Z / np.maximum(np.hypot(*halves), 1e-300)))
    own = pairs["bias_p"].where(pairs["bias"] > slack, 1.0)
    growth_counts = biased | (suspect & (p[0] > GROWN))
    return findings(
        pairs,
        "bias",
        baseline=pairs["bias_against"],
        candidate=pairs["bias"],
        ratio=(pairs["bias"] / pairs["bias_against"]).where(pairs["bias_low_against"] > 0),
        worse=np.where(exact | ~both, np.nan, np.where(growth_counts, p[0], own)),
        better=np.where(exact | ~both | ~(biased | suspect), np.nan, p[1]),
        sure=np.select(sure, ["worse", "better"], ""),
        untested=np.where(both | exact, "", NO_VARIANCE),
    )


def judge(table: pd.DataFrame, false_alarms: float) -> pd.DataFrame:
    """Findings with `p` (adjusted) and `verdict` (`worse`, `better` or empty).

    Holm's (1979) correction over all p-values for worse holds the chance of any false alarm in the whole comparison at
    `false_alarms`, however the tests depend on each other; a quarter of it is for times, which are few and have heavy
    tails. Those for better are corrected alike.
    """
    timed = table["what"].str.startswith("time").to_numpy()
    table = table.assign(p=np.nan, verdict=table["sure"])
    for verdict in ("worse", "better"):
        for kind, share in ((timed, TIME_SHARE), (~timed, 1 - TIME_SHARE)):
            chosen = kind & table[verdict].notna().to_numpy()
            p = np.minimum(1.0, holm(table.loc[chosen, verdict].to_numpy()) / share)
            found = table.index[chosen][p < false_alarms]
            table.loc[found, "p"] = p[p < false_alarms]
            table.loc[found, "verdict"] = verdict
    return table


def holm(p: Array) -> Array:
    """p-values adjusted for their number (Holm 1979)."""
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return adjusted[np.argsort(order)]


def _tuned(pairs: pd.DataFrame) -> Mask:
    """Whether either side learned: what is learned differs with the draws, and so does the variance that it leaves."""
    return np.any([pairs["tuning_evaluations" + s] > 0 for s in SIDES], axis=0)


def _reseeded(pairs: pd.DataFrame) -> Mask:
    """Whether the two sides had other random numbers."""
    same = pairs["seed"] == pairs["seed_against"] if "seed_against" in pairs else np.ones(len(pairs), dtype=bool)
    return ~np.asarray(same, dtype=bool)


def _batched(batches: pd.Series) -> Mask:
    """Whether the variance is known in every batch."""
    return np.array([bool(np.isfinite(values).all()) for values in batches], dtype=bool)
