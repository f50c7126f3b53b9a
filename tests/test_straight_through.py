"""Straight-through estimators and relaxations: their means by hand, what they are exact for, and their identities."""

from functools import partial

import pytest
import torch

from benchmarks.engine import leaf
from benchmarks.exact import exact_moments
from estimators.core import base_of
from estimators.proxies import concrete as relaxation
from estimators.proxies import (
    darn,
    decoupled,
    gapped,
    gumbel_rao,
    gumbel_softmax,
    probabilities,
    reinmax,
    straight_through,
)
from tests.cases import ESTIMATORS, exact_gradient
from tests.toys import (
    COINS,
    TOYS,
    Handed,
    Polynomial,
    Toy,
    by_logistic_noise,
    close,
    given_noise,
    grid,
    legendre,
    moments,
    outcomes,
    probabilities_of,
    same_seed,
)

# Their means by hand.


def by_jacobian(problem, point, jacobian):
    """sum_z q(z) sum_n J_n' df/dy_n, J_n (K, C, C) the derivative of coordinate n's proxy in its logits, by hand."""
    z = outcomes(problem)
    params = leaf(problem.at(point), 1)
    q = problem.q(params.detach())
    leaves = z[:, None].clone().requires_grad_()
    (slope,) = torch.autograd.grad(problem.f(leaves, q, params.detach()).sum(), leaves)
    slope, p = slope[:, 0], probabilities_of(problem, point)
    naive = exact_moments(ESTIMATORS["naive"], problem, problem.at(point), 1).mean
    columns = []
    logits = base_of(q).logits.detach()[0]
    for n in range(problem.lead[0]):
        J = jacobian(z[:, n], logits[n]).expand(len(z), *[] if problem.coins else [problem.shape[2]] * 2)
        pulled = J * slope[:, n] if problem.coins else torch.einsum("kcj,kc->kj", J, slope[:, n])
        columns.append((p[:, None] * pulled.reshape(len(z), -1)).sum(0))
    total = torch.cat(columns)
    return naive + torch.cat([total, total.new_zeros(len(naive) - len(total))])


def softmax_jacobian(s):
    return torch.diag_embed(s) - s[..., None] * s[..., None, :]


def bit_slope(logit):
    return logit.sigmoid() * (-logit).sigmoid()


def moved(y, logit, gap):
    """The drawn logit raised to the largest, the others at most the largest less the gap."""
    top = logit.max().expand_as(y)
    return torch.where(y > 0, top, torch.minimum(logit.expand_as(y), top - gap))


def reinmax_jacobian(y, logit, temperature=1.0):
    middle = ((logit / temperature).softmax(-1) + y) / 2
    return 2 * softmax_jacobian(middle) - softmax_jacobian(logit.softmax(-1)) / 2


def annealed():
    return ESTIMATORS["st_slope_annealed"].keywords["proxy"].keywords["temperature"]


OF_CATEGORIES = {
    "st_identity": lambda y, logit: torch.eye(4) - logit.softmax(-1).expand(4, 4),
    "st_probabilities": lambda y, logit: softmax_jacobian(logit.softmax(-1)),
    "gapped_st": lambda y, logit: softmax_jacobian(moved(y, logit, 1.0).softmax(-1)),
    "reinmax": reinmax_jacobian,
    "st_slope_annealed": lambda y, logit: softmax_jacobian((logit / annealed()).softmax(-1)) / annealed(),
}

OF_BITS = {
    "st_identity": lambda b, logit: torch.ones_like(b),
    "st_probabilities": lambda b, logit: bit_slope(logit).expand_as(b),
    "st_slope_annealed": lambda b, logit: bit_slope(logit / annealed()).expand_as(b) / annealed(),
    "st_hard_sigmoid": lambda b, logit: (logit.abs() < 1) / 2 + 0 * b,
    "darn": lambda b, logit: bit_slope(logit) / (2 * torch.where(b > 0, logit.sigmoid(), (-logit).sigmoid())),
    "reinmax": lambda b, logit: torch.where(b > 0, (-logit).sigmoid(), logit.sigmoid()) / 2,
}


@pytest.mark.parametrize("point", ["init", "steep"])
def test_straight_through_has_the_mean_of_its_formula(point):
    """Exactly, over every outcome; the cost is cubic and has params, so that none of these is unbiased."""
    for toy, formulas in (("coins", OF_BITS), ("categories", OF_CATEGORIES)):
        problem = TOYS[toy]()
        exact = exact_gradient(problem, problem.at(point))
        for name, jacobian in formulas.items():
            found = exact_moments(ESTIMATORS[name], problem, problem.at(point), 1).mean
            close(f"{name} {toy}", found, by_jacobian(problem, point, jacobian))
            if name not in {"darn", "reinmax"}:
                assert (found - exact).norm() > 0.01, name


@pytest.mark.parametrize("gap", [0.0, 2.5])
@pytest.mark.parametrize("temperature", [0.4, 1.7])
def test_gapped_and_reinmax_at_other_temperatures(gap, temperature):
    problem = TOYS["categories"]()
    for proxy, jacobian in (
        (
            partial(gapped, gap=gap, temperature=temperature),
            lambda y, logit: softmax_jacobian((moved(y, logit, gap) / temperature).softmax(-1)) / temperature,
        ),
        (partial(reinmax, temperature=temperature), partial(reinmax_jacobian, temperature=temperature)),
    ):
        found = exact_moments(partial(straight_through, proxy=proxy), problem, problem.at("init"), 1).mean
        close(proxy, found, by_jacobian(problem, "init", jacobian))


# What they are exact for.


@pytest.mark.parametrize("point", ["init", "steep"])
def test_second_order_is_exact_for_quadratics_and_not_for_cubics(point):
    for name, categories in (("darn", None), ("reinmax", None), ("reinmax", 4)):
        for power in (1, 2, 3):
            problem = Polynomial(power, 2, categories)
            error = exact_moments(ESTIMATORS[name], problem, problem.at(point), 1).mean
            error = error - exact_gradient(problem, problem.at(point))
            assert error.abs().max() < 1e-12 if power < 3 else error.norm() > 0.01, (name, power)


def test_first_order_is_exact_for_linear_costs_and_not_for_quadratics():
    for categories in (None, 4):
        for power in (1, 2):
            problem = Polynomial(power, 2, categories)
            found = exact_moments(ESTIMATORS["st_probabilities"], problem, problem.at("init"), 1).mean
            error = found - exact_gradient(problem, problem.at("init"))
            assert error.abs().max() < 1e-12 if power == 1 else error.norm() > 0.01


# What they are of one another.


def test_reinmax_of_bits_is_darn_draw_by_draw():
    for toy in COINS:
        problem = TOYS[toy]()
        params = leaf(problem.at("steep"), 50)
        proxies = [partial(straight_through, problem, params, 3, proxy=proxy) for proxy in (darn, reinmax)]
        close(toy, *same_seed(*proxies))


def test_the_limits_of_the_relaxations():
    """Draw by draw: decoupled with a cold forward pass is straight-through, with one temperature it is Gumbel-Softmax;
    a slope of one is plain straight-through."""
    problem = TOYS["categories"]()
    params = leaf(problem.at("init"), 50)

    def drawn(proxy):
        return partial(straight_through, problem, params, 2, proxy=proxy)

    for one, other in (
        (partial(decoupled, forward=1e-9, backward=0.7), partial(gumbel_softmax, temperature=0.7)),
        (partial(decoupled, forward=0.7, backward=0.7), partial(relaxation, temperature=0.7)),
        (partial(probabilities, temperature=1.0), ESTIMATORS["st_probabilities"].keywords["proxy"]),
    ):
        close(one, *same_seed(drawn(one), drawn(other)))


def test_gumbel_rao_is_the_conditional_mean_of_straight_through_gumbel_softmax(monkeypatch):
    """By quadrature of one coin, to 1e-9: with one inner draw the same mean and variance; with two the same mean, and
    half of the variance that was left given the bit."""
    problem = Toy(1)
    for point in ("init", "steep"):
        for temperature in (1.0, 0.5):
            proxy = partial(gumbel_softmax, temperature=temperature)
            estimator = partial(straight_through, proxy=proxy)
            expected = torch.stack(by_logistic_noise(monkeypatch, estimator, problem, problem.at(point)))
            one, between = gumbel_rao_moments(monkeypatch, problem, problem.at(point), temperature, 1)
            two, _ = gumbel_rao_moments(monkeypatch, problem, problem.at(point), temperature, 2)
            close(point, one, expected, 1e-9)
            close(point, two, torch.stack([expected[0], (expected[1] + between) / 2]), 1e-9)
            assert expected[1, 0] - between[0] > 1e-5


def gumbel_rao_moments(monkeypatch, problem, point, temperature, inner):
    """Exact mean and variance, (2, P), and the variance of the means given each bit, (P,)."""
    reach = torch.tensor([0.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    v, weight = legendre(torch.cat([reach, -reach]), 20)
    v, weight = grid([(v, weight * v.sigmoid() * (-v).sigmoid())] * inner)
    weight = weight / weight.sum()
    estimator = partial(straight_through, proxy=partial(gumbel_rao, temperature=temperature, inner=inner))
    p, parts = float(point[0].sigmoid()), []
    for bit in (0.0, 1.0):
        given_noise(monkeypatch, rand=[v.sigmoid().T.reshape(inner, 1, -1, 1)])
        g = estimator(Handed(problem, torch.full((1, len(v), 1), bit)), leaf(point, len(v)))
        monkeypatch.undo()
        parts.append(g)
    bits = torch.tensor([1 - p, p])
    between = moments(torch.stack([weight @ g for g in parts]), bits)[1]
    return torch.stack(moments(torch.cat(parts), torch.cat([weight * share for share in bits]))), between
