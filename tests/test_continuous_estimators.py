"""The continuous family: unbiased by z-test on every family, and exactly by hand and by identities."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from benchmarks.engine import Counted, leaf
from benchmarks.exact import exact_moments
from benchmarks.problems.conjugate import DirichletMultinomial, GammaPoisson, VonMisesTarget
from benchmarks.problems.gaussian_cost import GaussianCost
from benchmarks.problems.gaussian_target import GaussianTarget
from benchmarks.problems.moments import Moments
from benchmarks.problems.quadratic import Quadratic
from benchmarks.tuning import tune
from estimators import zeroth_order
from estimators.baselines import Running, constant, leave_one_out
from estimators.core import Unsupported, grad
from estimators.gamma import rejection, standardised
from estimators.gaussian import optimal_transport
from estimators.pathwise import reparam, reparametrised, stl
from estimators.samplers import antithetic, inverse_cdf, latin_hypercube, sobol, uniforms
from estimators.score_function import score, score_local, score_overdispersed
from estimators.weak_derivative import measure_valued
from tests.cases import BIASED, ESTIMATORS, PROBLEMS, UNBIASED, exact_gradient, ready

FAMILIES = ["cost_cos", "gaussian_target", "linear_vae_small_mc", "moments_normal", "moments_student_t"]
FAMILIES += ["moments_gamma", "moments_gamma_rate", "moments_exponential", "moments_beta", "moments_dirichlet"]
FAMILIES += ["bernoulli_mixed", "binary_quadratic", "adev_flip", "shared_bernoulli", "binary_vae"]
FAMILIES += ["categorical_absolute", "categorical_joint", "subset_quadratic", "sequence_bandit"]
FAMILIES += ["moments_von_mises", "moments_mixture", "moments_poisson", "moments_bernoulli", "von_mises_target"]


def known_part(problem, params):
    return grad(problem.known(params)[None], params).detach()


@pytest.mark.parametrize("problem", FAMILIES)
def test_the_mean_is_the_exact_gradient_on_every_family(problem):
    """z-test of each coordinate over 4,000 estimates with S = 2, |z| < 5.5.

    False alarms: of normal noise 4e-8 a coordinate, about 1e-4 over all 3,500; of heavy tails more. Finds a bias of 7
    standard errors, 11 % of one estimate's spread, in 93 % of runs.
    """
    problem = PROBLEMS[problem]()
    point = problem.at("init")
    exact = exact_gradient(problem, point)
    ran = []
    for name, estimator in UNBIASED.items():
        torch.manual_seed(1)
        params = leaf(point, 4000)
        try:
            g = ready(estimator, problem, point)(problem, params, num_samples=2) + known_part(problem, params)
        except Unsupported:
            continue
        ran.append(name)
        error = (g.mean(0) - exact).abs()
        rounding = 1e-9 * (1 + exact.abs() + g.abs().mean(0))
        assert (error <= 5.5 * g.std(0) / math.sqrt(len(g)) + rounding).all(), name
    assert {"score", "score_optimal", "exact"} <= set(ran)


def test_every_estimator_runs_or_is_refused_with_a_reason_on_every_problem():
    outcomes = []
    for problem_name in PROBLEMS:
        if problem_name.startswith(("vae", "categorical_vae")):
            continue  # thousands of finite differences
        problem = PROBLEMS[problem_name]()
        params = leaf(problem.at("init"), 3)
        for name, estimator in ESTIMATORS.items():
            try:
                g = ready(estimator, problem, problem.at("init"))(problem, params, num_samples=2)
            except Unsupported as error:
                outcomes.append(str(error))
            else:
                outcomes.append(f"ran: {g.shape == params.shape and bool(g.isfinite().all())}")
            assert outcomes[-1] not in ("", "ran: False"), (name, problem_name)


@pytest.mark.parametrize(
    ("problem", "refusing"),
    [
        ("cost_cos", {"omt", "grep", "rsvi"}),
        ("gaussian_target", {"grep", "rsvi", "measure_valued", "score_local", "bbvi", "quadrature"}),
        ("moments_gamma", {"omt", "bonnet_price", "measure_valued", "quadrature", "spsa", "score_sobol"}),
        (
            "moments_poisson",
            {"reparam", "stl", "lax", "reparam_taylor", "grep", "forward_gradient"},
        ),
        ("moments_von_mises", {"score_delta", "reparam_taylor", "reparam_quadratic", "score_lhs", "fd_central"}),
    ],
)
def test_what_does_not_fit_is_refused(problem, refusing):
    problem = PROBLEMS[problem]()
    for name in refusing:
        with pytest.raises(Unsupported):
            ready(ESTIMATORS[name], problem, problem.at("init"))


# Score function.


def test_leave_one_out_is_vargrad():
    """Score term = - gradient of half the sample variance of log p - log q, at the draws (Richter et al. 2020)."""
    problem = GaussianTarget(3)
    params = leaf(problem.at("near"), 4)
    torch.manual_seed(2)
    g = score(problem, params, 5, baseline=leave_one_out)
    torch.manual_seed(2)
    q = problem.q(params)
    z = q.rsample((5,)).detach()
    half_variance = problem.f(z, q, params).var(0) / 2
    torch.testing.assert_close(g, -grad(half_variance[None], params) - grad(q.log_prob(z), params))


@pytest.mark.parametrize("num_samples", [2, 5])
def test_the_own_mean_is_leave_one_out_less_one_s_th(num_samples):
    problem = PROBLEMS["quadratic_general"]()
    params = leaf(problem.at("init"), 6)
    own, others = (
        (torch.manual_seed(0), ESTIMATORS[name](problem, params, num_samples=num_samples))[1]
        for name in ("score_mean", "score_loo")
    )
    torch.testing.assert_close(own, (1 - 1 / num_samples) * others)


@pytest.mark.parametrize("problem", ["quadratic_general", "bernoulli"])
def test_the_optimal_baseline_is_the_lowest_point_of_the_parabola(problem):
    """Exactly: the total variance at b is V* + (b - b*)^2 tr(Fisher) / S, whatever the b."""
    problem = PROBLEMS[problem]()
    point = problem.at("init")
    best, plain, unit = (
        float(exact_moments(estimator, problem, point, 1).variance.sum())
        for estimator in (
            ready(ESTIMATORS["score_optimal"], problem, point),
            score,
            partial(score, baseline=partial(constant, value=1.0)),
        )
    )
    per_coordinate = ready(ESTIMATORS["score_optimal_coordinate"], problem, point)
    assert float(exact_moments(per_coordinate, problem, point, 1).variance.sum()) <= best * (1 + 1e-9)
    b = float(ready(ESTIMATORS["score_optimal"], problem, point).keywords["coefficient"].coefficient)
    fisher = (plain - best) / b**2
    assert unit - best == pytest.approx((1 - b) ** 2 * fisher, rel=1e-9)


def test_the_optimal_baseline_per_coordinate_by_hand():
    """E[f s^2] / E[s^2] for (z - k)^2 under N(1, 1), by moments of eps = z - 1: with a = 1 - k, f = (a + eps)^2."""
    problem = GaussianCost(1, "quadratic", k=-1.0)
    estimator = ready(ESTIMATORS["score_optimal_coordinate"], problem, problem.at("init"))
    a = 2.0
    loc = a**2 + 3  # E[(a + eps)^2 eps^2]
    scale = (2 * a**2 + 10) / 2  # E[(a + eps)^2 (eps^2 - 1)^2] / 2 = (2 a^2 + E[eps^2 (eps^2 - 1)^2]) / 2
    found = estimator.keywords["coefficient"].coefficient
    torch.testing.assert_close(found, torch.tensor([[loc, scale]]), rtol=1e-9, atol=0)


def test_a_control_variate_that_is_the_cost_leaves_nothing():
    """Delta method on a quadratic, for the score function and pathwise: zero variance at any coefficient that fits."""
    problem = Quadratic(3)
    params = leaf(problem.at("init"), 50)
    exact = exact_gradient(problem, problem.at("init"))
    for name in ("score_delta", "reparam_taylor"):
        g = ESTIMATORS[name](problem, params, num_samples=2)
        torch.testing.assert_close(g, exact.expand_as(g), rtol=1e-9, atol=1e-9)


def test_the_running_mean_sees_the_past_only():
    past = Running(decay=0.5)
    first, second = torch.full((2, 3), 4.0), torch.full((2, 3), 10.0)
    assert past(first)[0] == 0
    assert past(second)[0] == pytest.approx(4.0)
    assert past(second)[0] == pytest.approx((0.25 * 4 + 0.5 * 10) / 0.75)
    past.eval()
    before = past(first)[0]
    assert past(first)[0] == before
    assert past(second)[1] == pytest.approx(math.sqrt(float((0.125 * 16 + 0.75 * 100) / 0.875 - before**2)))


def test_blocks_by_themselves_have_the_variance_of_one_dimension():
    """Exactly: a separable cost's score per block does not feel the others; the plain score does."""
    variances = {}
    for d in (1, 3):
        problem = GaussianCost(d, "cosine", k=1.3)
        for estimator in (score, score_local):
            variances[estimator, d] = exact_moments(estimator, problem, problem.at("init"), 1).variance
    one = variances[score, 1]
    torch.testing.assert_close(variances[score_local, 1], one)
    torch.testing.assert_close(variances[score_local, 3], one.repeat_interleave(3))
    assert (variances[score, 3] > 1.5 * one.repeat_interleave(3)).all()


def test_the_local_score_meets_each_image_alone():
    """Exactly unbiased, and less noisy than the score of all images with the cost of all."""
    problem = PROBLEMS["linear_vae_small_mc"]()
    point = problem.at("init")
    exact = exact_moments(score_local, problem, point, 1)
    torch.testing.assert_close(exact.mean, exact_gradient(problem, point), rtol=1e-9, atol=1e-9)
    assert exact.variance.sum() < exact_moments(score, problem, point, 1).variance.sum()


def test_overdispersed_with_dispersion_one_is_the_score_function():
    problem = PROBLEMS["quadratic_general"]()
    params = leaf(problem.at("init"), 6)
    torch.manual_seed(0)
    g = score_overdispersed(problem, params, 3, dispersion=1.0)
    torch.manual_seed(0)
    q = problem.q(params)
    z = q.sample((3,))
    torch.testing.assert_close(g, grad(q.log_prob(z), params, problem.f(z, q, params)))


# Pathwise.


def test_pathwise_has_no_variance_for_the_location_of_a_linear_cost():
    g = reparam(GaussianCost(3, "linear", k=2.0), leaf(GaussianCost(3, "linear").at("init"), 20))
    assert g[:, :3].equal(torch.full((20, 3), 2.0))
    assert g[:, 3:].var(0).min() > 1


@pytest.mark.parametrize("problem", [GammaPoisson(2), DirichletMultinomial(3), VonMisesTarget(2), GaussianTarget(3)])
def test_sticking_the_landing_is_still_at_every_conjugate_posterior(problem):
    params = leaf(problem.at("optimum"), 64)
    assert stl(problem, params).abs().max() < 1e-6
    assert reparam(problem, params).var(0).sum() > 1e-3


def test_implicit_von_mises_is_the_derivative_of_the_inverse():
    """dz = -dF / q, against central differences of scipy's inverse distribution function."""
    loc, concentration, u = 0.7, 2.3, np.array([0.03, 0.3, 0.5, 0.8, 0.99])
    z = torch.tensor(stats.vonmises.ppf(u, concentration, loc))[:, None, None]
    params = torch.tensor([loc, concentration], requires_grad=True)
    q = torch.distributions.Independent(
        torch.distributions.VonMises(params[None, :1], params[None, 1:], validate_args=False), 1
    )
    h = 1e-5
    expected = (stats.vonmises.ppf(u, concentration + h, loc) - stats.vonmises.ppf(u, concentration - h, loc)) / (2 * h)
    for i, value in enumerate(reparametrised(q, z).flatten()):
        slope = torch.autograd.grad(value, params, retain_graph=True)[0]
        assert slope[0].item() == pytest.approx(1, abs=1e-6)
        assert slope[1].item() == pytest.approx(expected[i], abs=1e-6)


def test_the_implicit_mixture_is_the_derivative_of_the_inverse():
    """One dimension, three components: against central differences of the distribution function's numerical inverse."""
    problem = Moments(1, "mixture", power=1)
    point = problem.at("init")

    def inverse(p, u):
        q = problem.q(p[None])
        normal, weights = q.component_distribution.base_dist, q.mixture_distribution.probs[0]

        def excess(z):
            return float((weights * normal.cdf(torch.tensor(z))[0, :, 0]).sum()) - u

        return optimize.brentq(excess, -50, 50, xtol=1e-14)

    for u in (0.1, 0.5, 0.93):
        params = leaf(point, 1)
        z = reparametrised(problem.q(params), torch.tensor([[[inverse(point, u)]]]))
        slope = torch.autograd.grad(z.sum(), params)[0][0]
        for i in range(len(point)):
            step = 1e-5 * torch.eye(len(point))[i]
            expected = (inverse(point + step, u) - inverse(point - step, u)) / 2e-5
            assert slope[i].item() == pytest.approx(expected, abs=1e-7)


def test_in_one_dimension_optimal_transport_is_the_only_one():
    problem = GaussianTarget(1)
    params = leaf(problem.at("init"), 6)
    g = []
    for estimator in (optimal_transport, reparam):
        torch.manual_seed(0)
        g.append(estimator(problem, params, 3))
    torch.testing.assert_close(g[0], g[1])


def test_optimal_transport_moves_as_the_lyapunov_equation_says():
    """By hand for one draw of a two-dimensional linear cost: A solves A Sigma + Sigma A = d Sigma, dz = A (z - loc)."""
    problem = Moments(2, "multivariate_normal", power=1)
    params = leaf(problem.at("init"), 1)
    torch.manual_seed(0)
    g = optimal_transport(problem, params)
    torch.manual_seed(0)
    q = problem.q(params)
    z = q.sample((1,))[0, 0]
    sigma = q.covariance_matrix[0].detach()
    eye = torch.eye(2)
    for p in range(params.shape[1]):
        tangent = torch.autograd.functional.jvp(
            lambda x: problem.q(x).covariance_matrix[0], params.detach(), torch.eye(params.shape[1])[p][None]
        )[1]
        drift = torch.autograd.functional.jvp(
            lambda x: problem.q(x).loc[0], params.detach(), torch.eye(params.shape[1])[p][None]
        )[1]
        operator = torch.kron(eye, sigma) + torch.kron(sigma, eye)
        velocity = torch.linalg.solve(operator, tangent.reshape(-1)).reshape(2, 2)
        torch.testing.assert_close(velocity, velocity.T)
        torch.testing.assert_close(g[0, p], (drift + velocity @ (z - q.loc[0].detach())).sum())


def test_bonnet_and_price_is_still_where_the_hessian_is():
    """On a quadratic the Hessian is constant: no variance for the scale; for the mean, that of pathwise."""
    problem = PROBLEMS["quadratic_general"]()
    params = leaf(problem.at("init"), 30)
    torch.manual_seed(0)
    g = ESTIMATORS["bonnet_price"](problem, params, num_samples=2)
    torch.manual_seed(0)
    torch.testing.assert_close(g[:, :2], reparam(problem, params, 2)[:, :2])
    exact = exact_gradient(problem, problem.at("init"))[2:]
    torch.testing.assert_close(g[:, 2:], exact.expand(30, 2))


@pytest.mark.parametrize("transform", [standardised, rejection, partial(rejection, boost=4)])
def test_generalised_noise_has_the_density_that_it_says(transform):
    """E[d log p(eps)/da] = 0, and x is Gamma(a, 1): z-tests over 20,000 draws, |z| < 5, false alarms 6e-7 each."""
    a = torch.tensor([0.6, 1.7, 8.0], requires_grad=True)
    x, log_density = transform(a.expand(1, 3), 20_000)
    slopes = torch.autograd.grad(log_density.sum(), a)[0] / 20_000
    spread = torch.stack([torch.autograd.grad(transform(a.expand(1, 3), 1)[1].sum(), a)[0] for _ in range(300)]).std(0)
    assert (slopes.abs() < 5 * spread / math.sqrt(20_000) + 1e-12).all()
    mean, second = x.detach()[:, 0].mean(0), x.detach()[:, 0].square().mean(0)
    values = a.detach()
    assert ((mean - values).abs() < 5 * (values / 20_000).sqrt()).all()
    fourth = values * (values + 1) * (values + 2) * (values + 3)
    assert ((second - values * (values + 1)).abs() < 5 * (fourth / 20_000).sqrt()).all()


def test_the_more_boost_the_less_is_left_to_the_correction():
    """Spread of the correction's score falls as the shape grows (Naesseth et al. 2017, figure 2)."""
    a = torch.full((1, 1), 1.5, requires_grad=True)
    spreads = []
    for boost in (1, 3, 10):
        each = [torch.autograd.grad(rejection(a, 1, boost)[1].sum(), a)[0] for _ in range(400)]
        spreads.append(float(torch.cat(each).std()))
    assert spreads[0] > 2 * spreads[1] > 4 * spreads[2]


def test_the_forward_gradient_is_a_projection_of_the_pathwise_one():
    problem = PROBLEMS["quadratic_general"]()
    params = leaf(problem.at("init"), 5)
    torch.manual_seed(0)
    g = ESTIMATORS["forward_gradient"](problem, params)
    torch.manual_seed(0)
    path = reparam(problem, params)
    v = torch.randn_like(path)
    torch.testing.assert_close(g, (path * v).sum(-1, keepdim=True) * v)


# Measure-valued.


@pytest.mark.parametrize("k", [-2.0, 0.0, 1.0])
def test_coupled_measure_valued_variance_of_the_location_in_closed_form(k):
    """(z - k)^2 under N(1, 1): g = 4 (1 - k) W / sqrt(2 pi), W Weibull(2, sqrt 2): zero at k = 1.

    Variance 16 (1 - k)^2 (2 - pi/2) / (2 pi), within 5 standard errors of 20,000 draws.
    """
    problem = GaussianCost(1, "quadratic", k=k)
    g = measure_valued(problem, leaf(problem.at("init"), 20_000))[:, 0]
    expected = 16 * (1 - k) ** 2 * (2 - math.pi / 2) / (2 * math.pi)
    error = 5 * (g - g.mean()).square().std() / math.sqrt(len(g))
    assert (g.var() - expected).abs() <= error + 1e-9


def test_coupling_doubles_the_variance_for_a_linear_cost():
    """Location: (W + W')/sqrt(2 pi) with W = W' has twice the variance of the independent sum, within 10 %."""
    problem = GaussianCost(1, "linear")
    params = leaf(problem.at("init"), 40_000)
    coupled, apart = (measure_valued(problem, params, coupled=c)[:, 0].var() for c in (True, False))
    assert coupled / apart == pytest.approx(2, rel=0.1)


def test_the_measure_valued_gradient_of_a_coin_has_no_noise():
    """f(1) - f(0) for a linear cost, times dp/dlogit."""
    problem = Moments(2, "bernoulli", power=1)
    params = leaf(problem.at("init"), 3)
    p = params.detach().sigmoid()
    torch.testing.assert_close(measure_valued(problem, params), p * (1 - p))


# Zeroth order, against what each is unbiased for.


@pytest.mark.parametrize("name", ["fd_forward", "fd_central", "spsa", "es", "es_forward", "es_antithetic"])
def test_zeroth_order_estimates_the_smoothed_gradient(name):
    """z-test over 40,000 estimates with S = 4, |z| < 5; where the bias is above 1 %, the true gradient fails it."""
    loc, log_scale, k = 0.3, 0.2, -0.5
    problem, h = GaussianCost(1, "quadratic", k=k, loc=loc, log_scale=log_scale), 0.3
    g = partial(ESTIMATORS[name], step=h)(problem, leaf(problem.at("init"), 40_000), 4)
    square, along = math.exp(2 * log_scale), 2 * (loc - k)
    sinh = square * math.sinh(2 * h) / h
    expected = torch.tensor(
        {
            "fd_central": (along, sinh),
            "fd_forward": (along + h, square * math.expm1(2 * h) / h),
            "spsa": (along, sinh),
        }.get(name, (along, 2 * square * math.exp(2 * h**2)))
    )
    error = g.std(0) / math.sqrt(len(g))
    assert ((g.mean(0) - expected).abs() < 5 * error).all()
    if name != "es":
        assert (g.mean(0)[1] - 2 * square).abs() > 5 * error[1]


def test_central_differences_are_the_pathwise_gradient_of_a_quadratic():
    """In the mean, with common random numbers: draw by draw, at any step."""
    problem = PROBLEMS["quadratic_general"]()
    params = leaf(problem.at("init"), 7)
    torch.manual_seed(0)
    g = zeroth_order.finite_differences(problem, params, 3, difference=zeroth_order.central, step=0.7)
    torch.manual_seed(0)
    path = reparam(problem, params, 3, sampler=lambda q, n: inverse_cdf(q, uniforms(q, n)))
    torch.testing.assert_close(g[:, :2], path[:, :2])


# Learned.


@pytest.mark.parametrize(
    ("problem", "point", "name", "at_most", "against"),
    [
        ("gaussian_target_diagonal", "init", "score_nvil", 1.1, "score_optimal"),
        ("gaussian_target_diagonal", "init", "lax", 0.8, "score_running_mean"),
        ("gaussian_target_diagonal", "init", "reparam_quadratic", 0.2, "reparam"),
        ("cost_cos", "narrow", "reparam_quadratic", 0.1, "reparam"),
        ("cost_cos", "narrow", "lax", 0.5, "score_running_mean"),
    ],
)
def test_tuning_lowers_the_variance(problem, point, name, at_most, against):
    """After tuning on other draws; 20,000 estimates each: a ratio's standard error is below 5 %."""
    problem = PROBLEMS[problem]()
    point = problem.at(point)
    variances = []
    for estimator in (ESTIMATORS[name], ESTIMATORS[against]):
        tuned, evaluations = tune(estimator, problem, point, 2, seed=3)
        variances.append(tuned(problem, leaf(point, 20_000), num_samples=2).var(0).sum())
        assert (evaluations > 0) == (against != "reparam" or estimator is not ESTIMATORS[against])
    assert variances[0] < at_most * variances[1]


def test_the_past_is_added_up_in_double_precision():
    """Costs of 1e4 with a spread of 2.4, in single precision: their squares would lose it."""
    past = Running()
    f = (1e4 + 2.4 * torch.randn(50, 400)).float()
    past(f)
    mean, spread = past(f)
    assert mean.dtype == torch.float32
    assert float(mean) == pytest.approx(1e4, rel=1e-4)
    assert float(spread) == pytest.approx(2.4, rel=0.05)


@pytest.mark.parametrize("sampler", [antithetic, latin_hypercube, sobol])
@pytest.mark.parametrize("estimator", [score, score_local])
def test_leave_one_out_refuses_draws_that_depend_on_each_other(sampler, estimator):
    """Its baseline would not be independent of its draw: antithetic pairs give (2.67, 1.35) for (2, 2) at S = 4."""
    problem = GaussianCost(1, "quadratic", k=0.0)
    with pytest.raises(Unsupported, match="needs independent draws"):
        estimator(problem, leaf(problem.at("init"), 3), 4, baseline=leave_one_out, sampler=partial(sampler))


def test_tuning_is_repeatable_leaves_the_original_alone_and_the_stream_too():
    problem = Quadratic(2)
    point = problem.at("init")
    original = ESTIMATORS["score_nvil"]
    torch.manual_seed(5)
    shifts = [tune(original, problem, point, 2, seed=1)[0].keywords["baseline"].shift for _ in range(2)]
    expected = torch.Generator().manual_seed(5)
    assert torch.rand(1).equal(torch.rand(1, generator=expected))
    assert shifts[0] == shifts[1] != 0
    assert original.keywords["baseline"].shift == 0
    assert tune(original, problem, point, 2, seed=2)[0].keywords["baseline"].shift != shifts[0]


# Costs.


@pytest.mark.parametrize(
    ("name", "evaluations", "gradients"),
    [
        ("score", 3, 0),
        ("score_optimal_held_out", 28, 0),
        ("score_optimal", 3, 0),
        ("score_delta", 28 + 1, 1 + 2),
        ("reparam", 3, 3),
        ("reparam_taylor", 3 + 1, 3 + 1 + 2),
        ("bonnet_price", 3, 3 + 2 * 3),
        ("forward_gradient", 3, 3),
        ("lax", 3, 0),
        ("measure_valued", 3 * 2 * 4, 0),
        ("fd_forward", 3 * (4 + 1), 0),
        ("fd_central", 3 * 2 * 4, 0),
        ("spsa", 3 * 2, 0),
        ("es", 3, 0),
        ("es_forward", 3 * 2, 0),
        ("exact", 0, 0),
    ],
)
def test_evaluations_are_counted_truly(name, evaluations, gradients):
    """S = 3, D = 2, P = 4; a Hessian-vector product is a pass of the gradient."""
    problem = GaussianCost(2, "cosine")
    estimator = ready(ESTIMATORS[name], problem, problem.at("init"))
    counted = Counted(problem)
    estimator(counted, leaf(problem.at("init"), 5), num_samples=3)
    assert counted.evaluations == 5 * evaluations
    assert counted.gradient_evaluations == 5 * gradients


@pytest.mark.parametrize(("name", "gradients"), [("omt", 3), ("bonnet_price", 3 + 2 * 3), ("score", 3)])
def test_passes_for_the_parameters_of_f_itself_are_counted(name, gradients):
    """log q is in f: a pass for it, where none goes to z and to params at once."""
    problem = GaussianTarget(2)
    counted = Counted(problem)
    ESTIMATORS[name](counted, leaf(problem.at("init"), 5), num_samples=3)
    assert counted.gradient_evaluations == 5 * gradients


@pytest.mark.parametrize("concentration", [0.1, 0.5])
def test_rejection_never_gives_zero(concentration):
    """In single precision, where the augmented shape underflows."""
    x, log_density = rejection(torch.full((1, 1), concentration), 200_000, boost=3)
    x, _ = rejection(torch.full((1, 1), concentration).float(), 200_000, boost=3)
    assert x.log().isfinite().all()
    assert log_density.isfinite().all()


def test_the_lists_of_biased_estimators_names_what_is_there():
    assert set(ESTIMATORS) >= BIASED
