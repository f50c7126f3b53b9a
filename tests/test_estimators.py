"""Estimators: exactly, by hand, and by their identities."""

from functools import partial

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, Independent, Normal, OneHotCategorical

from benchmarks.engine import leaf
from benchmarks.exact import exact_moments
from benchmarks.problems.linear_vae import LinearVAE
from benchmarks.problems.quadratic import Quadratic
from estimators.baselines import constant, leave_one_out
from estimators.core import Problem, Unsupported, grad
from estimators.pathwise import reparam, stl
from estimators.score_function import naive, score
from tests.cases import ESTIMATORS, EXACT, PLAIN, PROBLEMS, exact_gradient, ready


class Coins(Problem):
    """E[(sum_d b_d w_d - 1)^2], b_d Bernoulli(logits): `outcomes`, (S, R, D), are what q draws."""

    groups = {"logits": slice(0, 2)}
    points = ("init",)

    def __init__(self, outcomes=None):
        super().__init__()
        self.outcomes = outcomes

    def at(self, point):
        return torch.tensor([0.4, -0.9])

    def q(self, params):
        q = Independent(Bernoulli(logits=params), 1)
        if self.outcomes is not None:
            q.sample = lambda shape: self.outcomes
        return q

    def f(self, z, q, params):
        return (z @ torch.tensor([1.0, 2.5]) - 1).square()


def every_outcome(num_samples):
    """All outcomes of num_samples draws of two coins, as rows: (S, 4^S, 2)."""
    bits = torch.cartesian_prod(*[torch.arange(2.0)] * (2 * num_samples)).reshape(-1, num_samples, 2)
    return bits.transpose(0, 1)


@pytest.mark.parametrize("num_samples", [1, 2])
@pytest.mark.parametrize("name", ["score", "score_constant", "score_loo"])
def test_score_is_exactly_unbiased_on_every_outcome(name, num_samples):
    if name == "score_loo" and num_samples == 1:
        pytest.skip("leave-one-out needs two draws")
    z = every_outcome(num_samples)
    problem = Coins(z)
    params = leaf(problem.at("init"), z.shape[1])
    probability = problem.q(params).log_prob(z).sum(0).exp()[:, None].detach()
    mean = (probability * ESTIMATORS[name](problem, params, num_samples=num_samples)).sum(0)

    one, outcomes = leaf(problem.at("init"), 1), every_outcome(1)
    expected = (problem.q(one).log_prob(outcomes[0]).exp() * problem.f(outcomes[0], None, one)).sum()
    (exact,) = torch.autograd.grad(expected, one)
    torch.testing.assert_close(mean, exact[0], rtol=0, atol=1e-12)


REPLAYED = [*PLAIN, "score_oracle_mean", "score_optimal", "score_optimal_coordinate", "score_running_mean"]
REPLAYED += ["score_nvil", "reparam_taylor", "reparam_quadratic", "bonnet_price", "exact", "quadrature"]


@pytest.mark.parametrize("problem", EXACT)
@pytest.mark.parametrize("name", REPLAYED)
@pytest.mark.parametrize("num_samples", [1, 2])
def test_mean_is_the_exact_gradient(name, problem, num_samples):
    """By Gauss-Hermite quadrature over the draws: no Monte Carlo. What is learned is as it comes, not tuned."""
    if name == "score_loo" and num_samples == 1:
        pytest.skip("leave-one-out needs two draws")
    problem = PROBLEMS[problem]()
    for point in problem.points:
        estimator = ready(ESTIMATORS[name], problem, problem.at(point))
        mean = exact_moments(estimator, problem, problem.at(point), num_samples).mean
        exact = exact_gradient(problem, problem.at(point))
        torch.testing.assert_close(mean, exact, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("problem", EXACT)
def test_naive_is_right_for_the_decoder_and_misses_the_score_term_elsewhere(problem):
    problem = PROBLEMS[problem]()
    point = problem.at("init")
    mean = exact_moments(naive, problem, point, 1).mean
    exact = exact_gradient(problem, point)
    params = leaf(point, 1)
    known = grad(problem.known(params)[None], params)[0]
    for name, group in problem.groups.items():
        expected = exact[group] if name == "decoder" else known[group]
        torch.testing.assert_close(mean[group], expected, rtol=1e-9, atol=1e-9)
        assert name == "decoder" or (exact[group] - known[group]).norm() > 0.1


def test_quadratic_single_draw_by_hand():
    problem = PROBLEMS["quadratic_general"]()
    A = (problem.A + problem.A.T) / 2
    params = leaf(problem.at("init"), 5)
    loc, scale = problem.loc, problem.log_scale.exp()
    torch.manual_seed(1)
    z = problem.q(params).sample((1,))[0]
    eps = (z - loc) / scale
    cost = 0.5 * torch.einsum("ri,ij,rj->r", z, A, z) + z @ problem.b + problem.c
    slope = z @ A + problem.b
    for estimator, by_hand in (
        (score, cost[:, None] * torch.cat([eps / scale, eps**2 - 1], 1)),
        (
            partial(score, baseline=partial(constant, value=2.0)),
            (cost[:, None] - 2) * torch.cat([eps / scale, eps**2 - 1], 1),
        ),
        (reparam, torch.cat([slope, slope * scale * eps], 1)),
        (stl, torch.cat([slope, slope * scale * eps], 1)),
        (naive, torch.zeros(5, 4)),
    ):
        torch.manual_seed(1)
        torch.testing.assert_close(estimator(problem, params, num_samples=1), by_hand)


def test_known_variances_of_the_one_dimensional_square():
    """Score: 15 + 14 a^2 + a^4 for the location at scale 1, a = loc - 1; pathwise: 4."""
    problem = Quadratic(1)
    for loc in (0.0, 1.0, -2.0):
        point = torch.tensor([loc, 0.0])
        a = loc - 1
        by_score, by_path = (exact_moments(estimator, problem, point, 1).variance[0] for estimator in (score, reparam))
        torch.testing.assert_close(by_score, torch.tensor(15 + 14 * a**2 + a**4))
        torch.testing.assert_close(by_path, torch.tensor(4.0))


def test_leave_one_out_of_two_is_half_the_product_of_differences():
    problem = Quadratic(3)
    params = leaf(problem.at("init"), 4)
    torch.manual_seed(3)
    q = problem.q(params)
    z = q.sample((2,))
    f = problem.f(z, q, params)
    scores = [torch.autograd.grad(q.log_prob(z[s]).sum(), params, retain_graph=True)[0] for s in range(2)]
    expected = 0.5 * (f[0] - f[1])[:, None] * (scores[0] - scores[1])
    torch.manual_seed(3)
    torch.testing.assert_close(score(problem, params, num_samples=2, baseline=leave_one_out), expected)


def test_sticking_the_landing_is_still_at_the_posterior_and_pathwise_is_not():
    problem = LinearVAE(3, batch_size=8, kl="mc")
    params = leaf(problem.at("optimum"), 64)
    encoder = problem.groups["encoder"]
    assert stl(problem, params)[:, encoder].abs().max() < 1e-9
    assert reparam(problem, params)[:, encoder].var(0).sum() > 1


def test_without_log_q_in_f_sticking_the_landing_is_pathwise():
    problem = LinearVAE(3, batch_size=8)
    params = leaf(problem.at("init"), 4)
    torch.manual_seed(0)
    first = stl(problem, params, num_samples=3)
    torch.manual_seed(0)
    torch.testing.assert_close(first, reparam(problem, params, num_samples=3))


@pytest.mark.parametrize(
    "problem", ["quadratic_general", "linear_vae_small_mc", "bernoulli", "gaussian_target", "moments_exponential"]
)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_rows_never_interact(name, problem):
    """On families that draw as much whatever their parameters: a sampler that rejects would shift later rows."""
    problem = PROBLEMS[problem]()
    point = problem.at("init")
    rows = point.expand(3, -1).clone()
    moved = rows.clone()
    moved[1] += 0.1
    try:
        estimator = ready(ESTIMATORS[name], problem, point)
    except Unsupported:
        return
    gradients = []
    for params in (rows, moved):
        torch.manual_seed(0)
        gradients.append(estimator(problem, params.requires_grad_(), num_samples=2))
    torch.testing.assert_close(gradients[0][[0, 2]], gradients[1][[0, 2]])


@pytest.mark.parametrize("name", ["score", "score_constant", "score_optimal", "reparam", "reparam_taylor", "stl"])
def test_variance_falls_as_one_over_s(name):
    """Exact variances at S = 1, 2 (not so leave-one-out, which has an extra 1/(S(S-1)) term and needs S >= 2)."""
    problem = PROBLEMS["linear_vae_small"]()
    point = problem.at("near")
    estimator = ready(ESTIMATORS[name], problem, point)
    one, two = (exact_moments(estimator, problem, point, s).variance for s in (1, 2))
    torch.testing.assert_close(one, 2 * two)


def test_leave_one_out_needs_two_draws():
    problem = PROBLEMS["linear_vae_small"]()
    with pytest.raises(Unsupported, match="num_samples >= 2"):
        ESTIMATORS["score_loo"](problem, leaf(problem.at("near"), 1))


@pytest.mark.parametrize("estimator", [reparam, stl])
def test_pathwise_refuses_a_discrete_q_with_a_reason(estimator):
    problem = Coins()
    with pytest.raises(Unsupported, match="Bernoulli has none"):
        estimator(problem, leaf(problem.at("init"), 2))


def test_grad_is_the_sample_mean_of_weight_times_gradient():
    params = leaf(torch.tensor([1.0, 2.0]), 3)
    x = torch.randn(4, 3, 2)
    y = (x * params.square()).sum(-1)
    weight = y * y
    expected = (weight.detach()[..., None] * x * 2 * params.detach()).mean(0)
    torch.testing.assert_close(grad(y, params, weight), expected)
    torch.testing.assert_close(grad(x * params.square(), params, weight[..., None]), expected)


def test_grad_of_what_does_not_depend_on_params_is_zero():
    params = leaf(torch.ones(2), 3)
    other = torch.ones(1, 3, requires_grad=True)
    assert grad(torch.ones(1, 3), params).equal(torch.zeros(3, 2))
    assert grad(other * 2, params).equal(torch.zeros(3, 2))


def test_grad_can_be_differentiated_again_through_the_weight():
    params = leaf(torch.tensor([2.0]), 1)
    strength = torch.tensor(3.0, requires_grad=True)
    g = grad(params.square().sum(-1)[None], params, strength, create_graph=True)
    torch.testing.assert_close(torch.autograd.grad(g.sum(), strength)[0], torch.tensor(4.0))


class One(Problem):
    """E[(z - 0.45)^2] of one variable that has no axis of its own."""

    points = ("init",)

    def __init__(self, q, size):
        super().__init__()
        self.draw_from = q
        self.groups = {"theta": slice(0, size)}

    def at(self, point):
        return torch.linspace(-0.5, 0.4, self.groups["theta"].stop)

    def q(self, params):
        return self.draw_from(params)

    def f(self, z, q, params):
        return ((z.sum(-1) if q.event_shape else z) - 0.45).square()


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize(
    ("q", "size"),
    [
        (lambda p: Bernoulli(logits=p[:, 0]), 1),
        (lambda p: Normal(p[:, 0], p[:, 1].exp()), 2),
        (lambda p: Categorical(logits=p), 3),
        (lambda p: OneHotCategorical(logits=p), 3),
    ],
)
def test_a_variable_without_an_axis_is_taken_or_refused(q, size, name):
    problem = One(q, size)
    try:
        g = ready(ESTIMATORS[name], problem, problem.at("init"))(problem, leaf(problem.at("init"), 5), num_samples=2)
    except Unsupported:
        return
    assert g.shape == (5, size)
    assert g.isfinite().all()
