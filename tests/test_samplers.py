"""Samplers: where the draws are placed, exactly; and that each by itself follows q."""

import math

import pytest
import torch
from scipy import stats
from torch.distributions import Bernoulli, Exponential, Gamma, Independent, MultivariateNormal, Normal

from benchmarks.engine import leaf
from benchmarks.problems.gaussian_cost import GaussianCost
from estimators.core import Unsupported, choice
from estimators.finite import _logistic
from estimators.pathwise import reparam
from estimators.samplers import antithetic, iid, inverse_cdf, latin_hypercube, log_exponential, sobol
from tests.toys import given_noise

PLACED = [antithetic, latin_hypercube, sobol]


def standard(rows, size):
    zeros = torch.zeros(rows, size)
    return Independent(Normal(zeros, zeros + 1), 1)


def uniform(z):
    return torch.special.ndtr(z)


@pytest.mark.parametrize("sampler", [iid, *PLACED])
@pytest.mark.parametrize("size", [1, 3])
def test_each_draw_follows_q(sampler, size):
    """Kolmogorov-Smirnov over 4,000 rows of one draw of four: false alarms 1e-4 each of 32; finds 4.5 % in 90 %."""
    z = sampler(standard(4000, size), 4)
    assert z.shape == (4, 4000, size)
    for s in (0, 3):
        for d in range(size):
            assert stats.kstest(z[s, :, d].numpy(), "norm").pvalue > 1e-4


def test_antithetic_draws_are_mirror_images():
    z = antithetic(standard(5, 2), 6)
    torch.testing.assert_close(z[:3], -z[3:])


@pytest.mark.parametrize("sampler", [latin_hypercube, sobol])
@pytest.mark.parametrize("num_samples", [2, 8, 16])
def test_every_stratum_of_every_coordinate_has_one_draw(sampler, num_samples):
    strata = (uniform(sampler(standard(50, 3), num_samples)) * num_samples).floor().long()
    assert strata.sort(0).values.equal(torch.arange(num_samples)[:, None, None].expand_as(strata))


def test_sobol_is_a_net_in_two_dimensions_and_each_row_has_its_own():
    """16 points of the first two coordinates: one in each box of 4 x 4, 2 x 8 and 8 x 2."""
    u = uniform(sobol(standard(30, 2), 16))
    for a, b in ((4, 4), (2, 8), (8, 2)):
        box = (u[..., 0] * a).floor() * b + (u[..., 1] * b).floor()
        assert box.sort(0).values.equal(torch.arange(16.0)[:, None].expand_as(box))
    assert len(u[0, :, 0].unique()) == 30


@pytest.mark.parametrize("sampler", PLACED)
def test_they_lower_the_variance_of_a_monotone_gradient(sampler):
    """Pathwise, of the mean, for exp(z/2) under N(1, 1), 8 draws: by more than half.

    4,000 rows each, where a ratio of variances has a standard error of 4 %: false alarms below 1e-9.
    """
    problem = GaussianCost(1, "lognormal", k=0.5)
    params = leaf(problem.at("init"), 4000)
    plain, placed = (reparam(problem, params, 8, sampler=s)[:, 0].var() for s in (iid, sampler))
    assert placed < 0.5 * plain


def test_antithetic_doubles_the_variance_of_the_log_scale_of_a_centred_quadratic():
    """Both draws of a pair give the same: variance 8 sigma^4 instead of 4 sigma^4, within 5 standard errors."""
    problem = GaussianCost(1, "quadratic", k=0.0, loc=0.0)
    params = leaf(problem.at("init"), 20_000)
    for sampler, expected in ((iid, 4.0), (antithetic, 8.0)):
        g = reparam(problem, params, 2, sampler=sampler)[:, 1]
        error = (g - g.mean()).square().std() / math.sqrt(len(g))
        assert (g.var() - expected).abs() < 5 * error


def test_the_inverse_carries_the_gradient():
    u = torch.rand(4, 3, 1, dtype=torch.float64)
    rate = torch.full((3, 1), 2.0, requires_grad=True)
    z = inverse_cdf(Independent(Exponential(rate), 1), u)
    torch.testing.assert_close(z, -(1 - u).log() / 2)
    torch.testing.assert_close(torch.autograd.grad(z.sum(), rate)[0], -z.sum(0) / 2)


def test_the_inverse_of_a_full_gaussian_has_its_covariance():
    """4,000 draws: each entry within 5 standard errors (false alarms 6e-7 an entry)."""
    tril = torch.tensor([[1.0, 0.0], [0.8, 0.3]])
    z = iid(MultivariateNormal(torch.zeros(1, 2), scale_tril=tril[None]), 4)
    assert z.shape == (4, 1, 2)
    z = sobol(MultivariateNormal(torch.zeros(4000, 2), scale_tril=tril.expand(4000, 2, 2)), 1)[0]
    products = z[:, :, None] * z[:, None, :]
    assert ((products.mean(0) - tril @ tril.T).abs() < 5 * products.std(0) / math.sqrt(4000)).all()


def test_a_coin_is_a_threshold():
    u = torch.tensor([[[0.2], [0.6]]])
    assert inverse_cdf(Independent(Bernoulli(torch.full((2, 1), 0.5)), 1), u).equal(torch.tensor([[[1.0], [0.0]]]))


def test_a_category_is_the_share_that_its_uniform_is_in():
    """Also at the shares' ends, and never a category without a share."""
    probs = torch.tensor([0.25, 0.0, 0.5, 0.25, 0.0])
    u = torch.tensor([0.0, math.nextafter(0.25, 0), 0.25, 0.7, 0.75, math.nextafter(1, 0)])
    for dtype in (torch.float32, torch.float64):
        found = choice(3 * probs, u.clamp(max=1 - torch.finfo(dtype).eps / 2).to(dtype)[:, None])
        expected = [0, 2, 2, 2, 3, 3] if dtype == torch.float32 else [0, 0, 2, 2, 3, 3]
        assert found.double().argmax(-1).tolist() == expected
        assert found.sum(-1).eq(1).all()


@pytest.mark.parametrize(("noise", "law"), [(log_exponential, "gumbel_l"), (_logistic, "logistic")])
def test_noise_follows_its_law_and_is_finite_at_the_ends(noise, law, monkeypatch):
    """Kolmogorov-Smirnov over 10,000 draws: false alarms 1e-4 each; finds 3 % with 90 %."""
    assert stats.kstest(noise(torch.empty(10_000)).numpy(), law).pvalue > 1e-4
    for dtype in (torch.float32, torch.float64):
        ends = torch.tensor([0, 1 - torch.finfo(dtype).eps / 2], dtype=dtype)
        given_noise(monkeypatch, rand=[ends])
        assert noise(ends).isfinite().all()
        monkeypatch.undo()


def test_what_does_not_fit_is_refused_with_a_reason():
    with pytest.raises(Unsupported, match="even num_samples"):
        antithetic(standard(2, 1), 3)
    ones = torch.ones(2, 1)
    with pytest.raises(Unsupported, match="torch has none for Gamma"):
        sobol(Independent(Gamma(ones, ones), 1), 2)
    with pytest.raises(Unsupported, match="dimensions at most"):
        sobol(standard(1, 30_000), 2)
