"""Crossings of variance curves, against roots of the curves themselves."""

from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq

from benchmarks import labels, store
from benchmarks.exact import exact_moments
from benchmarks.overtaking import crossings, geometric, swept
from benchmarks.problems.gaussian_cost import GaussianCost
from estimators.pathwise import reparam
from estimators.score_function import score

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(180)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
COSTS = {
    "quadratic": (lambda z, k: (z - k) ** 2, lambda z, k: 2 * (z - k)),
    "exponential": (lambda z, k: np.exp(-k * z**2), lambda z, k: -2 * k * z * np.exp(-k * z**2)),
    "cosine": (lambda z, k: np.cos(k * z), lambda z, k: -k * np.sin(k * z)),
}
BELOW = [0.1, 0.125, 0.16, 0.2, 0.25, 0.315, 0.4]
WITHIN = [0.5, 0.56, 0.63, 0.71, 0.8, 0.9, 1, 1.12, 1.25, 1.4, 1.6, 1.8, 2, 2.24, 2.5, 2.8, 3.15, 3.55, 4, 4.5, 5]
GRIDS = {
    "quadratic": np.linspace(-3, 3, 25),
    "exponential": np.array([*BELOW, *WITHIN, 6.3, 8, 10]),
    "cosine": np.array(WITHIN),
}


def curve(name, k, function, spread=0.0, problem="cost", **values):
    """Rows of an estimator whose variance is function(k), with an interval of a given spread."""
    rows = []
    for x in k:
        variance = function(x)
        cell = {"estimator": name, "problem": f"{problem}(k={x})", "point": "init", "latent_dim": 1, "num_samples": 1}
        cell |= {"seed": 0, "device": "cpu", "dtype": "float32", "group": "all", "status": "ok", "variance": variance}
        cell |= {"variance_low": variance * (1 - spread), "variance_high": variance * (1 + spread)}
        rows.append(cell | values)
    return rows


def variance(cost, group, pathwise, k):
    """Of one draw, z = 1 + eps, by a Gauss-Hermite rule of 180 nodes."""
    f, slope = COSTS[cost]
    score_of = NODES if group == "loc" else NODES**2 - 1
    change = 1.0 if group == "loc" else NODES
    g = slope(1 + NODES, k) * change if pathwise else f(1 + NODES, k) * score_of
    return float(WEIGHTS @ g**2 - (WEIGHTS @ g) ** 2)


def roots(cost, group):
    """Every k within the grid where the two variances are equal."""

    def difference(k):
        return np.log(variance(cost, group, True, k) / variance(cost, group, False, k))

    fine = np.linspace(GRIDS[cost][0], GRIDS[cost][-1], 400)
    signs = [difference(k) for k in fine]
    ends = zip(pairwise(fine), pairwise(signs), strict=True)
    return [brentq(difference, *interval) for interval, (left, right) in ends if left * right < 0]


@pytest.mark.parametrize("cost", COSTS)
def test_pathwise_overtakes_score_where_their_exact_variances_are_equal(cost):
    """By the suite's own exact moments on the experiments' grids, to three digits; by quadrature where it has none."""
    rows = []
    for name, estimator in (("reparam", reparam), ("score", score)):
        for k in GRIDS[cost]:
            problem = GaussianCost(1, cost, k=float(k))
            exact = exact_moments(estimator, problem, problem.at("init"), 1)
            assert exact or k > 1
            for group, part in problem.groups.items():
                by_hand = variance(cost, group, name == "reparam", k)
                total = float(exact.variance[part].sum()) if exact else by_hand
                assert total == pytest.approx(by_hand, rel=1e-6)
                ends = {"variance_low": total * (1 - 1e-9), "variance_high": total * (1 + 1e-9)}
                rows += curve(name, [k], lambda _, total=total: total, problem=f"cost_{cost}", group=group, **ends)
    found = crossings(pd.DataFrame(rows))
    assert set(found["problem"]) <= {f"cost_{cost}"}
    for group in ("loc", "log_scale"):
        part = found[found["group"] == group].sort_values("value")
        expected = roots(cost, group)
        assert list(part["value"]) == pytest.approx(expected, rel=5e-4)
        assert all(
            low <= root <= high for low, high, root in zip(part["value_low"], part["value_high"], expected, strict=True)
        )
        assert ((part["value_high"] - part["value_low"]) < 0.02 * part["value"].abs()).all()
        if expected:
            assert part["below"].iloc[0] == "reparam"
    assert len(found) == {"quadratic": 0}.get(cost, len(found))
    assert (len(found) > 0) == (cost != "quadratic")


def test_the_known_crossing_of_two_powers():
    """k^2 and 3 k^-1 meet at 3^(1/3); logarithms of powers are lines, so that the spline is exact."""
    k = np.geomspace(0.1, 10, 7)
    rows = curve("b", k, lambda x: x**2) + curve("a", k, lambda x: 3 / x)
    assert swept(pd.DataFrame(rows)) == {row["problem"] for row in rows}
    assert swept(pd.DataFrame(rows[:3])) == set()
    (row,) = crossings(pd.DataFrame(rows)).to_dict("records")
    assert row["value"] == pytest.approx(3 ** (1 / 3), rel=1e-9)
    assert row["value_low"] == pytest.approx(row["value_high"], rel=1e-9)
    assert (row["estimator_a"], row["estimator_b"], row["below"]) == ("a", "b", "b")
    assert (row["problem"], row["option"], row["group"]) == ("cost", "k", "all")


def test_the_interval_is_where_the_difference_may_be_zero():
    """A difference 3 log k + c with half-width h = sqrt(2) log 1.1 crosses within exp(h / 3) either way."""
    k = np.geomspace(0.1, 10, 9)
    rows = curve("a", k, lambda x: 3 / x, variance_low=0.0) + curve("b", k, lambda x: x**2)
    for row in rows:
        row |= {"variance_low": row["variance"] / 1.1, "variance_high": row["variance"] * 1.1}
    (row,) = crossings(pd.DataFrame(rows)).to_dict("records")
    half = np.exp(np.sqrt(2) * np.log(1.1) / 3)
    ends = [row["value_low"], row["value"], row["value_high"]]
    assert ends == pytest.approx([3 ** (1 / 3) / half, 3 ** (1 / 3), 3 ** (1 / 3) * half])


def test_a_coarse_grid_has_an_honest_interval():
    """(1/2 + o^2)/4 and 112.5 on five offsets meet at -21.2: between -30 and -20 is all that can be said."""
    offsets = np.array([-30.0, -20.0, -10.0, 0.0, 10.0])
    rows = curve("a", offsets, lambda o: (0.5 + o**2) / 4) + curve("b", offsets, lambda o: 112.5)
    (row,) = crossings(pd.DataFrame(rows)).to_dict("records")
    assert -30 <= row["value_low"] <= -np.sqrt(449.5) <= row["value_high"] <= -20


def test_no_crossing_is_looked_for_across_a_missing_cell():
    k = np.geomspace(0.1, 10, 8)
    rows = curve("a", k, lambda x: 3 / x) + [row for i, row in enumerate(curve("b", k, lambda x: x**2)) if i != 4]
    assert crossings(pd.DataFrame(rows)).empty


def test_two_crossings_over_an_option_of_either_sign():
    k = np.linspace(-3, 3, 13)
    rows = curve("a", k, lambda x: np.exp(x**2 - 2)) + curve("b", k, lambda x: 1.0, spread=1e-6)
    found = crossings(pd.DataFrame(rows))
    assert list(found["value"]) == pytest.approx([-np.sqrt(2), np.sqrt(2)], rel=1e-9)
    assert list(found["below"]) == ["b", "a"]


def test_curves_that_cannot_be_told_apart_do_not_cross():
    """100 pairs of noisy copies of one curve, within their intervals: noise makes no crossing of them."""
    rng, k = np.random.default_rng(0), np.geomspace(0.1, 10, 9)
    rows = [
        row
        for seed in range(100)
        for name in "ab"
        for row in curve(name, k, lambda x: np.exp(rng.normal(0, 0.02)), spread=0.05, seed=seed)
    ]
    assert len(crossings(pd.DataFrame(rows))) <= 5


def test_a_dip_that_the_spline_alone_makes_is_no_crossing():
    k = np.linspace(-3, 3, 13)
    dip = [abs(x - 0.25) - 0.24 for x in k]
    assert CubicSpline(k, dip)(0.25) < 0 < min(dip)
    rows = curve("a", k, lambda x: np.exp(abs(x - 0.25) - 0.24)) + curve("b", k, lambda x: 1.0)
    assert crossings(pd.DataFrame(rows)).empty


def test_zero_and_infinite_variances_part_the_curves():
    k = np.geomspace(0.1, 10, 12)
    line = partial(curve, "b", k, lambda x: 1.0)
    for odd in (0.0, 1e-33, np.inf, np.nan):
        zeros = curve("a", k, lambda x, odd=odd: odd, variance_low=0.0, variance_high=1e-9 if odd < 1 else odd)
        assert crossings(pd.DataFrame(zeros + line())).empty
    dip = curve("a", k, lambda x: 0.0 if x == k[2] else x**2)
    found = crossings(pd.DataFrame(dip + line()))
    assert list(found["value"]) == pytest.approx([1.0])
    assert crossings(pd.DataFrame(curve("a", k[:3], lambda x: x**2) + curve("b", k[:3], lambda x: 1.0))).empty


def test_other_settings_and_options_are_kept_apart():
    k = np.geomspace(0.1, 10, 7)
    rows = []
    for offset, scale in ((1, 1.0), (5, 4.0)):
        rows += curve("a", k, lambda x: x, problem="c")
        rows += curve("b", k, lambda x, scale=scale: scale, problem="c")
        for row in rows[-2 * len(k) :]:
            row["problem"] = row["problem"].replace("(", f"(offset={offset}, ")
    found = crossings(pd.DataFrame(rows)).sort_values("value")
    assert list(found["problem"]) == ["c(offset=1)", "c(offset=5)"]
    assert list(found["value"]) == pytest.approx([1, 4])
    assert list(found["option"]) == ["k", "k"]


def test_a_value_that_the_label_leaves_out_is_known_from_the_record():
    frame = pd.Series(["c(k=2.0)", "c", "d(x=1e-3, y=-4, z=word)", "odd"], name="problem")
    found = labels.options(frame, {"c": {"k": 1.0}})
    assert list(found["problem.name"]) == ["c", "c", "d", "odd"]
    assert found["problem.k"].tolist()[:2] == [2.0, 1.0]
    assert found["problem.x"][2] == 1e-3
    assert found["problem.y"][2] == -4
    assert "problem.z" not in found
    assert found["problem.k"][2:].isna().all()
    assert labels.numbers({"_target_": "a.b", "k": 2, "on": True, "inner": {"value": 0.5}}) == {
        "k": 2,
        "inner.value": 0.5,
    }
    assert labels.without("c(a=x, k=1)", "k") == "c(a=x)"


def test_spacing():
    assert geometric(pd.Series(np.geomspace(0.1, 10, 5)))
    assert geometric(pd.Series([2, 8, 32, 128]))
    assert not geometric(pd.Series(np.linspace(1, 3, 5)))
    assert not geometric(pd.Series([-1.0, 1.0, 10.0]))


def test_columns_of_results_are_untouched():
    assert not [name for name in store.COLUMNS if "." in name]
