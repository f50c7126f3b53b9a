"""Continuous problems: exact objectives against quadrature and written-out densities, optima, terms, bad input.

That each `value` is the mean of f over draws is tested for every problem in test_problems.py.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import special, stats
from scipy.integrate import quad
from torch.distributions import (
    Dirichlet,
    Gamma,
    HalfCauchy,
    MultivariateNormal,
    Normal,
    Poisson,
    VonMises,
    kl_divergence,
)

from benchmarks.engine import leaf
from benchmarks.problems.closed_forms import bessel_ratio
from benchmarks.problems.conjugate import DirichletMultinomial, GammaPoisson, VonMisesTarget, pixel_rows
from benchmarks.problems.costs import COSTS
from benchmarks.problems.eight_schools import EFFECTS, ERRORS, EightSchools
from benchmarks.problems.families import FAMILIES
from benchmarks.problems.funnel import Funnel
from benchmarks.problems.gaussian import pack, softplus_mean, unpack
from benchmarks.problems.gaussian_cost import GaussianCost
from benchmarks.problems.gaussian_target import GaussianTarget
from benchmarks.problems.logistic_regression import LogisticRegression
from benchmarks.problems.moments import Moments
from estimators.core import Unsupported
from estimators.pathwise import stl
from tests.cases import PROBLEMS, exact_gradient

POINTS = {name: make().points for name, make in PROBLEMS.items()}
WITH_OPTIMUM = [name for name, points in POINTS.items() if "optimum" in points and "saturated" not in points]
WHOLE = {"joint_cos", "joint_quadratic", "product_dirichlet", "product_multivariate_normal", "dirichlet_multinomial"}
WHOLE |= {"eight_schools", "funnel", "gaussian_target", "gaussian_target_diagonal", "ill_conditioned"}
WHOLE |= {"logistic_regression", "logistic_regression_batch", "quadratic_general"}
WHOLE |= {"binary_quadratic", "categorical_joint", "sequence_bandit"}


def mixture_parts(p):
    weights = np.exp(p[:3]) / np.exp(p[:3]).sum()
    return list(zip(weights, (stats.norm(m, np.exp(s)) for m, s in zip(p[3:6], p[6:9], strict=True)), strict=True))


SCIPY = {
    "normal": lambda p: stats.norm(p[0], np.exp(p[1])),
    "multivariate_normal": lambda p: stats.norm(p[0], np.exp(p[1])),
    "gamma": lambda p: stats.gamma(np.exp(p[0]), scale=np.exp(-p[1])),
    "gamma_rate": lambda p: stats.gamma(2, scale=np.exp(-p[0])),
    "exponential": lambda p: stats.expon(scale=np.exp(-p[0])),
    "beta": lambda p: stats.beta(np.exp(p[0]), np.exp(p[1])),
    "student_t": lambda p: stats.t(np.exp(p[0]), p[1], np.exp(p[2])),
    "von_mises": lambda p: stats.vonmises(np.exp(p[1]), loc=p[0]),
    "poisson": lambda p: stats.poisson(np.exp(p[0])),
    "bernoulli": lambda p: stats.bernoulli(1 / (1 + np.exp(-p[0]))),
}


def scalar_cost(problem):
    return lambda x: problem.f(torch.tensor([[[float(x)]]]), None, None).item()


def integral(f, distribution, breaks=()):
    """E f under a scipy distribution of one variable: a sum over its support, or adaptive quadrature."""
    if isinstance(distribution.dist, stats.rv_discrete):
        x = np.arange(60)
        return sum(p * f(at) for at, p in zip(x, distribution.pmf(x), strict=True))
    low, high = distribution.support()
    if distribution.dist.name == "vonmises":
        low, high = distribution.kwds["loc"] - np.pi, distribution.kwds["loc"] + np.pi
    elif distribution.dist.name != "t":
        middle, reach = distribution.mean(), 38 * distribution.std()
        low, high = max(low, middle - reach), min(high, middle + reach)
    ends = [low, *sorted(b for b in (*breaks, distribution.mean()) if low < b < high), high]
    return sum(
        quad(lambda x: f(x) * distribution.pdf(x), *piece, epsabs=1e-13, epsrel=1e-12, limit=400)[0]
        for piece in itertools.pairwise(ends)
    )


def slopes(objective, point, h=2e-3):
    """Central differences of fourth order, (P,)."""
    unit = np.eye(len(point))
    ahead = [[objective(point + step * h * e) for step in (-2, -1, 1, 2)] for e in unit]
    return np.array(ahead) @ np.array([1, -8, 8, -1]) / (12 * h)


def assert_value_and_gradient(problem, objective, point, rtol=1e-6):
    at = point.numpy()
    torch.testing.assert_close(problem.value(point[None])[0], torch.tensor(objective(at)), rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(
        exact_gradient(problem, point), torch.tensor(slopes(objective, at)), rtol=rtol, atol=1e-9
    )


@pytest.mark.filterwarnings("ignore:.*:scipy.integrate.IntegrationWarning")
@pytest.mark.parametrize(("loc", "log_scale"), [(1.0, 0.0), (-0.4, -0.5)])
@pytest.mark.parametrize("cost", COSTS)
def test_a_cost_has_the_mean_that_quadrature_gives(cost, loc, log_scale):
    k = 0.2 if cost == "heavy" else 0.7
    problem = GaussianCost(1, cost, k=k, offset=2.0, loc=loc, log_scale=log_scale)
    f = scalar_cost(problem)
    objective = lambda p: integral(f, stats.norm(p[0], np.exp(p[1])), breaks=[k])  # noqa: E731
    assert_value_and_gradient(problem, objective, problem.at("init"))


@pytest.mark.filterwarnings("ignore:.*:scipy.integrate.IntegrationWarning")
@pytest.mark.parametrize("power", [1, 2, 4])
@pytest.mark.parametrize("family", [*SCIPY, "mixture"])
def test_a_moment_is_what_quadrature_gives(family, power):
    problem = Moments(1, family, power)
    f = scalar_cost(problem)

    def objective(p):
        if family == "mixture":
            return sum(weight * integral(f, part) for weight, part in mixture_parts(p))
        return integral(f, SCIPY[family](p))

    assert_value_and_gradient(problem, objective, problem.at("init"))


def test_every_family_of_one_variable_is_checked_by_quadrature():
    assert {*SCIPY, "mixture", "dirichlet"} == set(FAMILIES)


@pytest.mark.parametrize("power", [1, 2, 4])
@pytest.mark.parametrize("product", [False, True])
def test_the_moments_of_a_dirichlet_of_two_are_those_of_a_beta(power, product):
    problem = Moments(2, "dirichlet", power, product)

    def objective(p):
        beta = stats.beta(*np.exp(p))
        return integral(lambda x: (x * (1 - x)) ** power if product else x**power + (1 - x) ** power, beta)

    assert_value_and_gradient(problem, objective, problem.at("init"))


@pytest.mark.parametrize(
    "problem",
    [
        Moments(3, "multivariate_normal", 1, product=True),
        Moments(3, "multivariate_normal", 2, product=True),
        Moments(3, "multivariate_normal", 4),
        Moments(3, "normal", 2, product=True),
        GaussianCost(3, "cosine", k=0.5, combine="joint"),
        GaussianCost(3, "quartic", combine="separable", offset=5.0),
    ],
    ids=lambda problem: type(problem).__name__,
)
def test_three_dimensions_by_gauss_hermite(problem):
    """A grid of 20^3 nodes: exact for these polynomials, to rounding for the cosine."""
    x, w = np.polynomial.hermite_e.hermegauss(20)
    nodes = torch.cartesian_prod(*[torch.tensor(x)] * 3)
    weights = torch.cartesian_prod(*[torch.tensor(w / w.sum())] * 3).prod(-1)
    params = leaf(problem.at("init"), 1)
    q = problem.q(params)
    if isinstance(q, MultivariateNormal):
        z = q.loc + nodes @ q.scale_tril[0].T
    else:
        z = q.base_dist.loc + q.base_dist.scale * nodes
    expected = weights @ problem.f(z[:, None], q, params)[:, 0]
    torch.testing.assert_close(problem.value(params)[0], expected, rtol=1e-9, atol=0)
    by_nodes, by_hand = (
        torch.autograd.grad(y, params, retain_graph=True)[0] for y in (expected, problem.value(params))
    )
    torch.testing.assert_close(by_hand, by_nodes, rtol=1e-8, atol=1e-9)


def test_the_product_of_a_mixture_is_the_weighted_product_of_its_components():
    problem = Moments(2, "mixture", 1, product=True)
    logits, loc, _ = problem.at("init").split([3, 6, 6])
    expected = logits.softmax(0) @ loc.reshape(3, 2).prod(1)
    torch.testing.assert_close(problem.value(problem.at("init")[None])[0], expected)


@pytest.mark.parametrize("scale", [0.01, 1.0, 10.0, 40.0])
@pytest.mark.parametrize("loc", [-30.0, 0.3, 25.0])
def test_the_mean_of_softplus(loc, scale):
    normal = stats.norm(loc, scale)
    expected = integral(lambda x: np.logaddexp(0, x), normal, breaks=[-10, 0, 10])
    found = softplus_mean(torch.tensor(loc), torch.tensor(scale))
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_factors_add_up_to_f_or_are_refused(name):
    problem = PROBLEMS[name]()
    params = leaf(problem.at("init"), 3)
    q = problem.q(params)
    z = q.sample((4, 2))
    if name in WHOLE:
        with pytest.raises(Unsupported, match="does not factorise"):
            problem.factors(z, q, params)
        return
    factors = problem.factors(z, q, params)
    assert factors.shape[:-1] == (4, 2, 3)
    torch.testing.assert_close(factors.sum(-1), problem.f(z, q, params))


@pytest.mark.parametrize("name", [name for name in PROBLEMS if not name.startswith("vae")])
def test_rows_of_a_problem_never_interact(name):
    """At the same z; samplers that reject draw more or less for one row when another moves."""
    problem = PROBLEMS[name]()
    rows = problem.at("init").expand(3, -1).clone()
    z = problem.q(rows).sample((4,))
    moved = rows.clone()
    moved[1] += 0.1
    before, after = (
        (problem.f(z, problem.q(p), p), problem.q(p).log_prob(z), problem.value(p)[None]) for p in (rows, moved)
    )
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one[:, [0, 2]], other[:, [0, 2]], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", WITH_OPTIMUM)
def test_the_optimum_is_flat_and_the_highest_point(name):
    problem = PROBLEMS[name]()
    flat = exact_gradient(problem, problem.at("optimum")).norm()
    assert flat < 1e-6 * exact_gradient(problem, problem.at("init")).norm()
    start, near, optimum = (problem.value(problem.at(point)[None]) for point in ("init", "near", "optimum"))
    assert max(start, near) < optimum


@pytest.mark.parametrize("latent_dim", [1, 2, 5, 40])
@pytest.mark.parametrize("make", [GammaPoisson, VonMisesTarget, DirichletMultinomial, GaussianTarget])
def test_at_a_conjugate_optimum_f_has_no_variance(make, latent_dim):
    """And the optimum is one in every dimension; nothing but rounding is left of f's spread."""
    if make is DirichletMultinomial and latent_dim == 1:
        pytest.skip("a Dirichlet has two shares at least")
    problem = make(latent_dim)
    params = leaf(problem.at("optimum"), 1)
    q = problem.q(params)
    f = problem.f(q.sample((100,)), q, params)
    assert f.std() < 1e-9
    torch.testing.assert_close(f[0], problem.value(params))
    if q.has_rsample:
        assert stl(problem, params, num_samples=10).abs().max() < 1e-8


def test_a_conjugate_f_is_the_prior_times_the_likelihood():
    D = 3
    counts = pixel_rows(D)
    golden = math.pi * (3 - math.sqrt(5)) * torch.arange(1, D + 1)
    for problem, log_joint in (
        (
            GammaPoisson(D),
            lambda z: Gamma(2.0, 0.5).log_prob(z).sum(-1) + Poisson(z[..., None]).log_prob(counts).sum((-2, -1)),
        ),
        (
            DirichletMultinomial(D),
            lambda z: Dirichlet(torch.ones(D)).log_prob(z) + (counts.sum(1) * z.log()).sum(-1),
        ),
        (
            VonMisesTarget(D),
            lambda z: (VonMises(0.0, 1.0).log_prob(z) + VonMises(z, 2.0).log_prob(golden)).sum(-1),
        ),
    ):
        params = leaf(problem.at("init"), 2)
        q = problem.q(params)
        z = q.sample((5,))
        expected = log_joint(z) - q.log_prob(z)
        torch.testing.assert_close(problem.f(z, q, params), expected, rtol=0, atol=2e-6)  # torch's Bessel function


def test_the_divergence_of_two_von_mises_is_what_quadrature_gives():
    problem = VonMisesTarget(1)
    (m, log_k) = problem.posterior.numpy()
    posterior = stats.vonmises(np.exp(log_k), loc=m)

    def objective(p):
        q = stats.vonmises(np.exp(p[1]), loc=p[0])
        return problem.log_evidence.item() + integral(lambda x: posterior.logpdf(x) - q.logpdf(x), q)

    assert_value_and_gradient(problem, objective, torch.tensor([0.4, 0.3]))


@pytest.mark.parametrize("condition", [1.0, 100.0])
def test_the_gaussian_target_is_a_kl(condition):
    problem = GaussianTarget(4, condition)
    V, eigenvalues = problem.eigenvectors, problem.eigenvalues
    torch.testing.assert_close(V.T @ V, torch.eye(4))
    assert torch.linalg.cond(V * eigenvalues @ V.T).item() == pytest.approx(condition)
    params = problem.at("near")[None] + 0.1
    target = MultivariateNormal(problem.mean, V * eigenvalues @ V.T)
    torch.testing.assert_close(problem.value(params), -kl_divergence(problem.q(params), target))
    diagonal = GaussianTarget(4, condition, covariance="diagonal")
    near = diagonal.at("near")[None] + 0.1
    q = MultivariateNormal(near[:, :4], scale_tril=torch.diag_embed(near[:, 4:].exp()))
    torch.testing.assert_close(diagonal.value(near), -kl_divergence(q, target))


def test_packing_is_undone_by_unpacking():
    L = torch.randn(5, 5).tril(-1) + torch.diag(torch.rand(5) + 0.1)
    torch.testing.assert_close(unpack(pack(L)[None], 5)[0], L)


def test_the_eight_schools_are_their_model_written_out():
    problem = EightSchools()
    z = torch.randn(6, 2, 10)
    mu, log_tau, theta = z[..., 0], z[..., 1], z[..., 2:]
    tau = log_tau.exp()
    likelihood = Normal(theta, torch.tensor(ERRORS)).log_prob(torch.tensor(EFFECTS)).sum(-1)
    schools = Normal(mu[..., None], tau[..., None]).log_prob(theta).sum(-1)
    prior = Normal(0.0, 5.0).log_prob(mu) + HalfCauchy(5.0).log_prob(tau) + log_tau
    torch.testing.assert_close(problem.log_density(z), likelihood + schools + prior)


def test_the_funnel_is_its_model_written_out():
    z = torch.randn(6, 2, 4)
    v, x = z[..., 0], z[..., 1:]
    expected = Normal(0.0, 3.0).log_prob(v) + Normal(0.0, (v / 2).exp()[..., None]).log_prob(x).sum(-1)
    torch.testing.assert_close(Funnel(4).log_density(z), expected)


@pytest.mark.parametrize("latent_dim", [2, 3, 50])
def test_the_funnel_has_its_optimum_in_every_dimension(latent_dim):
    problem = Funnel(latent_dim)
    assert exact_gradient(problem, problem.at("optimum")).norm() < 1e-12 * latent_dim


def test_logistic_regression_has_one_objective_however_its_kl_is_taken():
    analytic, sampled = LogisticRegression(32), LogisticRegression(32, kl="mc")
    params = leaf(analytic.at("init") + 0.1, 1)
    torch.testing.assert_close(analytic.value(params), sampled.value(params))
    assert analytic.known(params) < 0
    assert sampled.known(params) == 0


def test_a_batch_stands_for_the_whole_data():
    """Its log likelihood is N/B times that of the same B cases every time; all of them, as a batch, are no batch."""
    batch, again, whole = LogisticRegression(32), LogisticRegression(32), LogisticRegression()
    z = torch.randn(3, 1, 31)
    assert batch.x.equal(again.x)
    assert whole.x.shape == (569, 31)
    torch.testing.assert_close(whole.x[:, :30].mean(0), torch.zeros(30))
    by_hand = torch.distributions.Bernoulli(logits=z @ batch.x.T).log_prob(batch.y).sum(-1) * 569 / 32
    torch.testing.assert_close(batch.f(z, None, None), by_hand)
    torch.testing.assert_close(LogisticRegression(569).f(z, None, None), whole.f(z, None, None))


@pytest.mark.parametrize("combine", ["joint", "separable"])
@pytest.mark.parametrize("cost", ["quadratic", "cosine"])
def test_the_signal_is_held_fixed_as_the_dimension_grows(combine, cost):
    """The gradient for loc; that for log_scale too where the terms are separable."""
    norms = []
    for latent_dim in (1, 4, 64):
        problem = GaussianCost(latent_dim, cost, k=0.5, combine=combine)
        norms.append(exact_gradient(problem, problem.at("init"))[problem.groups["loc"]].norm())
    torch.testing.assert_close(norms[1:], [norms[0], norms[0]])


def test_an_offset_changes_f_and_no_gradient():
    plain, offset = (GaussianCost(3, "cosine", offset=c) for c in (0.0, 100.0))
    params = leaf(plain.at("init"), 1)
    torch.testing.assert_close(offset.value(params), plain.value(params) + 100)
    torch.testing.assert_close(exact_gradient(offset, params[0]), exact_gradient(plain, params[0]))


def test_a_step_has_no_pathwise_gradient_and_does_not_fail():
    problem = GaussianCost(2, "step", k=0.5)
    params = leaf(problem.at("init"), 3)
    assert stl(problem, params).equal(torch.zeros(3, 4))
    assert exact_gradient(problem, problem.at("init")).norm() > 0.1


def test_the_student_moments_are_refused_where_they_are_infinite():
    problem = Moments(2, "student_t", power=11)
    with pytest.raises(Unsupported, match="only if df > 11"):
        problem.value(problem.at("init")[None])


def test_long_products_of_correlated_gaussians_are_refused():
    problem = Moments(9, "multivariate_normal", power=1, product=True)
    with pytest.raises(Unsupported, match="must be at most 8"):
        problem.value(problem.at("init")[None])


@pytest.mark.parametrize(
    "name", [name for name in PROBLEMS if name.startswith(("cost", "joint", "moments", "product"))]
)
def test_single_precision_will_do(name):
    problem = PROBLEMS[name]()
    exact = exact_gradient(problem, problem.at("init"))
    single = problem.float()
    params = leaf(single.at("init"), 4)
    q = single.q(params)
    assert single.f(q.sample((2,)), q, params).dtype == torch.float32
    torch.testing.assert_close(exact_gradient(single, single.at("init")).double(), exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: GaussianCost(0, "cosine"), "latent_dim=0"),
        (lambda: Moments(2, "normal", power=2.5), "power=2.5: it must be an integer"),
        (lambda: GaussianCost(2, "sine"), "cost=sine: choose from quadratic, exponential, cosine"),
        (lambda: GaussianCost(2, "cosine", combine="mean"), "combine=mean: choose from sum, separable, joint"),
        (lambda: GaussianCost(2, "heavy", k=0.5), "k=0.5: the mean of the heavy cost is not finite"),
        (lambda: Moments(2, "cauchy"), "family=cauchy: choose from normal, multivariate_normal"),
        (lambda: Moments(2, "normal", power=0), "power=0: it must be at least 1"),
        (lambda: GammaPoisson(0), "latent_dim=0"),
        (lambda: VonMisesTarget(0), "latent_dim=0"),
        (lambda: GaussianTarget(0), "latent_dim=0"),
        (lambda: GaussianTarget(2, condition=0.5), "condition=0.5: it must be at least 1"),
        (lambda: GaussianTarget(2, covariance="low rank"), "choose from full, diagonal"),
        (lambda: LogisticRegression(0), "batch_size=0: choose from 1 to 569"),
        (lambda: LogisticRegression(570), "batch_size=570"),
        (lambda: LogisticRegression(kl="exact"), "choose from analytic, mc"),
    ],
)
def test_bad_input_is_refused_with_what_is_allowed(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize("make", [lambda: Moments(1, "dirichlet"), lambda: DirichletMultinomial(1), lambda: Funnel(1)])
def test_a_size_that_a_problem_does_not_have_is_unsupported(make):
    """So that a grid skips it, and goes on."""
    with pytest.raises(Unsupported, match="latent_dim >= 2"):
        make()


def test_data_end_somewhere():
    with pytest.raises(Unsupported, match="data for latent_dim <= 14376 only"):
        DirichletMultinomial(20_000)


@pytest.mark.parametrize("order", [1, 3, 8, 20])
@pytest.mark.parametrize("concentration", [0.05, 1.3, 40.0, 5000.0])
def test_bessel_ratios_are_scipys_and_their_slopes(order, concentration):
    x = torch.tensor([concentration], requires_grad=True)
    ratio = bessel_ratio(x, order)

    def expected(c):
        return special.ive(order, c) / special.ive(0, c)

    assert ratio.item() == pytest.approx(expected(concentration), rel=1e-9, abs=1e-15)
    step = 1e-4 * concentration
    slope = (expected(concentration + step) - expected(concentration - step)) / (2 * step)
    assert torch.autograd.grad(ratio.sum(), x)[0].item() == pytest.approx(slope, rel=1e-5, abs=1e-12)
