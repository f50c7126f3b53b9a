"""Small problems with finite coordinates, all of whose outcomes can be listed, and exact moments on them."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Independent, OneHotCategorical
from torch.nn.functional import one_hot

from benchmarks.engine import Wrapped, leaf
from estimators.core import Problem, base_of
from tests.cases import ESTIMATORS, ready


class Toy(Problem):
    """A cost of x_n = a_n[y_n], the coordinates' own values, that no sum over coordinates is; blocks add up.

        f = (sum_n x_n - 1/2)^2 + t prod_n x_n + t^2 x_1 + 0.3 log q(z)

    The last three depend on params, t and the logits; without `explicit`, t is 2 in prod_n x_n and the others are left
    out. Coins where categories is None; with blocks, z's event has an axis of as many blocks before the coordinates.
    """

    points = ("init", "steep", "level")

    def __init__(self, coordinates, categories=None, blocks=0, explicit=True):
        super().__init__()
        self.coins, self.explicit, self.blocks = categories is None, explicit, int(blocks > 0)
        self.shape = (max(blocks, 1), coordinates, categories or 2)
        self.lead = self.shape[:2] if blocks else self.shape[1:2]
        size = math.prod(self.shape)
        self.register_buffer("a", 1.5 * (1.7 * torch.arange(float(size)) + 0.4).sin().reshape(self.shape))
        count = size // 2 if self.coins else size
        self.register_buffer("logits", 1.2 * (2.3 * torch.arange(float(count)) + 1).sin())
        self.groups = {"logits": slice(0, count), "model": slice(count, count + 1)}

    def at(self, point):
        logits = {"init": 1, "steep": 2.5, "level": 0}[point] * self.logits
        return torch.cat([logits, logits.new_full((1,), 0.7)])

    def q(self, params):
        logits = params[:, :-1].reshape(-1, *self.lead, *[] if self.coins else [self.shape[2]])
        base = (Bernoulli if self.coins else OneHotCategorical)(logits=logits, validate_args=False)
        return Independent(base, len(self.lead), validate_args=False)

    def factors(self, z, q, params):
        y = torch.stack([1 - z, z], -1) if self.coins else z
        y = y.reshape(*z.shape[: z.ndim - len(q.event_shape)], *self.shape)
        logits = base_of(q).logits
        logits = torch.stack([-logits / 2, logits / 2], -1) if self.coins else logits
        log_q = (y * logits.log_softmax(-1).reshape(-1, *self.shape)).sum((-2, -1))
        x = (self.a * y).sum(-1)
        square, product = (x.sum(-1) - 0.5).square(), x.prod(-1)
        t = params[:, -1:]
        return square + t * product + t**2 * x[..., 0] + 0.3 * log_q if self.explicit else square + 2 * product

    def f(self, z, q, params):
        return self.factors(z, q, params).sum(-1)

    def value(self, params):
        q, z = self.q(params), outcomes(self)
        z = z[:, None].expand(-1, len(params), *q.event_shape)
        return (q.log_prob(z).exp() * self.f(z, q, params)).sum(0)


class Polynomial(Problem):
    """(z'w + 1/3)^power: linear, quadratic or cubic in each coordinate and in all."""

    points = ("init", "steep")

    def __init__(self, power, coordinates, categories=None):
        super().__init__()
        self.power, self.coins = power, categories is None
        self.shape, self.blocks = (1, coordinates, categories or 2), 0
        self.lead = (coordinates,)
        count = coordinates * (categories or 1)
        self.w = (2.1 * torch.arange(float(count)) + 0.8).cos()
        self.logits = 1.4 * (1.9 * torch.arange(float(count)) + 0.5).sin()
        self.groups = {"logits": slice(0, count)}

    def at(self, point):
        return {"init": 1, "steep": 2.5}[point] * self.logits

    def q(self, params):
        if self.coins:
            return Independent(Bernoulli(logits=params, validate_args=False), 1, validate_args=False)
        logits = params.reshape(len(params), *self.lead, -1)
        return Independent(OneHotCategorical(logits=logits, validate_args=False), 1, validate_args=False)

    def f(self, z, q, params):
        return (z.reshape(*z.shape[: -len(q.event_shape)], -1) @ self.w + 1 / 3) ** self.power

    value = Toy.value


class Bits(Problem):
    """Any cost of bits, (S, R, N) -> (S, R)."""

    points = ("init",)

    def __init__(self, cost, p):
        super().__init__()
        self.cost, self.logits = cost, torch.logit(torch.tensor(p))
        self.groups = {"logits": slice(0, len(p))}

    def at(self, point):
        return self.logits

    def q(self, params):
        return Independent(Bernoulli(logits=params, validate_args=False), 1, validate_args=False)

    def f(self, z, q, params):
        return self.cost(z)


TOYS = {
    "coins": partial(Toy, 3),
    "coins_blocks": partial(Toy, 2, blocks=2),
    "categories": partial(Toy, 2, 4),
    "categories_blocks": partial(Toy, 2, 3, blocks=2),
}

COINS = ["coins", "coins_blocks"]


def outcomes(problem):
    """All values that z can take, (K, *event)."""
    count, C = math.prod(problem.shape[:2]), problem.shape[2]
    values = torch.cartesian_prod(*[torch.arange(C)] * count).reshape(-1, count)
    z = values.double() if problem.coins else one_hot(values, C).double()
    return z.reshape(len(z), *problem.lead, *[] if problem.coins else [C])


def one_hots(z, problem):
    """Outcomes (K, *event) as one-hot vectors (K, *B, N, C)."""
    y = one_hot(z.long(), 2).double() if problem.coins else z
    return y.reshape(len(z), *problem.shape[1 - problem.blocks :])


def probabilities_of(problem, point):
    """Of all outcomes, (K,)."""
    return problem.q(problem.at(point)[None]).log_prob(outcomes(problem)[:, None])[:, 0].exp()


# How estimators are called.

LEARNED = {"double_cv": {"strength": 0.8}, "rodeo": {"alpha": -6.0, "beta": 9.0}}


def with_values(name, problem, point):
    """An estimator that has met the problem, frozen where its parameters are not what they start as."""
    estimator = copy.deepcopy(ESTIMATORS[name])
    for parameter, value in LEARNED.get(name, {}).items():
        getattr(estimator, parameter).data.fill_(value)
    return ready(estimator, problem, point)


class Handed(Wrapped):
    """A problem whose q.sample hands out given draws."""

    def __init__(self, problem, draws):
        super().__init__(problem)
        self.draws = draws

    def q(self, params):
        q = super().q(params)
        q.sample = lambda shape: self.draws
        return q


def same_seed(*calls):
    """What each call returns, all from the same stream."""
    results = []
    for call in calls:
        torch.manual_seed(11)
        results.append(call())
    return results


def given_noise(monkeypatch, **draws):
    """Let torch.rand, torch.randint hand out tensors, in turn."""
    for name, values in draws.items():
        queue = iter(values)
        monkeypatch.setattr(torch, name, lambda *_, _queue=queue, **__: next(_queue).clone())


def close(name, found, expected, tolerance=1e-12):
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance, msg=lambda m: f"{name}: {m}")


# Exact moments: every outcome of what is random is one row.


def grid(axes):
    """The product of one-dimensional rules [(nodes, weights)]: (K, axes) nodes and (K,) weights."""
    nodes, weights = (torch.cartesian_prod(*[axis[i] for axis in axes]).reshape(-1, len(axes)) for i in (0, 1))
    return nodes, weights.prod(-1)


def legendre(cuts, order):
    """Gauss-Legendre nodes and weights between each two of the cuts."""
    x, w = (torch.as_tensor(v) for v in np.polynomial.legendre.leggauss(order))
    cuts = torch.as_tensor(cuts, dtype=torch.float64).unique()
    start, length = cuts[:-1, None], cuts.diff()[:, None]
    return (start + length * (x + 1) / 2).flatten(), (length * w / 2).flatten()


def moments(g, weight):
    assert weight.sum().item() == pytest.approx(1, abs=1e-12)
    return weight @ g, weight @ g.square() - (weight @ g).square()


def paired(monkeypatch, estimator, problem, point, p, draws=1, order=2):
    """Exact moments of what uses uniforms, (draws, R, *p), through 1[u < p], 1[1 - u < p] and, if at all, linearly."""
    axes = [legendre([0, float(x), 1 - float(x), 1], order) for x in p.flatten().repeat(draws)]
    u, weight = grid(axes)
    given_noise(monkeypatch, rand=[u.reshape(-1, draws, *p.shape).transpose(0, 1)])
    count = draws if estimator is ESTIMATORS["ar"] else 2 * draws
    g = estimator(problem, leaf(point, len(u)), num_samples=count)
    monkeypatch.undo()
    return moments(g, weight)


def one_coin_noise(logit):
    """Rules for two logistic variables, by the logarithm of their odds; the first is cut where the bit changes."""
    reach = torch.tensor([0.0, 2.0, 4.0, 8.0, 16.0, 32.0])

    def rule(centre):
        x, w = legendre(torch.cat([centre - reach, centre + reach]), 20)
        return x, w * x.sigmoid() * (-x).sigmoid()

    return grid([rule(-logit), rule(0.0)])


def by_logistic_noise(monkeypatch, estimator, problem, point):
    """Exact moments for one coin of what uses logits + noise, then noise given the bit, logits of uniforms."""
    v, weight = one_coin_noise(float(point[0]))
    given_noise(monkeypatch, rand=[v[None, :, i : i + 1].sigmoid() for i in (0, 1)])
    g = estimator(problem, leaf(point, len(v)))
    monkeypatch.undo()
    return moments(g, weight / weight.sum())
