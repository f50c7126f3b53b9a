"""Intervals cover and tests reject as often as they say. Simulations: each bound's false-alarm rate is stated."""

import numpy as np
import pytest
from scipy import stats

from benchmarks import intervals

REPETITIONS = 1000


def sums(x):
    centred = x - x.mean()
    return [float((centred**p).sum()) for p in (2, 3, 4)]


def covered(draw, truth, n):
    hits = 0
    for _ in range(REPETITIONS):
        x = draw(n)
        low, high = intervals.mean_interval(n, float(x.mean()), sums(x))
        hits += low <= truth <= high
    return hits


@pytest.mark.parametrize(
    ("draw", "truth", "n", "claim"),
    [
        (lambda rng, n: rng.standard_normal(n) ** 2, 1.0, 200, 0.95),
        (lambda rng, n: rng.standard_exponential(n), 1.0, 200, 0.95),
        (lambda rng, n: np.exp(rng.standard_normal(n)), np.exp(0.5), 1000, 0.94),
        (lambda rng, n: rng.standard_normal(n) ** 6, 15.0, 20_000, 0.95),
        (lambda rng, n: rng.standard_normal(n) ** 6, 15.0, 1000, 0.94),
        (lambda rng, n: rng.standard_normal(n) ** 8, 105.0, 20_000, 0.94),
    ],
)
def test_mean_interval_covers(draw, truth, n, claim):
    """Binomial test at 1e-4: a coverage of `claim` fails once in 10,000 runs; one 5 % lower fails in 90 %.

    The sixth and eighth powers of a normal are the squared deviations of a score function. Chi-square covers 32 %.
    """
    rng = np.random.default_rng(0)
    hits = covered(lambda m: draw(rng, m), truth, n)
    assert stats.binomtest(hits, REPETITIONS, claim, alternative="less").pvalue > 1e-4


def test_mean_interval_is_not_just_wide():
    """On light-tailed data it has the width of Student's t, to 3 %."""
    x = np.random.default_rng(0).uniform(size=5000)
    low, high = intervals.mean_interval(len(x), float(x.mean()), sums(x))
    student = stats.t.interval(0.95, len(x) - 1, x.mean(), stats.sem(x))
    assert (high - low) / (student[1] - student[0]) == pytest.approx(1, abs=0.03)


def test_a_constant_has_an_interval_of_no_width():
    assert intervals.mean_interval(10, 2.0, [0.0, 0.0, 0.0]) == (2.0, 2.0)


@pytest.mark.parametrize("shape", [-0.2, 0.3, 0.8])
def test_tail_shape_of_a_pareto_tail(shape):
    """The mean of 20 fits on 300 exceedances is within 0.1 (four standard errors)."""
    rng = np.random.default_rng(0)
    n, found = 10_000, []
    for _ in range(20):
        x = np.sort(stats.genpareto.rvs(shape, size=n, random_state=rng))[::-1]
        found.append(intervals.tail_shape(x[:2048], n))
    assert np.mean(found) == pytest.approx(shape, abs=0.1)


def test_tail_shape_needs_values():
    assert np.isnan(intervals.tail_shape(np.ones(10), 10))
    assert np.isnan(intervals.tail_shape(np.ones(2048), 100_000))


TAILS = {
    "no variance of the values": (lambda rng, n: rng.standard_t(3, n) ** 2, 0.5, 1.0),
    "no mean of the values": (lambda rng, n: rng.standard_cauchy(n) ** 2, 1.0, np.inf),
    "eighth power of a normal": (lambda rng, n: rng.standard_normal(n) ** 8, -np.inf, 0.5),
    "twelfth power of a normal": (lambda rng, n: rng.standard_normal(n) ** 12, -np.inf, 1.0),
    "light": (lambda rng, n: rng.standard_normal(n) ** 2, -np.inf, 0.5),
}


@pytest.mark.parametrize("name", TAILS)
def test_a_tail_that_lasts_is_told_from_one_that_looks_heavy(name):
    """20,000 values, 50 times; 45 must be right. Measured: 48 or more of 50 in each case."""
    draw, least, most = TAILS[name]
    rng = np.random.default_rng(0)
    n = 20_000
    shapes = [intervals.lasting_shape(np.sort(draw(rng, n))[::-1][:2048], n) for _ in range(50)]
    assert sum(least <= shape < most for shape in shapes) >= 45


def test_hall_and_its_inverse():
    z = np.linspace(-4, 4, 9)
    for skewness in (0.0, 1e-9, 0.3, -0.3):
        np.testing.assert_allclose(intervals.hall(intervals.hall_inverse(z, skewness), skewness), z, atol=1e-8)


def test_degrees_of_freedom_of_a_variance():
    """A Gaussian's (kurtosis 3) are n - 1; the chi-square's relative variance 2/nu is (kurtosis - 1)/n otherwise."""
    assert intervals.degrees(1000, 3.0) == 999
    assert intervals.degrees(1000, 201.0) == 10
    assert intervals.degrees(1000, 1.0) == 999
    assert intervals.degrees(2, np.nan_to_num(np.nan)) == 1


def test_product_adds_relative_errors():
    assert intervals.product((10.0, 9.0, 12.0), (2.0, 2.0, 2.0)) == pytest.approx((18.0, 24.0))
    assert intervals.product((10.0, 10.0, 10.0), (2.0, 1.0, 4.0)) == pytest.approx((10.0, 40.0))
    low, high = intervals.product((10.0, 5.0, 20.0), (2.0, 1.0, 4.0))
    assert high / 20 == pytest.approx(2 ** np.sqrt(2))
    assert low * high == pytest.approx(400)
    assert intervals.product((0.0, 0.0, 1.0), (2.0, 1.0, 3.0)) == (0.0, 2.0)
    assert intervals.product((np.inf,) * 3, (2.0, 1.0, 3.0)) == (np.inf, np.inf)
