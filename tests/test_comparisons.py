"""Ratios of variances and exponents of growth: they cover, they find, and what has no ratio is left out."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.comparisons import PAIRED, compare, exponents, slope
from benchmarks.measure import measure
from benchmarks.problems.quadratic import Quadratic
from estimators.baselines import constant
from estimators.pathwise import reparam, stl
from estimators.score_function import score

BATCHES = 64


def row(estimator, batches, group="all", **values):
    variance = float(np.mean(batches))
    base = dict.fromkeys(PAIRED, 0) | {"estimator": estimator, "group": group, "status": "ok", "reason": ""}
    base |= {"evaluations": 2.0, "relative_seconds": 3.0, "relative_seconds_low": 3.0, "relative_seconds_high": 3.0}
    for name, scale in (("variance", 1.0), ("work_variance", 2.0), ("work_variance_time", 1e-3)):
        base |= {name: variance * scale, f"{name}_low": 0.9 * variance * scale, f"{name}_high": 1.1 * variance * scale}
    return base | {"variance_source": "sampled", "batch_variances": list(batches)} | values


def simulate(rng, correlated, ratio=1.0):
    common = rng.gamma(20.0, size=BATCHES)
    other = common * rng.gamma(500.0, size=BATCHES) / 500 if correlated else rng.gamma(20.0, size=BATCHES)
    return pd.DataFrame([row("a", ratio * other), row("b", common)])


@pytest.mark.parametrize("correlated", [True, False])
def test_the_interval_of_a_ratio_covers_and_common_draws_narrow_it(correlated):
    """1,000 pairs of estimators with a ratio of 1: coverage, and size at 5 %, by binomial tests at 1e-4."""
    rng = np.random.default_rng(0)
    tables = [compare(simulate(rng, correlated)).iloc[0] for _ in range(1000)]
    covered = sum(t["ratio_low"] <= 1 <= t["ratio_high"] for t in tables)
    rejected = sum(t["p"] < 0.05 for t in tables)
    assert stats.binomtest(covered, 1000, 0.94, alternative="less").pvalue > 1e-4
    assert stats.binomtest(rejected, 1000, 0.065, alternative="greater").pvalue > 1e-4
    width = np.median([t["ratio_high"] - t["ratio_low"] for t in tables])
    expected = 2 * 2 * np.sqrt((1 / 500 if correlated else 2 / 20) / BATCHES)
    assert width == pytest.approx(expected, rel=0.15)


def test_verdicts():
    rng = np.random.default_rng(0)
    same, worse = simulate(rng, True), simulate(rng, True, ratio=2.0)
    assert set(compare(same)["verdict"]) == {"not distinguishable"}
    assert set(compare(worse)["verdict"]) == {"worse"}
    assert set(compare(worse, against="a")["verdict"]) == {"better"}
    assert compare(worse, against="a")["ratio"].iloc[0] == pytest.approx(1 / compare(worse)["ratio"].iloc[0])


def test_equal_evaluations_and_equal_seconds():
    rng = np.random.default_rng(0)
    frame = simulate(rng, True)
    dear = frame["estimator"] == "a"
    frame.loc[dear, "evaluations"] *= 3
    frame.loc[dear, ["relative_seconds_low", "relative_seconds_high"]] = [1.5, 6.0]
    table = compare(frame).set_index("at")
    ratio = table["ratio"]
    assert ratio["equal evaluations"] == pytest.approx(3 * ratio["one estimate"])
    assert ratio["equal seconds"] == pytest.approx(ratio["one estimate"])
    assert table["ratio_high"]["equal seconds"] / ratio["equal seconds"] == pytest.approx(2, rel=0.05)
    assert table["p"]["equal seconds"] > table["p"]["one estimate"]


def test_what_has_no_ratio_is_left_out():
    ones = np.ones(BATCHES)
    zero = row("b", ones, variance_low=0.0)
    failed = row("b", ones, status="failed")
    few = row("b", np.full(BATCHES, np.nan), variance=1.0)
    for other in (zero, failed, few):
        assert compare(pd.DataFrame([row("a", ones), other])).empty
    with pytest.raises(ValueError, match="against=c: choose from a"):
        compare(pd.DataFrame([row("a", ones)]), against="c")


def test_a_variance_that_does_not_exist_is_worse_than_one_that_does():
    infinite = {"variance": np.inf, "variance_low": np.inf, "variance_high": np.inf, "reason": "k: the tail's shape"}
    ones = np.ones(BATCHES)
    table = compare(pd.DataFrame([row("a", ones), row("b", ones, **infinite), row("c", ones, **infinite)]))
    assert set(zip(table["estimator"], table["against"], table["verdict"], strict=True)) == {
        ("a", "b", "better"),
        ("a", "c", "better"),
    }
    assert set(table["ratio"]) == {0.0}


def test_nothing_is_distinguished_where_no_interval_holds():
    ones = np.ones(BATCHES)
    table = compare(pd.DataFrame([row("a", ones), row("b", 9 * ones, reason="the tail is too heavy")]))
    assert table["ratio"].to_numpy() == pytest.approx(1 / 9)
    assert table[["ratio_low", "ratio_high", "p"]].isna().all(axis=None)
    assert set(table["verdict"]) == {"not distinguishable"}


def test_measured_rows_compare():
    """One estimator under two names is not distinguishable from itself; a large constant baseline is worse."""
    settings = {"precision": 0.2, "exact": False}
    estimators = {
        "reparam": reparam,
        "stl": stl,
        "score": score,
        "far": partial(score, baseline=partial(constant, value=50)),
    }
    rows = [r for name, e in estimators.items() for r in measure(e, Quadratic(3), estimator_name=name, **settings)]
    table = compare(pd.DataFrame(rows), against="score").set_index(["estimator", "group", "at"])
    assert table.loc[("far", "all", "one estimate"), "verdict"] == "worse"
    assert table.loc[("reparam", "all", "equal evaluations"), "verdict"] == "better"
    same = compare(pd.DataFrame(rows), against="stl").query("estimator == 'reparam' and at == 'one estimate'")
    assert set(same["ratio"]) == {1.0}
    assert set(same["verdict"]) == {"not distinguishable"}


def test_exact_variances_compare_without_error():
    rows = [r for e in (reparam, score) for r in measure(e, Quadratic(1), precision=0.2, min_replicates=500)]
    table = compare(pd.DataFrame(rows)).query("at == 'one estimate' and group == 'loc'").iloc[0]
    assert table["ratio"] == pytest.approx(4 / 30, rel=1e-9)
    assert table["ratio_high"] - table["ratio_low"] < 1e-9
    assert table["verdict"] == "better"


def line(rng, sizes, scatter, error):
    x = pd.Series(sizes, dtype=float)
    y = 3 * x**1.5 * np.exp(rng.normal(size=len(x)) * np.hypot(scatter, error))
    return slope(x, y, y * np.exp(-1.96 * error), y * np.exp(1.96 * error))


@pytest.mark.parametrize(("scatter", "claim"), [(0.0, 0.93), (0.1, 0.85)])
def test_the_interval_of_an_exponent_covers(scatter, claim):
    """1,000 lines of four sizes, binomial test at 1e-4; with scatter beyond the points' own errors, about 90 %."""
    rng = np.random.default_rng(0)
    found = np.array([line(rng, [2, 8, 32, 128], scatter, 0.02) for _ in range(1000)])
    covered = ((found[:, 1] <= 1.5) & (found[:, 2] >= 1.5)).sum()
    assert stats.binomtest(int(covered), 1000, claim, alternative="less").pvalue > 1e-4


def test_a_slope_without_error_is_the_power():
    x = pd.Series([1.0, 2.0, 4.0])
    assert slope(x, 5 * x**-2, 5 * x**-2, 5 * x**-2) == pytest.approx((-2, -2, -2), abs=1e-6)
    assert np.isnan(slope(x[:1], x[:1], x[:1], x[:1])).all()
    y = pd.Series([0.0, 2.0, 4.0])
    assert slope(x, y, y, y)[0] == pytest.approx(1)


def test_a_slope_of_zero_with_a_bend():
    """The scatter is all there is: the line still fits, and its interval holds zero."""
    x = pd.Series([1.0, 2.0, 4.0])
    for a in np.random.default_rng(0).uniform(0.1, 2, 300):
        y = pd.Series([a, 0.1, a])
        exponent, low, high = slope(x, y, y, y)
        assert low < exponent < high
        assert exponent == pytest.approx(0, abs=1e-9)


def test_exponents_of_a_grid():
    frame = pd.DataFrame(
        [row("a", np.full(BATCHES, d**2 / s), latent_dim=d, num_samples=s) for d in (2, 4, 8) for s in (1, 4)]
    )
    table = exponents(frame).query("value == 'variance'").set_index("x")["exponent"]
    assert table["latent_dim"].to_numpy() == pytest.approx([2, 2])
    assert table["num_samples"].to_numpy() == pytest.approx([-1, -1, -1])
