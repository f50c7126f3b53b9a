"""Which estimator to use: the least variance for the work, and what cannot be told from it. No torch, no Hydra."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from benchmarks.comparisons import FALSE_DISCOVERIES, ratios
from benchmarks.intervals import product
from benchmarks.tables import bias_text, text_of
from benchmarks.texts import interval, listed, number
from benchmarks.verdicts import BIASED, NOT_TESTED, finite, measured, noiseless, trusted, usable

SKIPPED = "was not measured"
WORK = {
    "evaluations": "variance × evaluations of f",
    "seconds": "variance × time, in draws of one sample's normals",
}


class NothingToRecommend(Exception):
    """No estimator can be considered; the message says why each cannot."""


class Advice(NamedTuple):
    """best: its row, with `work`, `work_low`, `work_high`: variance x work.

    others: the other estimators at their best S, and the same one's other S where they tie, with `ratio` of their work
    to the best's, `ratio_low`, `ratio_high`, `verdict`. noiseless: those without any variance, the cheapest first.
    left_out: by estimator, why it was not considered.
    """

    best: pd.Series | None
    others: pd.DataFrame
    noiseless: pd.DataFrame
    left_out: dict[str, str]


def advise(frame: pd.DataFrame, by: str = "evaluations", bias: float = 0.0, budget: float = np.inf) -> Advice:
    """The estimator and S with the least variance x work on one problem, point and D, of those that have a variance.

    Variance x work is what a long average of independent estimates reaches for a given work in all, so that estimators
    with different S compare; with a budget, work is one over the number of estimates that it buys. Considered are those
    whose bias was tested and not found, or is within a share of the exact gradient's norm for sure. The others are
    compared with the best by the ratio of their variances x work, and `not distinguishable` where it is not 1 at a
    false discovery rate of 1 % (Benjamini and Hochberg 1995). Of an estimator's S that tie, the smallest is taken.

    Args:
        frame: rows of one problem, point, latent_dim and group, see `benchmarks.report.load`.
        by: `evaluations` of f, or `seconds` (in multiples of drawing the normals of one sample at the same time).
        bias: the share of the gradient's norm that a bias may have.
        budget: evaluations of f, or seconds in a full chunk, that there are for one gradient.

    Raises:
        NothingToRecommend: no estimator can be considered.
    """
    sized = per_estimate(frame)
    why = _why_not(sized, bias, by, budget)
    left_out = _left_out(sized, why)
    rows = sized[why == ""]
    if rows.empty:
        said = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise NothingToRecommend(said or "nothing was measured")
    silent = noiseless(rows)
    exact = rows[silent].sort_values(["evaluations", "estimator"]).drop_duplicates("estimator")
    noisy, cost = _worked(rows[~silent], by, budget)
    if noisy.empty:
        return Advice(None, noisy, exact, left_out)
    least = noisy.loc[[noisy["work"].idxmin()]]
    same = noisy[noisy["estimator"] == least["estimator"].iloc[0]]
    ties = _compared(same.drop(least.index), least, cost)
    sizes = [*least["num_samples"], *ties.loc[ties["verdict"] == "not distinguishable", "num_samples"]]
    best = same[same["num_samples"] == min(sizes)]
    others = _compared(noisy.drop(best.index), best, cost)
    own = others["estimator"] == best["estimator"].iloc[0]
    tied = others["verdict"] == "not distinguishable"
    each = others[~own].assign(worse=~tied).sort_values(["worse", "work"]).drop_duplicates("estimator")
    return Advice(best.iloc[0], pd.concat([others[own & tied], each]), exact, left_out)


def per_estimate(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with `relative_seconds` in multiples of drawing one sample's normals, which S does not change."""
    names = ["relative_seconds", "relative_seconds_low", "relative_seconds_high"]
    return frame.assign(**{name: frame[name] * frame["num_samples"] for name in names})


def _worked(rows: pd.DataFrame, by: str, budget: float) -> tuple[pd.DataFrame, str]:
    """The rows with `work` and its interval, and the column that the work of one estimate is in."""
    cost = "evaluations" if by == "evaluations" else "relative_seconds"
    if np.isfinite(budget):
        rows, cost = rows.assign(spent=1 / (budget // rows[by].astype(float))), "spent"
    ends = [f"{cost}{end}" if f"{cost}{end}" in rows else cost for end in ("", "_low", "_high")]
    variances = rows[["variance", "variance_low", "variance_high"]].astype(float).to_numpy()
    factors = rows[ends].astype(float).to_numpy()
    pairs = zip(variances, factors, strict=True)
    outer = np.array([product((v[0], v[1], v[2]), (f[0], f[1], f[2])) for v, f in pairs]).reshape(-1, 2)
    return rows.assign(work=variances[:, 0] * factors[:, 0], work_low=outer[:, 0], work_high=outer[:, 1]), cost


def _why_not(frame: pd.DataFrame, bias: float, by: str, budget: float) -> pd.Series:
    """Why a row is not considered; empty where it is."""
    allowed = (frame["bias_high"] <= bias * frame["gradient_norm"]) | ~frame["verdict"].str.startswith(BIASED)
    text = pd.Series("", index=frame.index)
    for reason, holds in (
        (SKIPPED, ~measured(frame)),
        ("its variance does not exist", ~finite(frame)),
        ("its tail is too heavy to trust the variance", ~trusted(frame)),
        ("its bias was not tested", frame["verdict"] == NOT_TESTED),
        ("biased", ~allowed),
        ("never calls f, or knows what nobody knows", ~usable(frame)),
        ("was not timed", frame["relative_seconds"].isna() & (by == "seconds")),
        ("over the budget", frame[by].astype(float) > budget),
    ):
        text = text.mask((text == "") & holds, reason)
    return text


def _left_out(frame: pd.DataFrame, why: pd.Series) -> dict[str, str]:
    """Why an estimator is not considered at any S: what its measured rows lack, if it has some."""
    found = {}
    for name, own in why.groupby(frame["estimator"]):
        if (own != "").all():
            reasons = list(dict.fromkeys(reason for reason in own if reason != SKIPPED))
            row = frame.loc[own.index[0]]
            found[str(name)] = ", ".join(reasons) or f"{row['status']}: {row['reason']}"
    return found


def _compared(others: pd.DataFrame, best: pd.DataFrame, cost: str) -> pd.DataFrame:
    """Rows with the ratio of their work to the best's, in order, and verdicts."""
    if others.empty:
        return others.assign(ratio=np.nan, ratio_low=np.nan, ratio_high=np.nan, verdict="")
    found = ratios(others.merge(best, how="cross", suffixes=("", "_against")), cost)
    columns = found[["ratio", "ratio_low", "ratio_high", "p"]].set_axis(others.index)
    different = false_discovery_control(found["p"].fillna(1.0)) < FALSE_DISCOVERIES
    return others.assign(**columns, verdict=np.where(different, "worse", "not distinguishable")).sort_values("work")


def each_setting(frame: pd.DataFrame, group: str = "all") -> Iterator[tuple[str, pd.DataFrame]]:
    """Every problem, point and D of a frame with its rows of one group, and how to call it."""
    settings = ["problem", "point", "latent_dim", "seed", "device", "dtype"]
    varying = [name for name in settings[3:] if len(set(frame[name])) > 1]
    for setting, rows in frame[frame["group"] == group].groupby(settings):
        where = dict(zip(settings, setting, strict=True))
        told = "".join(f", {name} {where[name]}" for name in varying)
        yield f"{where['problem']} at {where['point']}, D = {where['latent_dim']}{told}", rows


def advice_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Of each problem, point and D: the best by evaluations and by time, and what cannot be told from it."""
    rows = []
    for title, part in each_setting(frame):
        row = {"where": title}
        for by, work in WORK.items():
            try:
                advice = advise(part, by)
            except NothingToRecommend:
                continue
            if len(advice.noiseless):
                row["no variance is left of"] = listed([_named(other) for other in advice.noiseless.itertuples()], 3)
            if advice.best is not None:
                row[f"least {work}"] = f"{_named(advice.best)}: {_work(advice.best)}"
                row[f"cannot be told from it by {by}"] = listed([_named(tie) for tie in _tied(advice)] or ["none"])
        rows.append(row)
    return pd.DataFrame([row for row in rows if len(row) > 1]).fillna("")


def in_words(advice: Advice, by: str, budget: float) -> str:
    """A recommendation as text: the best, what a budget buys, what cannot be told from it, and all the others."""
    lines = []
    if len(advice.noiseless):
        names = [_named(row) for row in advice.noiseless.itertuples()]
        lines.append(f"no variance is left of {listed(names)}{'' if advice.best is None else '; of the others'}")
    if advice.best is not None:
        lines += _best_in_words(advice.best, by, budget)
        tied = [f"{_named(row)} ({_ratio(row)})" for row in _tied(advice)]
        lines.append(f"cannot be told from it: {', '.join(tied) or 'none'}")
        worse = advice.others[advice.others["verdict"] == "worse"]
        ratio = f"{WORK[by].partition(',')[0]}, relative to the best"
        table = pd.DataFrame([{"worse": _named(row), ratio: _ratio(row)} for row in worse.itertuples()])
        lines += [f"\n{table.to_markdown(index=False, disable_numparse=True)}\n"] if len(table) else []
    return "\n".join(lines + [f"left out, {reason}: {names}" for reason, names in _by_reason(advice.left_out)])


def _best_in_words(best: pd.Series, by: str, budget: float) -> list[str]:
    """Variance, work and bias of the best, and what a budget buys with it."""
    row = best.to_frame().T
    lines = [f"{_named(best)}: variance {text_of(row, 'variance')[0]} of one estimate"]
    if np.isfinite(budget):
        count = int(budget // float(best[by]))
        lines.append(f"with {number(budget)} {by}: the mean of {count} such estimates, variance {_work(best)}")
    else:
        lines[0] += f", {WORK[by]}: {_work(best)}"
    found = f"{100 * float(best['bias_detectable']):.3g} % of the exact gradient's norm would have been found"
    return [*lines, f"its bias: {bias_text(row)[0]}, {best['verdict']}; {found}"]


def _named(row: Any) -> str:
    return f"{row.estimator} (S = {row.num_samples})"


def _work(best: pd.Series) -> str:
    return interval(float(best["work"]), float(best["work_low"]), float(best["work_high"]))


def _ratio(row: Any) -> str:
    return interval(row.ratio, row.ratio_low, row.ratio_high)


def _tied(advice: Advice) -> list[Any]:
    others = advice.others
    return list(others[others["verdict"] == "not distinguishable"].itertuples())


def _by_reason(left_out: dict[str, str]) -> list[tuple[str, str]]:
    """The reasons for leaving estimators out, each with their names."""
    reasons = dict.fromkeys(left_out.values())
    return [(reason, ", ".join(name for name, why in left_out.items() if why == reason)) for reason in reasons]
