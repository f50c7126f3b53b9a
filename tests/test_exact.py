"""Exact moments where they are to be had, against closed forms, and refused where they are not."""

import dataclasses
import math

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, Independent, Laplace, Normal, OneHotCategorical

from benchmarks.engine import latent_dim, leaf
from benchmarks.exact import exact_moments
from benchmarks.measure import measure
from benchmarks.problems.bernoulli import BernoulliCost
from benchmarks.problems.quadratic import Quadratic
from benchmarks.problems.vae import VAE
from estimators.core import Problem, grad
from estimators.pathwise import reparam
from estimators.score_function import score
from tests.cases import ESTIMATORS, PROBLEMS, exact_gradient

QUICK = {"precision": 0.2, "min_replicates": 500, "max_replicates": 4000, "time_budget": 60.0}


class One(Problem):
    """E[f(z)], z of one given family with one parameter."""

    groups = {"theta": slice(0, 1)}
    points = ("init",)

    def __init__(self, family, cost):
        super().__init__()
        self.family = family
        self.cost = cost

    def at(self, point):
        return torch.tensor([0.3])

    def q(self, params):
        return self.family(params[:, 0])

    def f(self, z, q, params):
        return self.cost(z)


def unit_normal(loc):
    return Normal(loc, 1.0)


@pytest.mark.parametrize("name", ["exact", "enumeration"])
def test_what_draws_nothing_has_no_variance_exactly(name):
    problem = PROBLEMS["binary_quadratic"]()
    found = exact_moments(ESTIMATORS[name], problem, problem.at("init"), 1)
    torch.testing.assert_close(found.mean, exact_gradient(problem, problem.at("init")), rtol=1e-12, atol=1e-12)
    assert found.variance.sum() < 1e-24


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("binary_vae", 2),
        ("categorical_vae", 2),
        ("categorical_joint", 2),
        ("sequence_bandit", 2),
        ("shared_bernoulli", 3),
    ],
)
def test_latent_dim_counts_coordinates_whatever_their_categories(name, size):
    problem = PROBLEMS[name]()
    assert latent_dim(problem, problem.at("init")) == size


def test_score_on_exp_and_cos_of_a_normal():
    """f = cos(z): E[f^2 (z - m)^2] = 1/2 (1 + exp(-2) cos(2m) (1 - 4)); the score's mean is -exp(-1/2) sin(m)."""
    m = 0.3
    exact = exact_moments(score, One(unit_normal, torch.cos), torch.tensor([m]), 1)
    second = 0.5 * (1 + math.exp(-2) * math.cos(2 * m) * (1 - 4))
    mean = -math.exp(-0.5) * math.sin(m)
    assert float(exact.mean) == pytest.approx(mean, rel=1e-12)
    assert float(exact.variance) == pytest.approx(second - mean**2, rel=1e-9)
    assert float(exact.variance_error) < 1e-8


@pytest.mark.parametrize(("logits", "num_samples"), [([0.0, 0.0], 1), ([0.4, -0.9, 2.0], 2)])
def test_score_on_bernoulli(logits, num_samples):
    """One coordinate of f b is E[f^2 (b - p)^2] - mean^2, summed by hand over the outcomes of one draw."""
    logits = torch.tensor(logits)
    problem = BernoulliCost(len(logits))
    exact = exact_moments(score, problem, logits, num_samples)
    bits = torch.cartesian_prod(*[torch.arange(2.0)] * len(logits))
    p = logits.sigmoid()
    probability = torch.where(bits == 1, p, 1 - p).prod(1)
    g = (bits - 0.45).square().mean(1)[:, None] * (bits - p)
    mean = probability @ g
    torch.testing.assert_close(exact.mean, mean)
    torch.testing.assert_close(exact.mean, exact_gradient(problem, logits))
    torch.testing.assert_close(exact.variance, (probability @ (g - mean).square()) / num_samples)


@pytest.mark.parametrize("family", [Categorical, OneHotCategorical])
def test_a_categorical_is_enumerated(family):
    """f is 1 for the last of three outcomes: g = 1[last] (1 - p_last) and so on, by hand."""

    class Choice(Problem):
        groups = {"logits": slice(0, 3)}
        points = ("init",)

        def at(self, point):
            return torch.tensor([0.1, 0.5, -1.0])

        def q(self, params):
            return family(logits=params)

        def f(self, z, q, params):
            return (z == 2).double() if family is Categorical else z[..., 2]

    point = Choice().at("init")
    p = point.softmax(0)
    mean = p[2] * (torch.eye(3)[2] - p)
    exact = exact_moments(score, Choice(), point, 1)
    torch.testing.assert_close(exact.mean, mean)
    torch.testing.assert_close(exact.variance, p[2] * (torch.eye(3)[2] - p).square() - mean.square())


def test_what_cannot_be_exact_is_not():
    """A family without a rule, a jump, too many outcomes, noise from elsewhere, a q built anew."""
    point, problem = torch.tensor([0.3]), One(unit_normal, torch.cos)
    generator = torch.Generator().manual_seed(0)

    class Remembers(torch.nn.Module):
        count = 0

        def forward(self, problem, params, num_samples=1):
            self.count += 1
            return reparam(problem, params, num_samples) * self.count

    def noisy(problem, params, num_samples=1):
        return reparam(problem, params, num_samples) + torch.randn(params.shape)

    def hidden(problem, params, num_samples=1):
        return reparam(problem, params, num_samples) + torch.randn(params.shape, generator=generator)

    def rebuilt(problem, params, num_samples=1):
        q = problem.q(params)
        return grad(problem.f(Normal(q.mean, q.stddev).rsample((num_samples,)), q, params), params)

    assert exact_moments(reparam, problem, point, 1) is not None
    for estimator in (noisy, hidden, rebuilt, Remembers()):
        assert exact_moments(estimator, problem, point, 1) is None
    assert exact_moments(score, One(lambda m: Laplace(m, 1.0), torch.cos), point, 1) is None
    assert exact_moments(score, One(unit_normal, lambda z: (z > 1).double()), point, 1) is None
    assert exact_moments(score, Quadratic(8), Quadratic(8).at("init"), 1) is None
    assert exact_moments(score, BernoulliCost(20), torch.zeros(20), 1) is None


def test_a_narrow_peak_is_not_missed():
    """Two coarse rules agree that it is not there; the finest ones do not agree."""
    peak = One(unit_normal, lambda z: z.square() + 3 * torch.exp(-0.5 * ((z - 1.25) / 0.06) ** 2))
    assert exact_moments(score, peak, torch.tensor([0.3]), 1) is None


def test_outcomes_weigh_by_the_q_that_they_were_drawn_from():
    """Importance sampling from other logits: unbiased, and so is the enumeration."""

    def elsewhere(problem, params, num_samples=1):
        proposal, q = problem.q((params + 0.3).detach()), problem.q(params)
        z = proposal.sample((num_samples,))
        weight = (q.log_prob(z) - proposal.log_prob(z)).exp()
        return grad(q.log_prob(z), params, problem.f(z, q, params) * weight)

    problem = BernoulliCost(2)
    exact = exact_moments(elsewhere, problem, problem.at("init"), 2)
    torch.testing.assert_close(exact.mean, exact_gradient(problem, problem.at("init")))


@pytest.mark.parametrize("seed", range(4))
def test_an_event_that_no_replicate_has_met_does_not_contradict(seed):
    """Logits 9: an outcome of probability 1e-4 carries the variance, and is missing from most samples of 2,000."""
    rows = measure(score, BernoulliCost(2), point=torch.tensor([9.0, 9.0]), seed=seed)
    assert {(row["variance_source"], row["status"]) for row in rows} == {("exact", "ok")}
    assert rows[0]["bias_p"] > 0.5


def test_what_is_too_dear_is_left_alone():
    """Four coordinates of a neural decoder: nothing is evaluated."""
    problem = VAE(4, batch_size=1, train_steps=5)
    calls = 0

    def counting(problem, params, num_samples=1):
        nonlocal calls
        calls += len(params)
        return reparam(problem, params, num_samples)

    assert exact_moments(counting, problem, problem.at("init"), 1) is None
    assert calls < 10


def test_an_exact_run_leaves_the_estimators_memory_alone():
    class Counts(torch.nn.Module):
        calls = 0

        def forward(self, problem, params, num_samples=1):
            self.calls += 1
            return reparam(problem, params, num_samples)

    estimator = Counts()
    assert exact_moments(estimator, Quadratic(1), torch.zeros(2), 1) is not None
    assert estimator.calls == 0


def test_a_variance_that_does_not_exist_is_not_exact():
    """f = exp(z^2 / 4): f has a mean, f^2 has none."""
    assert exact_moments(score, One(unit_normal, lambda z: (z.square() / 4).exp()), torch.tensor([0.0]), 1) is None


def test_draws_may_be_taken_in_parts():
    """Two calls of q.sample are two draws: the mean of two halves is the whole."""

    def halves(problem, params, num_samples=2):
        return (reparam(problem, params, num_samples // 2) + reparam(problem, params, num_samples // 2)) / 2

    problem = PROBLEMS["quadratic_general"]()
    whole, parts = (exact_moments(e, problem, problem.at("init"), 2) for e in (reparam, halves))
    torch.testing.assert_close(whole.variance, parts.variance)


def test_a_cell_uses_it_and_says_so():
    rows = measure(score, Quadratic(1), **QUICK)
    assert {(row["variance_source"], row["status"]) for row in rows} == {("exact", "ok")}
    assert [row["variance"] for row in rows] == pytest.approx([30.0, 136.0, 166.0], rel=1e-12)
    assert all(row["variance_low"] <= row["variance"] <= row["variance_high"] for row in rows)
    assert all(row["bias_p"] > 0.5 and row["bias_detectable"] < 1e-9 for row in rows)
    sampled = measure(score, Quadratic(1), exact=False, **QUICK)
    assert {row["variance_source"] for row in sampled} == {"sampled"}


def test_an_exact_bias_is_found_however_small():
    def off(problem, params, num_samples=1):
        return reparam(problem, params, num_samples) + 1e-6

    row = measure(off, Quadratic(1), **QUICK)[0]
    assert row["bias_p"] < 1e-9
    assert row["bias_low"] <= 1e-6 <= row["bias_high"]
    assert row["bias"] == pytest.approx(1e-6, rel=1e-6)


@pytest.mark.parametrize(("shift", "factor"), [(0.5, 1.0), (0.0, 0.5)])
def test_replicates_that_contradict_the_exact_moments_win(monkeypatch, shift, factor):
    """Should quadrature err: a mean that is off by 5.9 standard errors, or half the variance, is not believed."""

    def wrong(*arguments):
        found = exact_moments(*arguments)
        return dataclasses.replace(found, mean=found.mean + shift, variance=factor * found.variance)

    monkeypatch.setattr("benchmarks.measure.exact_moments", wrong)
    rows = measure(score, Quadratic(1), **(QUICK | {"min_replicates": 50_000, "max_replicates": 50_000}))
    assert {row["variance_source"] for row in rows} == {"sampled"}


def test_a_batch_of_draws_with_an_event_of_two_axes():
    """Independent over two axes: B x D coordinates."""

    class Grid(Problem):
        groups = {"logits": slice(0, 4)}
        points = ("init",)

        def at(self, point):
            return torch.tensor([0.1, 0.5, -1.0, 0.0])

        def q(self, params):
            return Independent(Bernoulli(logits=params.reshape(-1, 2, 2)), 2)

        def f(self, z, q, params):
            return z.sum((-1, -2)) ** 2

        def value(self, params):
            p = params.sigmoid()
            return p.sum(-1) ** 2 + (p * (1 - p)).sum(-1)

    problem = Grid()
    exact = exact_moments(score, problem, problem.at("init"), 2)
    torch.testing.assert_close(exact.mean, exact_gradient(problem, problem.at("init")))
    assert leaf(problem.at("init"), 1).shape == (1, 4)
