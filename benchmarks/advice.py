"""Which estimator to use: the least variance for the work, and what cannot be told from it. No torch, no Hydra."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from benchmarks.comparisons import FALSE_DISCOVERIES, ratios
from benchmarks.tables import text_of
from benchmarks.texts import interval, listed, number
from benchmarks.verdicts import BIASED, NOT_TESTED, finite, measured, trusted, usable

WORK = {"evaluations": "evaluations", "seconds": "relative_seconds"}


class Advice(NamedTuple):
    """best: its row, with `work` and its interval. others: at their own best S, in order, with `ratio` of their work to
    the best's, `ratio_low`, `ratio_high` and `verdict`. left_out: by estimator, why it was not considered.
    """

    best: pd.Series
    others: pd.DataFrame
    left_out: dict[str, str]


def advise(frame: pd.DataFrame, by: str = "evaluations", bias: float = 0.0, budget: float = np.inf) -> Advice:
    """The estimator and S with the least variance x work on one problem, point and D.

    Variance x work is what a long average of independent estimates reaches for a given work in all, so that estimators
    with different S compare. Considered are those whose bias was tested and not found, or is within a share of the
    exact gradient's norm for sure. The others are compared with the best by the ratio of their variances x work, and
    `not distinguishable` where it is not 1 at a false discovery rate of 1 % (Benjamini and Hochberg 1995).

    Args:
        frame: rows of one problem, point, latent_dim and group, see `benchmarks.report.load`.
        by: `evaluations` of f, or `seconds` (in multiples of drawing the normals of one sample at the same time).
        bias: the share of the gradient's norm that a bias may have.
        budget: the most evaluations of f, or seconds, that one estimate may take.

    Raises:
        ValueError: no estimator can be considered; says why.
    """
    sized = per_estimate(frame)
    why = _why_not(sized, bias, sized[by].astype(float) > budget)
    rows = sized[why == ""].assign(work=lambda r: (r["variance"] * r[WORK[by]]).astype(float))
    left_out = {name: own.iloc[0] for name, own in why.groupby(sized["estimator"]) if (own != "").all()}
    if rows.empty:
        raise ValueError("; ".join(f"{name}: {reason}" for name, reason in left_out.items()) or "nothing was measured")
    each = rows.loc[rows.groupby("estimator")["work"].idxmin()].sort_values("work")
    pairs = each.iloc[1:].merge(each.iloc[[0]], how="cross", suffixes=("", "_against"))
    return Advice(each.iloc[0], _compared(pairs, WORK[by]), left_out)


def per_estimate(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with `relative_seconds` in multiples of drawing one sample's normals, which S does not change."""
    names = ["relative_seconds", "relative_seconds_low", "relative_seconds_high"]
    return frame.assign(**{name: frame[name] * frame["num_samples"] for name in names})


def _why_not(frame: pd.DataFrame, bias: float, dear: pd.Series) -> pd.Series:
    """Why a row is not considered; empty where it is."""
    allowed = (frame["bias_high"] <= bias * frame["gradient_norm"]) | ~frame["verdict"].str.startswith(BIASED)
    text = pd.Series("", index=frame.index)
    for reason, holds in (
        ("was not measured", ~measured(frame)),
        ("its variance does not exist", ~finite(frame)),
        ("its tail is too heavy to trust the variance", ~trusted(frame)),
        ("its bias was not tested", frame["verdict"] == NOT_TESTED),
        ("biased", ~allowed),
        ("never calls f, or knows what nobody knows", ~usable(frame)),
        ("over the budget", dear),
    ):
        text = text.mask((text == "") & holds, reason)
    return text


def _compared(pairs: pd.DataFrame, cost: str) -> pd.DataFrame:
    """The others with their ratios to the best and verdicts."""
    if pairs.empty or pairs["variance_low_against"].iloc[0] <= 0:  # nothing else, or nothing left to reduce
        return pairs.assign(ratio=np.inf, ratio_low=np.inf, ratio_high=np.inf, verdict="worse")
    found = ratios(pairs, cost)
    columns = found[["ratio", "ratio_low", "ratio_high", "p"]].set_axis(pairs.index)
    different = false_discovery_control(found["p"].fillna(1.0)) < FALSE_DISCOVERIES
    return pairs.assign(**columns, verdict=np.where(different, "worse", "not distinguishable"))


def each_setting(frame: pd.DataFrame, group: str = "all") -> Iterator[tuple[str, pd.DataFrame]]:
    """Every problem, point and D of a frame with its rows of one group, and how to call it."""
    settings = ["problem", "point", "latent_dim", "seed", "device", "dtype"]
    varying = [name for name in settings[3:] if len(set(frame[name])) > 1]
    for setting, rows in frame[frame["group"] == group].groupby(settings):
        where = dict(zip(settings, setting, strict=True))
        told = "".join(f", {name} {where[name]}" for name in varying)
        yield f"{where['problem']} at {where['point']}, D = {where['latent_dim']}{told}", rows


def advice_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Of each problem, point and D: the best by evaluations and by seconds, and what cannot be told from it."""
    rows = []
    for title, part in each_setting(frame):
        row = {"where": title}
        for by in WORK:
            try:
                advice = advise(part, by)
            except ValueError:
                continue
            least = _work(advice.best, by) if advice.best["variance_low"] > 0 else "no variance"
            row[f"least variance × {by}"] = f"{_named(advice.best)}: {least}"
            row[f"{by}: cannot be told from it"] = listed([_named(other) for other in _tied(advice)] or ["none"])
        rows.append(row)
    return pd.DataFrame([row for row in rows if len(row) > 1]).fillna("")


def in_words(advice: Advice, by: str, budget: float) -> str:
    """A recommendation as text: the best, what a budget buys, what cannot be told from it, and all the others."""
    best = advice.best
    (variance,) = text_of(best.to_frame().T, "variance")
    lines = [f"{_named(best)}: variance {variance} of one estimate, variance x {by} {_work(best, by)}"]
    if np.isfinite(budget):
        count = int(budget // float(best[by]))
        value, low, high = (float(best[name]) / count for name in ("variance", "variance_low", "variance_high"))
        lines.append(
            f"with {number(budget)} {by}: {count} such estimates averaged, variance {interval(value, low, high)}"
        )
    tied = [f"{_named(row)} ({_ratio(row)})" for row in _tied(advice)]
    lines.append(f"cannot be told from it: {', '.join(tied) or 'none'}")
    worse = advice.others[advice.others["verdict"] == "worse"]
    ratio = f"variance x {by}, relative to the best"
    table = pd.DataFrame([{"worse": _named(row), ratio: _ratio(row)} for row in worse.itertuples()])
    lines += [f"\n{table.to_markdown(index=False, disable_numparse=True)}\n"] if len(table) else []
    return "\n".join(lines + [f"left out, {reason}: {names}" for reason, names in _by_reason(advice.left_out)])


def _named(row: Any) -> str:
    return f"{row.estimator} (S = {row.num_samples})"


def _work(best: pd.Series, by: str) -> str:
    """Variance x evaluations, or x seconds, with its interval."""
    return text_of(best.to_frame().T, "work_variance" if by == "evaluations" else "work_variance_time")[0]


def _ratio(row: Any) -> str:
    return interval(row.ratio, row.ratio_low, row.ratio_high)


def _tied(advice: Advice) -> list[Any]:
    others = advice.others
    return list(others[others["verdict"] == "not distinguishable"].itertuples())


def _by_reason(left_out: dict[str, str]) -> list[tuple[str, str]]:
    """The reasons for leaving estimators out, each with their names."""
    reasons = dict.fromkeys(left_out.values())
    return [(reason, ", ".join(name for name, why in left_out.items() if why == reason)) for reason in reasons]
