"""Estimators for finite coordinates: the laws of what they draw, and the weights that go with it."""

import math
from decimal import Decimal, localcontext
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from benchmarks.engine import leaf
from estimators import beams
from estimators.copulas import dirichlet, gaussian
from estimators.finite import OneHot
from estimators.outcome_sets import (
    importance,
    importance_normalised,
    importance_with_baseline,
    unordered,
    unordered_with_baseline,
)
from estimators.samplers import systematic
from tests.toys import TOYS

TINY = 1e-5  # the least p-value of a test: its false-alarm rate


# Copulas.

P = [1e-6, 0.01, 0.3, 0.5, 0.7, 0.99]


def both_rare(copula, r, count):
    """Probability that two draws are both the rarer outcome, from the definitions of the copulas."""
    if copula is dirichlet:  # P(d1 > a, d2 > a) = (1 - 2a)^(S-1) where that is a power of something positive
        return max(2 * r ** (1 / (count - 1)) - 1, 0.0) ** (count - 1)
    if count == 2:  # x and -x
        return 0.0
    rho, h = -1 / (count - 1), stats.norm.ppf(r)

    def density(x):
        return stats.norm.pdf(x) * stats.norm.cdf((h - rho * x) / math.sqrt(1 - rho**2))

    return integrate.quad(density, -40, h, epsabs=0, epsrel=1e-11, limit=200)[0]


@pytest.mark.parametrize("count", [2, 3, 5, 8])
@pytest.mark.parametrize("copula", [dirichlet, gaussian])
def test_the_correlation_of_a_copula_is_the_closed_form(copula, count):
    debias = copula(torch.tensor(P), count)[1]
    for p, found in zip(P, debias.tolist(), strict=True):
        r = min(p, 1 - p)
        rho = (both_rare(copula, r, count) - r**2) / (r * (1 - r))
        assert rho <= 0
        assert found == pytest.approx(1 / (1 - rho), rel=1e-9)


def test_the_normal_copula_agrees_with_scipys_bivariate_distribution():
    for count in (3, 5, 8):
        debias = gaussian(torch.tensor(P[1:4]), count)[1]
        for r, found in zip(P[1:4], debias.tolist(), strict=True):
            rho = -1 / (count - 1)
            both = stats.multivariate_normal.cdf([stats.norm.ppf(r)] * 2, cov=[[1, rho], [rho, 1]])
            assert found == pytest.approx((r - r**2) / (r - both), rel=1e-5)


@pytest.mark.parametrize("count", [2, 3, 5, 8])
@pytest.mark.parametrize("copula", [dirichlet, gaussian])
def test_the_draws_of_a_copula_have_its_marginals_and_its_correlation(copula, count):
    """Binomial tests over 100,000 draws of heads of the first and of the last draw, and of two pairs both rare.

    False alarms 1e-5 each, 0.2 % over all 192. At p = 0.3 finds a marginal that is 0.009 off in 95 % of runs.
    """
    n = 100_000
    b = copula(torch.tensor(P).expand(n, len(P)), count)[0]
    assert ((b == 0) | (b == 1)).all()
    for i, p in enumerate(P):
        for s in (0, -1):
            assert stats.binomtest(int(b[s, :, i].sum()), n, p).pvalue > TINY
        rare = b[..., i] == (p <= 0.5)
        both = both_rare(copula, min(p, 1 - p), count)
        for s, t in ((0, 1), (0, -1)):
            together = int((rare[s] & rare[t]).sum())
            assert stats.binomtest(together, n, both).pvalue > TINY if both > 0 else together == 0


# Outcomes of all coordinates together.


def every_outcome(N, C):
    index = torch.cartesian_prod(*[torch.arange(C)] * N).reshape(-1, N)
    return torch.nn.functional.one_hot(index, C).double()


def numbered(y):
    """One-hot outcomes (..., N, C) as numbers."""
    N, C = y.shape[-2:]
    return (y.argmax(-1) * C ** torch.arange(N - 1, -1, -1)).sum(-1)


def small_domain():
    """Log-probabilities of two coordinates with three categories: nine outcomes."""
    return torch.tensor([[0.3, -0.7, 1.1], [-1.0, 0.4, 0.2]]).log_softmax(-1)


def test_the_law_of_drawing_without_replacement():
    """Chi-square over all 504 ordered triples of the nine outcomes of two coordinates, 200,000 draws; with a p-value
    above 1e-5. Finds a total variation of 0.03 in all runs. The largest perturbed log-probability is Gumbel, the
    gaps between arrivals e^-score are exponential with the rate of what is left: Kolmogorov-Smirnov, 1e-5 each, finds
    a distance of 0.01."""
    n = 200_000
    y, scores = beams.without_replacement(small_domain().expand(n, 2, 3), 3)
    first, second, third = numbered(y)
    p = (every_outcome(2, 3) * small_domain()).sum((-2, -1)).exp()
    observed = torch.bincount(81 * first + 9 * second + third, minlength=729).reshape(9, 9, 9)
    triples = list(permutations(range(9), 3))
    expected = torch.stack([p[a] * p[b] / (1 - p[a]) * p[c] / (1 - p[a] - p[b]) for a, b, c in triples])
    seen = torch.stack([observed[a, b, c] for a, b, c in triples])
    assert seen.sum() == n
    assert stats.chisquare(seen, n * expected / expected.sum()).pvalue > TINY
    assert stats.chisquare(torch.bincount(first, minlength=9), n * p / p.sum()).pvalue > TINY
    arrivals = (-scores).exp()
    gaps = torch.cat([arrivals[:1], arrivals.diff(dim=0)])
    rates = torch.stack([torch.ones(n), 1 - p[first], 1 - p[first] - p[second]])
    for gap, rate in zip(gaps, rates, strict=True):
        assert stats.kstest((gap * rate)[:50_000].numpy(), stats.expon.cdf).pvalue > TINY


@pytest.mark.parametrize(("N", "C"), [(1, 5), (3, 2), (2, 4), (4, 3)])
def test_the_most_likely_are_the_first_of_all_sorted(N, C):
    logits = (2 * torch.randn(20, 2, N, C)).log_softmax(-1)
    every = every_outcome(N, C)
    scores = torch.einsum("knc,lbnc->lbk", every, logits)
    for count in (1, 3, C**N, C**N + 2):
        found = beams.most_likely(logits, count)
        best = scores.topk(min(count, C**N), -1).indices.movedim(-1, 0)
        assert numbered(found).equal(best)


@pytest.mark.parametrize("excluded", [[4], [0, 7, 3], [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5, 6, 7]])
def test_the_remainder_has_the_law_of_what_is_left(excluded):
    """Chi-square over 100,000 draws, p-value above 1e-5; what is excluded never comes."""
    y = every_outcome(2, 3)
    n = 50_000
    drawn = beams.remainder(small_domain().expand(n, 2, 3), y[excluded][:, None].expand(-1, n, 2, 3), 2)
    counts = torch.bincount(numbered(drawn).flatten(), minlength=9)
    assert (counts[excluded] == 0).all()
    left = [i for i in range(9) if i not in excluded]
    p = (y * small_domain()).sum((-2, -1)).exp()[left]
    assert counts[left].sum() == 2 * n
    assert len(left) == 1 or stats.chisquare(counts[left], 2 * n * p / p.sum()).pvalue > TINY


@pytest.mark.parametrize("toy", TOYS)
def test_systematic_draws_each_follow_q(toy):
    """Every draw by itself: chi-square of each coordinate over 40,000 rows, p-value above 1e-5. Together, equally far
    apart: the number of draws of a category is S q, rounded up or down."""
    problem = TOYS[toy]()
    q = problem.q(leaf(problem.at("init"), 40_000))
    z = systematic(q, 3).detach()
    if problem.coins:
        z = torch.stack([1 - z, z], -1)
    z = z.reshape(3, 40_000, -1, problem.shape[2])
    p = OneHot(problem, leaf(problem.at("init"), 1)).logits.exp().detach().reshape(-1, problem.shape[2])
    for s in (0, 2):
        for n, share in enumerate(p):
            assert stats.chisquare(z[s, :, n].sum(0), 40_000 * share / share.sum()).pvalue > TINY
    assert ((z.sum(0) - 3 * p).abs() < 1 + 1e-9).all()


# Noise given the outcome.


def test_noisy_logits_given_the_category_are_those_that_gave_it():
    """Two-sample Kolmogorov-Smirnov of every coordinate of every outcome's noisy logits, against those that were drawn
    with it: 40,000 draws, p-values above 1e-5, 0.04 % over all 38. Finds a distance of 0.06 where an outcome has a
    tenth of the draws."""
    for toy in ("coins", "categories"):
        problem = TOYS[toy]()
        q = OneHot(problem, leaf(problem.at("init"), 40_000))
        x = q.perturbed(1)
        y = q.hard(x)
        again = q.given(y)
        assert q.hard(again).equal(y)
        x, y, again = (v.detach()[0] for v in (x, y, again))
        for n in range(y.shape[1]):
            for c in range(y.shape[2]):
                came = y[:, n, c] > 0
                for i in range(y.shape[2]):
                    assert stats.ks_2samp(x[came, n, i], again[came, n, i]).pvalue > TINY


# Weights of an unordered set.


def in_every_order(p, base):
    """Probability that as many distinct draws are just these, from outcomes with `base` in all: over all orders."""
    total = Decimal(0)
    for order in permutations(p):
        left, product = base, Decimal(1)
        for each in order:
            product *= each / left
            left -= each
        total += product
    return total


def by_brute_force(log_p):
    """w_s and the baseline's w_t|s, in 80 digits; w_t|s is the weight of t where s is no outcome."""
    p, one = [Decimal(x).exp() for x in log_p.tolist()], Decimal(1)
    whole = in_every_order(p, one)
    weights, others = [], torch.zeros(len(p), len(p))
    for s, first in enumerate(p):
        rest = p[:s] + p[s + 1 :]
        without = in_every_order(rest, one - first)
        weights.append(float(first * without / whole))
        for t, second in enumerate(p):
            if t != s:
                left = [x for i, x in enumerate(p) if i not in (s, t)]
                others[s, t] = float(second * in_every_order(left, one - first - second) / without)
    return torch.tensor(weights), others


def nearly_one(epsilon, *others):
    return [math.log1p(-epsilon), *[math.log(epsilon * x) for x in others]]


def logs(*p):
    return [math.log(x) for x in p]


SETS = {
    "one": logs(0.3),
    "two": logs(0.3, 0.25),
    "three": logs(0.5, 0.01, 0.2),
    "four": logs(0.05, 0.4, 0.1, 0.2),
    "five": logs(0.1, 0.2, 0.3, 0.15, 0.05),
    "equal": logs(*[1 / 6] * 5),
    "rare": logs(1e-12, 1e-11, 3e-10),
    "mixed": logs(1e-30, 1e-20, 1e-12, 0.3, 0.1),
    "nearly all": logs(0.5, 0.3, 0.2 - 1e-9),
    "saturated": nearly_one(1e-6, 0.3, 0.2),
    "more saturated": nearly_one(1e-10, 0.3, 0.2, 1e-4),
    "most saturated": nearly_one(1e-20, 0.3, 0.2),
}


@pytest.mark.parametrize("name", SETS)
def test_weights_of_unordered_sets_are_those_over_all_orders(name):
    """To 1e-9, relative; beside a probability that is one in float64, what is left is known to 1e-16 absolutely."""
    log_p = torch.tensor(SETS[name])
    absolute = 1e-15 if "saturated" in name else 0.0
    with localcontext() as context:
        context.prec = 80
        weight, others = by_brute_force(log_p)
    S = len(log_p)
    f = torch.eye(S)[:, :, None]  # one column a cost, of one outcome alone
    column = log_p[:, None, None].expand(S, S, 1)
    found = unordered(column, column[0], f)
    torch.testing.assert_close(found[1][:, 0, 0], weight, rtol=1e-9, atol=absolute)
    torch.testing.assert_close(found[0][..., 0], weight.diag(), rtol=1e-9, atol=absolute)
    if S > 1:
        signal = unordered_with_baseline(column, column[0], f)[0][..., 0]
        p = log_p.exp()
        expected = weight[:, None] * (torch.diag(1 - p) - others)
        torch.testing.assert_close(signal, expected, rtol=1e-9, atol=absolute + 1e-15 * float(weight.max()))


@pytest.mark.parametrize("S", [2, 8, 16, 31, 32])
def test_weights_of_large_sets_add_up_to_one(S):
    """Those of the baseline too: it is the cost where that is constant. The last S is the whole domain."""
    for scale in (0.0, 1.0, 5.0):
        log_p = (scale * torch.randn(32, 10)).log_softmax(0)
        log_p = log_p.gather(0, torch.rand(32, 10).argsort(0))[:S]
        weight = unordered(log_p, log_p[0], torch.ones(S, 10))[1]
        torch.testing.assert_close(weight.sum(0), torch.ones(10), rtol=0, atol=1e-9)
        signal = unordered_with_baseline(log_p, log_p[0], torch.ones(S, 10))[0]
        torch.testing.assert_close(signal, torch.zeros(S, 10), rtol=0, atol=1e-9)


@pytest.mark.parametrize("log_p", [-300 * math.log(2), -1200 * math.log(2), -3000.0])
def test_weights_of_outcomes_that_are_all_but_impossible(log_p):
    """Four alike outcomes of long vectors, with less probability than float64 has: draws are as good as independent.

    Each has the weight 1/4, less the mean of the others; or e^threshold, the limit of p / (1 - exp(-p e^-threshold)).
    """
    log_p, threshold = torch.full((4, 2), log_p), torch.tensor([0.7, -1.4])
    f = torch.tensor([[1.0, 2.0, -3.0, 0.5], [0.0, 1.0, 1.0, 4.0]]).T
    signal, weight = unordered(log_p, threshold, f)
    torch.testing.assert_close(weight, torch.full((4, 2), 0.25), rtol=1e-9, atol=0)
    torch.testing.assert_close(signal, f / 4, rtol=1e-9, atol=0)
    signal = unordered_with_baseline(log_p, threshold, f)[0]
    torch.testing.assert_close(signal, (f - (f.sum(0) - f) / 3) / 4, rtol=1e-9, atol=1e-12)
    w = threshold.exp()
    signal, weight = importance(log_p, threshold, f)
    torch.testing.assert_close(weight, w.expand(4, 2), rtol=1e-9, atol=0)
    torch.testing.assert_close(signal, w * f, rtol=1e-9, atol=0)
    signal = importance_with_baseline(log_p, threshold, f)[0]
    torch.testing.assert_close(signal, w * (f * (1 + w) - w * f.sum(0)), rtol=1e-9, atol=1e-12)


def test_normalised_importance_weights_by_hand():
    """Two outcomes of three, p = .5 and .3, threshold 0: w = p / (1 - exp(-p)); each leaves its own excess out."""
    p, f = np.array([0.5, 0.3]), np.array([2.0, -1.0])
    w = p / (1 - np.exp(-p))
    mean = (w * f).sum() / w.sum()
    expected = [w[0] * (f[0] - mean) / (p[0] + w[1]), w[1] * (f[1] - mean) / (p[1] + w[0])]
    log_p = torch.tensor(np.log(p))[:, None]
    signal, weight = importance_normalised(log_p, torch.zeros(1), torch.tensor(f)[:, None])
    np.testing.assert_allclose(signal[:, 0].numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(weight[:, 0].numpy(), w / w.sum(), rtol=1e-12)
