"""How many replicates a cell takes, and what it says where no number of them would do."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch.distributions import StudentT

from benchmarks.costs import peak_memory
from benchmarks.measure import measure
from benchmarks.problems.quadratic import Quadratic
from benchmarks.report import load
from benchmarks.store import begin, save
from estimators.core import grad
from estimators.pathwise import reparam
from estimators.score_function import score


def with_tail(degrees):
    """A gradient with Student's t noise: its moments of order `degrees` and above do not exist."""

    def estimator(problem, params, num_samples=1):
        return StudentT(torch.tensor(degrees)).sample(params.shape) + 0 * reparam(problem, params, num_samples)

    return estimator


def rescaled(problem, params, num_samples=1):
    """Importance sampling from a Gaussian half as wide: unbiased, and of truly infinite variance."""
    q = problem.q(params)
    narrow = torch.distributions.Independent(torch.distributions.Normal(q.mean, 0.5 * q.stddev), 1)
    z = narrow.sample((num_samples,))
    weight = (q.log_prob(z) - narrow.log_prob(z)).exp()
    return grad(q.log_prob(z), params, problem.f(z, q, params) * weight)


@pytest.mark.parametrize("estimator", [with_tail(1.0), with_tail(1.5), rescaled])
def test_an_infinite_variance_is_reported_as_none(estimator):
    """200,000 replicates; k is 2, 1.33 and 1.5: 12 standard errors above 1 or more, but for 1.33 (6)."""
    rows = measure(estimator, Quadratic(1), max_replicates=200_000, time_budget=60)
    for row in rows:
        assert row["status"] == "budget"
        assert "the variance does not exist" in row["reason"]
        assert row["variance"] == row["variance_low"] == row["variance_high"] == row["work_variance"] == math.inf
        assert math.isnan(row["bias_p"])
        assert row["tail"] > 1


def test_a_variance_without_a_fourth_moment_is_said_to_have_no_interval(tmp_path):
    """Student's t with 3 degrees: k is 2/3. The report shows it among what was not measured as asked."""
    rows = measure(with_tail(3.0), Quadratic(1), max_replicates=200_000, time_budget=60, estimator_name="t3")
    assert all(row["status"] == "budget" and "no interval at the usual rate exists" in row["reason"] for row in rows)
    assert all(0.5 < row["tail"] < 0.85 and math.isfinite(row["variance"]) for row in rows)
    begin(tmp_path, [], [])
    save(tmp_path, "key", [row | {"key": "key"} for row in rows])
    assert set(load(tmp_path)["status"]) == {"budget"}


def test_a_tail_that_only_looks_heavy_is_not_accused():
    """The score function's squared deviations have all moments, though their k is above 1/2 at any size of sample."""
    rows = measure(score, Quadratic(1), exact=False, precision=0.1)
    assert {row["status"] for row in rows} == {"ok"}
    assert max(row["tail"] for row in rows) > 0.5
    assert all(row["replicates"] > 20 * row["kurtosis"] / 4 for row in rows)


def test_what_any_group_lacks_all_lacks():
    """Noise without variance in the location only."""

    def half(problem, params, num_samples=1):
        g = reparam(problem, params, num_samples)
        return torch.cat([g[:, :1] + StudentT(torch.tensor(1.2)).sample(g[:, :1].shape), g[:, 1:]], 1)

    loc, log_scale, everything = measure(half, Quadratic(1), max_replicates=100_000)
    assert math.isfinite(log_scale["variance"])
    assert (log_scale["status"], everything["status"]) == ("ok", "budget")
    assert loc["variance"] == everything["variance"] == math.inf
    assert everything["reason"] == "loc: " + loc["reason"] or everything["reason"] == loc["reason"]


def test_an_estimator_with_noise_of_its_own_is_not_taken_for_rounding():
    """Two runs on the same stream differ: its variance, 4 D + D, is sampled like any other."""
    rng = np.random.default_rng(0)

    def own(problem, params, num_samples=1):
        return reparam(problem, params, num_samples) + torch.as_tensor(rng.standard_normal(params.shape))

    row = measure(own, Quadratic(8), precision=0.1)[0]
    assert row["status"] == "ok"
    assert row["variance_low"] < 8 * 4 + 8 < row["variance_high"]
    assert row["variance_high"] - row["variance_low"] < 0.2 * row["variance"]
    assert row["bias_detectable"] < 0.3


def test_bias_precision_asks_for_nothing_where_nothing_helps():
    """An exact cell, at a point without a gradient: no replicate would change what could be found."""
    rows = measure(reparam, Quadratic(2), point=torch.tensor([1.0, 1.0, 0.0, 0.0]), bias_precision=0.01)
    assert all(row["replicates"] < 10_000 for row in rows)


def test_bias_precision_is_reached_or_the_row_says_that_it_was_not():
    plain, asked = (measure(score, Quadratic(8), precision=0.5, bias_precision=target)[-1] for target in (None, 0.1))
    assert plain["bias_detectable"] > 0.1 >= asked["bias_detectable"]
    assert asked["replicates"] > plain["replicates"]
    short = measure(score, Quadratic(8), precision=0.5, bias_precision=0.01, max_replicates=5000)[-1]
    assert short["status"] == "budget"
    assert "detectable bias is" in short["reason"]


def test_a_bias_of_the_precision_asked_for_is_found():
    """A planted bias of 10 % of the gradient's norm, in one coordinate: power 90 % or more, so 14 of 20 (1e-3)."""

    def off(problem, params, num_samples=1):
        g = score(problem, params, num_samples)
        g[:, 0] += 0.8
        return g

    found = [
        measure(off, Quadratic(8), precision=0.5, bias_precision=0.1, seed=seed)[-1]["bias_p"] for seed in range(20)
    ]
    assert sum(p < 0.05 for p in found) >= 14


def test_costs_have_intervals_and_memory_is_that_of_the_tensors():
    row = measure(score, Quadratic(4), num_samples=2, precision=0.3)[0]
    assert row["seconds_low"] <= row["seconds"] <= row["seconds_high"]
    assert row["latency_low"] <= row["latency"] <= row["latency_high"]
    assert row["latency"] > row["seconds"]
    assert row["relative_seconds_low"] <= row["relative_seconds"] <= row["relative_seconds_high"]
    assert row["peak_memory"] >= 2 * 4 * 8


def test_peak_memory_is_counted_by_hand():
    """x, then x + 1 beside it, then their sum while both are there: three at most; views cost nothing."""

    def call():
        x = torch.zeros(1000, dtype=torch.float64)
        y = x.reshape(10, 100).T + 1
        z = x.sum() + y.sum()
        del x, y
        return torch.zeros(100, dtype=torch.float64) + z

    assert 16_000 <= peak_memory(call, torch.device("cpu")) < 16_100


def test_rows_of_measure_and_of_a_folder_are_one_frame(tmp_path):
    rows = measure(reparam, Quadratic(2), precision=0.3)
    begin(tmp_path, [], [])
    save(tmp_path, "key", [row | {"key": "key"} for row in rows])
    frame = load(tmp_path)
    assert set(pd.DataFrame(rows)) <= set(frame)
    assert len(frame["batch_variances"].iloc[0]) == 64
