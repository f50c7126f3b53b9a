"""What the lecture note says that is not about gradients, and what is right, with numbers against closed forms."""

import math

import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from benchmarks.exact import exact_moments
from benchmarks.problems.gaussian_cost import GaussianCost
from benchmarks.problems.linear_vae import LinearVAE
from estimators.score_function import score
from tests.cases import exact_gradient


def vae(**options):
    """One image of three pixels, one latent dimension, every weight given."""
    weights = {
        "data": torch.tensor([[0.2, 0.9, 0.4]]),
        "encoder_weight": torch.tensor([[0.3, -0.2, 0.5]]),
        "encoder_bias": torch.tensor([0.1]),
        "log_scale": torch.tensor([-0.4]),
        "decoder_weight": torch.tensor([[0.8], [-0.5], [0.3]]),
        "decoder_bias": torch.tensor([0.1, 0.2, -0.3]),
        "noise_variance": 0.3,
    }
    return LinearVAE(1, **(weights | options))


def parts(problem, params):
    """Evidence log p(x), and Gaussians: q, the prior and the posterior p(z|x), all in closed form."""
    x, v, D = problem.x, problem.noise_variance, problem.shapes["log_scale"][0]
    X = x.shape[1]
    *_, W, c = params.split([D * X, D, D, X * D, X])
    W = W.reshape(X, D)
    evidence = MultivariateNormal(c, W @ W.T + v * torch.eye(X)).log_prob(x).sum()
    precision = torch.eye(D) + W.T @ W / v
    mean = torch.linalg.solve(precision, W.T @ (x - c).T / v).T
    mean_q, log_scale = (part[0] for part in problem.encode(params[None]))
    q = MultivariateNormal(mean_q, scale_tril=torch.diag(log_scale[0].exp()))
    prior = MultivariateNormal(torch.zeros(D), torch.eye(D))
    return evidence, q, prior, MultivariateNormal(mean, precision_matrix=precision)


def evidence_and_gap(problem, params):
    evidence, q, _, posterior = parts(problem, params)
    return evidence, kl_divergence(q, posterior).sum()


def test_a_density_exceeds_one():
    """Note 1: "p(x) <= 1, so ln p(x) <= 0". N(0, 0.01^2) is 39.89 at 0; only a probability mass is at most 1."""
    density = Normal(0.0, 0.01).log_prob(torch.tensor(0.0))
    assert float(density.exp()) == pytest.approx(39.894, abs=1e-3)
    assert float(density) == pytest.approx(3.686, abs=1e-3)


def test_the_elbo_and_the_evidence_can_be_positive():
    """Note 1, on one pixel x = 0 with v = 1e-4: x ~ N(0, w^2 + v); ELBO = log p(x) - KL[q || p(z|x)]."""
    w, v, s = 0.0594, 1e-4, 0.1995
    options = {"encoder_weight": torch.zeros(1, 1), "encoder_bias": torch.zeros(1), "decoder_bias": torch.zeros(1)}
    weights = {"log_scale": torch.tensor([math.log(s)]), "decoder_weight": torch.tensor([[w]])}
    problem = LinearVAE(1, data=torch.zeros(1, 1), noise_variance=v, **options, **weights)
    evidence = -0.5 * math.log(2 * math.pi * (w**2 + v))
    posterior = v / (w**2 + v)
    gap = 0.5 * (s**2 / posterior - 1 - math.log(s**2 / posterior))
    elbo = float(problem.value(problem.at("init")[None]))
    assert elbo == pytest.approx(evidence - gap, rel=1e-12)
    assert 0 < elbo < evidence
    assert (elbo, evidence) == pytest.approx((1.853, 1.891), abs=1e-3)


def test_log_evidence_is_elbo_plus_divergence_and_elbo_is_fit_less_divergence_from_the_prior():
    """Notes 2, 6: log p = ELBO + KL[q || p(z|x)], ELBO = E_q[log p(x|z)] - KL[q || p(z)]; both divergences >= 0."""
    problem = vae()
    params = problem.at("init")
    evidence, q, prior, posterior = parts(problem, params)
    elbo = problem.value(params[None])[0]
    torch.testing.assert_close(evidence, elbo + kl_divergence(q, posterior).sum())
    *_, W, c = params.split([3, 1, 1, 3, 3])
    residual = problem.x[0] - W * q.mean[0] - c
    spread = q.variance[0] * W.square().sum()
    fit = -(residual.square().sum() + spread) / 0.6 - 1.5 * math.log(2 * math.pi * 0.3)
    torch.testing.assert_close(elbo, (fit - kl_divergence(q, prior)).sum())
    assert kl_divergence(q, posterior) > 0
    assert kl_divergence(q, prior) > 0


def test_the_divergence_from_the_joint_is_none():
    """Note 2: KL[q || p(z, x)] is -ELBO, and negative where the ELBO is positive: p(z, x) is not normalised over z."""
    problem = vae(noise_variance=1e-4, decoder_weight=torch.zeros(3, 1), decoder_bias=torch.tensor([0.2, 0.9, 0.4]))
    assert problem.value(problem.at("init")[None]) > 0


def test_the_bound_is_tight_for_the_posterior_alone():
    problem = vae()
    params = problem.at("init")
    _, _, _, posterior = parts(problem, params)
    x, V = problem.x[0], params[:3]
    tight = params.clone()
    tight[3] = posterior.mean[0, 0] - V @ x
    tight[4] = 0.5 * posterior.variance[0, 0].log()
    evidence, gap = evidence_and_gap(problem, tight)
    assert gap.abs() < 1e-12
    torch.testing.assert_close(problem.value(tight[None])[0], evidence)
    assert problem.value(params[None])[0] < evidence


@pytest.mark.parametrize(("sign", "falls"), [(1.0, True), (-1.0, False)])
def test_ascent_on_the_elbo_over_the_encoder_lowers_the_divergence(sign, falls):
    """Notes 3, 4: log p(x) does not depend on the encoder, so the ELBO is maximised; the note's "min" raises KL."""
    problem = vae()
    params = problem.at("init")
    evidence, before = evidence_and_gap(problem, params)
    for _ in range(20):
        step = torch.zeros_like(params)
        encoder = problem.groups["encoder"]
        step[encoder] = exact_gradient(problem, params)[encoder]
        params = params + sign * 0.01 * step
        same, after = evidence_and_gap(problem, params)
        torch.testing.assert_close(same, evidence)
        assert bool(after < before) == falls
        before = after


def test_over_the_decoder_the_elbo_rises_while_the_divergence_may_too():
    """Note 4: over phi and theta together it is no longer "minimise KL": at the optimum of both, KL is 0 again."""
    problem = LinearVAE(2, batch_size=8, noise_variance=0.05)
    values = [float(problem.value(problem.at(point)[None])) for point in problem.points]
    assert values == sorted(values)
    evidence, gap = evidence_and_gap(problem, problem.at("optimum"))
    assert gap == pytest.approx(0.0, abs=1e-8 * abs(float(evidence)))


def test_the_decoders_likelihood_has_no_encoder_in_it_and_its_mean_is_no_sample():
    """Notes 8, 9: p(x|z) = N(x; Wz + c, v I), whatever phi."""
    problem = vae()
    params, z = problem.at("init")[None], torch.tensor([[[[0.7]]]])
    other = params.clone()
    other[:, problem.groups["encoder"]] += 1.0
    found = problem.log_likelihood(z, params)
    mean = 0.7 * torch.tensor([0.8, -0.5, 0.3]) + torch.tensor([0.1, 0.2, -0.3])
    torch.testing.assert_close(found.squeeze(), Normal(mean, math.sqrt(0.3)).log_prob(problem.x[0]).sum())
    torch.testing.assert_close(found, problem.log_likelihood(z, other))


@pytest.mark.parametrize(("cost", "k"), [("quadratic", 0.5), ("cosine", 2.0), ("exponential", 0.7)])
def test_a_variance_used_as_a_scale_gives_another_objective(cost, k):
    """Note 7: mu + Sigma eps has variance Sigma^2. E f goes to what the closed form has for sigma -> sigma^2."""
    sigma, eps = 0.6, torch.randn(200_000)
    problem = GaussianCost(1, cost, k=k, loc=0.3, log_scale=math.log(sigma))
    right, wrong = (problem.value(torch.tensor([[0.3, math.log(scale)]]))[0] for scale in (sigma, sigma**2))
    for scale, expected in ((sigma, right), (sigma**2, wrong)):
        f = problem.f((0.3 + scale * eps)[:, None, None], None, problem.at("init")[None])[:, 0]
        assert abs(float(f.mean() - expected)) < 4.5 * float(f.std()) / math.sqrt(len(f))  # false alarms 7e-6
    assert abs(float(right - wrong)) > 0.05


def test_the_product_rule_for_the_reparameterised_gradient_is_wrong():
    """Note 17: it differentiates E[z f(z)]. For f = (z - c)^2: (mu-c)^2 + sigma^2 + 2(mu^2 + sigma^2 - c mu)."""
    mu, sigma, c = 0.7, 0.5, -0.4
    problem = GaussianCost(1, "quadratic", k=c, loc=mu, log_scale=math.log(sigma))
    right = exact_gradient(problem, problem.at("init"))[0]
    assert float(right) == pytest.approx(2 * (mu - c))
    z = mu + sigma * torch.randn(400_000)
    by_note = (z - c).square() + z * 2 * (z - c)
    expected = (mu - c) ** 2 + sigma**2 + 2 * (mu**2 + sigma**2 - c * mu)
    assert abs(float(by_note.mean()) - expected) < 4.5 * float(by_note.std()) / math.sqrt(len(z))  # false alarms 7e-6
    assert abs(expected - float(right)) > 0.5


@pytest.mark.parametrize(
    ("D", "two", "three"), [(1, 0.9545, 0.9973), (20, 0.3940, 0.9474), (100, 0.0095, 0.7631)], ids=str
)
def test_two_and_three_sigma_hold_what_they_hold_in_one_dimension_only(D, two, three):
    """Note 21: of all D coordinates at once, (2 Phi(n) - 1)^D."""
    inside = [(2 * Normal(0.0, 1.0).cdf(torch.tensor(float(n))) - 1) ** D for n in (2, 3)]
    assert [float(p) for p in inside] == pytest.approx([two, three], abs=5e-5)
    count = 50_000
    draws = torch.randn(count, D).abs().amax(1)
    for n, p in zip((2, 3), inside, strict=True):
        error = math.sqrt(p * (1 - p) / count)
        assert abs(float((draws < n).double().mean() - p)) < 4.5 * error  # false alarms 7e-6


@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_units_shift_log_q_and_leave_the_score_estimate_alone(unit):
    """Note 13: not "because ln q << 0". z in other units shifts ln q by -ln unit; the gradient, in its units, stays."""
    plain = GaussianCost(1, "linear", k=1.0)
    scaled = GaussianCost(1, "linear", k=1 / unit, loc=unit, log_scale=math.log(unit))
    one, other = (exact_moments(score, problem, problem.at("init"), 1) for problem in (plain, scaled))
    torch.testing.assert_close(other.variance * torch.tensor([unit**2, 1.0]), one.variance)
    means = [problem.q(problem.at("init")[None]).mean for problem in (plain, scaled)]
    densities = [
        Independent(Normal(mean, scale), 1).log_prob(mean) for mean, scale in zip(means, (1.0, unit), strict=True)
    ]
    torch.testing.assert_close(densities[1] - densities[0], torch.tensor([-math.log(unit)]))


def test_grad_f_is_f_grad_log_f_where_f_is_positive_only():
    """Note 15."""
    z = torch.tensor([0.5, 2.0], requires_grad=True)
    f = z.square() - 1
    (right,) = torch.autograd.grad(f.sum(), z, retain_graph=True)
    (by_note,) = torch.autograd.grad((f.detach() * f.log()).sum(), z)
    torch.testing.assert_close(by_note[1], right[1])
    assert f[0].log().isnan()
