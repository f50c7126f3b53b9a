"""Problems: shapes, exact objectives, points, bad input."""

import math

import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal

from benchmarks.engine import leaf
from benchmarks.problems.linear_vae import LinearVAE
from benchmarks.problems.parts import DiagonalNormal, digits
from benchmarks.problems.quadratic import Quadratic
from benchmarks.problems.vae import VAE
from estimators.core import Unsupported
from tests.cases import PROBLEMS, exact_gradient


@pytest.mark.parametrize("name", PROBLEMS)
def test_shapes(name):
    problem = PROBLEMS[name]()
    for point in problem.points:
        params = leaf(problem.at(point), 5)
        q = problem.q(params)
        assert q.batch_shape == (5,)
        assert problem.f(q.sample((4,)), q, params).shape == (4, 5)
        assert problem.f(q.sample((4, 3)), q, params).shape == (4, 3, 5)
        assert problem.known(params).shape == (5,)


@pytest.mark.parametrize("name", PROBLEMS)
def test_groups_cover_every_parameter_once(name):
    problem = PROBLEMS[name]()
    everything = list(range(len(problem.at("init"))))
    assert sorted(i for group in problem.groups.values() for i in everything[group]) == everything


@pytest.mark.parametrize("name", [name for name in PROBLEMS if not name.startswith("vae")])
def test_value_is_the_mean_of_f(name):
    """z-test over 20,000 draws, |z| < 4.5: false alarms 7e-6 a case; finds an error of 4.5 standard errors.

    At a corner of a finite q so many draws may meet one outcome only: there test_discrete_problems.py enumerates.
    """
    problem = PROBLEMS[name]()
    finite = "saturated" in problem.points
    for point in [point for point in problem.points if not (finite and point in ("saturated", "optimum"))]:
        params = leaf(problem.at(point), 1).detach()
        q = problem.q(params)
        f = problem.f(q.sample((20_000,)), q, params)[:, 0] + problem.known(params)
        error = f.mean() - problem.value(params)[0]
        assert error.abs() <= 4.5 * f.std() / math.sqrt(len(f)) + 1e-9


def test_the_linear_vae_reaches_the_evidence_at_its_optimum():
    """There q is the posterior, so that the ELBO is log p(x) of probabilistic PCA, and the gradient is zero."""
    for latent_dim in (1, 5, 20, 70):
        problem = LinearVAE(latent_dim, batch_size=24, noise_variance=0.05)
        optimum = problem.at("optimum")
        *_, W, c = optimum.split([64 * latent_dim, latent_dim, latent_dim, 64 * latent_dim, 64])
        W = W.reshape(64, latent_dim)
        evidence = MultivariateNormal(c, W @ W.T + 0.05 * torch.eye(64)).log_prob(problem.x).sum()
        torch.testing.assert_close(problem.value(optimum[None])[0], evidence)
        assert exact_gradient(problem, optimum).norm() < 1e-8 * exact_gradient(problem, problem.at("init")).norm()
        assert problem.value(problem.at("near")[None]) < evidence


def test_analytic_and_sampled_kl_are_one_objective():
    analytic, sampled = LinearVAE(3), LinearVAE(3, kl="mc")
    params = leaf(analytic.at("near"), 1)
    torch.testing.assert_close(analytic.value(params), sampled.value(params))


def test_linear_vae_takes_weights_and_data():
    weight = torch.randn(2, 4)
    problem = LinearVAE(2, data=torch.randn(3, 4), encoder_weight=weight, decoder_bias=torch.ones(4))
    start = problem.at("init")
    assert start[:8].reshape(2, 4).equal(weight)
    assert start[-4:].equal(torch.ones(4))


def test_the_quadratic_by_default_is_the_squared_distance_from_one():
    problem = Quadratic(4)
    z = torch.randn(6, 2, 4)
    torch.testing.assert_close(problem.f(z, None, leaf(problem.at("init"), 2)), (z - 1).square().sum(-1))


def test_a_diagonal_and_its_matrix_are_one_problem():
    diagonal = torch.tensor([1.0, 3.0, 0.5])
    vector, matrix = Quadratic(3, A=diagonal), Quadratic(3, A=torch.diag(diagonal))
    params = torch.randn(2, 6)
    torch.testing.assert_close(vector.value(params), matrix.value(params))
    for point in vector.points:
        torch.testing.assert_close(vector.at(point), matrix.at(point))


def test_integers_will_do():
    problem = Quadratic(2, A=torch.tensor([[2, 0], [0, 1]]), b=torch.tensor([1, 2]), c=3)
    assert problem.value(problem.at("init")[None]).dtype == torch.float64


def test_training_raises_the_elbo_and_is_repeatable():
    """By far more than the noise of 4,000 draws: the gain is above 100 nats, the standard error below 1."""

    def elbo(problem, point):
        params = leaf(problem.at(point), 1).detach()
        q = problem.q(params)
        return problem.f(q.sample((4000,)), q, params).mean() + problem.known(params)[0]

    problem = VAE(2, train_steps=100)
    assert elbo(problem, "trained") > elbo(problem, "init") + 100
    assert problem.at("trained").equal(problem._train())


def test_the_vae_has_no_exact_objective():
    problem = VAE(2)
    with pytest.raises(Unsupported, match="VAE has no exact objective"):
        problem.value(leaf(problem.at("init"), 1))


def test_the_digits_are_the_real_ones():
    images = digits(1797)
    assert images.shape == (1797, 64)
    assert images.min() == 0
    assert images.max() == 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Quadratic(0), "latent_dim=0"),
        (lambda: Quadratic(2, b=torch.zeros(3)), r"b has shape \(3,\)"),
        (lambda: Quadratic(2, A=torch.zeros(3, 2)), r"A has shape \(3, 2\)"),
        (lambda: LinearVAE(0), "latent_dim=0"),
        (lambda: LinearVAE(2, kl="exact"), "choose from analytic, mc"),
        (lambda: LinearVAE(2, noise_variance=0), "noise_variance=0"),
        (lambda: LinearVAE(2, batch_size=0), "batch_size=0"),
        (lambda: LinearVAE(2, encoder_weights=torch.zeros(2, 64)), "no weight encoder_weights"),
        (lambda: LinearVAE(2, encoder_weight=torch.zeros(64, 2)), r"must be \(2, 64\)"),
        (lambda: VAE(2, likelihood="poisson"), "choose from bernoulli, gaussian"),
        (lambda: VAE(2, hidden=0), "hidden=0"),
    ],
)
def test_bad_input_is_refused_with_what_is_allowed(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize(
    ("loc", "scale", "z", "event_dims"),
    [((3, 4), (3, 4), (5, 3, 4), 1), ((3, 2, 4), (3, 1, 4), (5, 3, 2, 4), 2), ((3, 6, 4), (3, 6, 4), (5, 3, 1, 4), 1)],
)
def test_the_diagonal_normal_is_torchs(loc, scale, z, event_dims):
    """Density, and its first and second derivatives with respect to all that it takes, also where shapes broadcast.

    Twice without a graph of the gradient: what that takes in place may be seen the second time.
    """
    given = [torch.randn(shape, requires_grad=True) for shape in (loc, scale, z)]
    plain = Independent(Normal(given[0], given[1].exp()), event_dims)
    found = [q.log_prob(given[2]) for q in (DiagonalNormal(given[0], given[1], event_dims), plain)]
    weight = torch.randn_like(found[0])
    for mine, torchs in zip(*([y, *derivatives(y, given, weight)] for y in found), strict=True):
        torch.testing.assert_close(mine, torchs)


def derivatives(y, given, weight):
    plain = [g for _ in range(2) for g in torch.autograd.grad(y, given, weight, retain_graph=True)]
    first = torch.autograd.grad(y, given, weight, create_graph=True)
    return [*plain, *first, *torch.autograd.grad(sum(x.sin().sum() for x in first), given)]


def test_the_diagonal_normal_can_be_differentiated_by_its_own_parameters():
    """As torch's can: estimators may reach them through q, and weights may be undefined."""
    given = torch.randn(3, 2, 4), torch.randn(3, 2, 4), torch.randn(5, 3, 2, 4)
    mine, torchs = DiagonalNormal(*given[:2], 2), Independent(Normal(given[0], given[1].exp()), 2)
    found = []
    for q in (mine, torchs):
        q.base_dist.scale = q.base_dist.scale.requires_grad_()
        found += torch.autograd.grad(q.log_prob(given[2]).sum(), q.base_dist.scale)
    torch.testing.assert_close(*found)
    leaves = [x.requires_grad_() for x in given]
    assert torch.autograd.gradcheck(lambda loc, log_scale, z: DiagonalNormal(loc, log_scale, 2).log_prob(z), leaves)


def test_a_narrow_gaussian_keeps_its_digits_in_float32():
    """At scale e^-7 and loc 1, eps of a draw is to be had to 1e-4 at best: the spacing of floats over the scale."""
    q = DiagonalNormal(torch.ones(1, 64), torch.full((1, 64), -7.0), 1)
    z = q.sample((100,)).float()
    exact = q.log_prob(z.double())
    single = DiagonalNormal(torch.ones(1, 64).float(), torch.full((1, 64), -7.0).float(), 1)
    torch.testing.assert_close(single.log_prob(z).double(), exact, rtol=1e-5, atol=1e-3)


def test_a_diagonal_normal_expands_and_is_differentiated_row_by_row():
    q = DiagonalNormal(torch.zeros(3, 4), torch.zeros(3, 4), 1)
    assert q.expand((5, 3)).sample().shape == (5, 3, 4)
    z = torch.randn(3, 4)
    per_row = torch.func.vmap(torch.func.grad(lambda z: DiagonalNormal(torch.zeros(4), torch.zeros(4), 1).log_prob(z)))
    torch.testing.assert_close(per_row(z), -z)
    draw = torch.func.vmap(lambda loc: DiagonalNormal(loc, torch.zeros(4), 1).sample(), randomness="different")
    assert draw(z).shape == z.shape
