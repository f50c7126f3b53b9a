"""Surrogates of f: costs whose exact mean under q is known, for control variates."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, VonMises
from torch.nn.parameter import UninitializedParameter

from estimators.baselines import Running
from estimators.core import Problem, Unsupported, base_of, flat, mean_of
from estimators.derivatives import covariance, hessian, slope


class Surrogate(NamedTuple):
    """A cost f(z), (S, R, ...) -> (S, R), and its exact mean under q, (R,), differentiable in params."""

    f: Callable[[Tensor], Tensor]
    mean: Tensor


def one(problem: Problem, params: Tensor) -> Surrogate:
    """The constant 1: with the score function, a baseline."""
    return Surrogate(lambda z: z.new_ones(z.shape[:2]), params.new_zeros(params.shape[0]))


def first_order(problem: Problem, params: Tensor) -> Surrogate:
    """First-order Taylor expansion of f at the mean of q: with the score function, MuProp (Gu et al. 2016).

    It costs one evaluation of f and its gradient. Raises Unsupported where torch does not know q's mean, and on the
    circle, where it is no mean of z.
    """
    q = problem.q(params)
    if isinstance(base_of(q), VonMises):
        raise Unsupported("needs the mean of q; that of VonMises is one of angles")
    mean = mean_of(q)
    centre = mean.detach()[None].requires_grad_()
    cost = problem.f(centre, problem.q(params.detach()), params.detach())
    value, steepness = cost.detach()[0], slope(cost, centre)[0]

    def f(z: Tensor) -> Tensor:
        return value + (steepness * flat(z - centre.detach())).sum(-1)

    return Surrogate(f, f(mean[None])[0])


def taylor(problem: Problem, params: Tensor) -> Surrogate:
    """Second-order Taylor expansion of f at the mean of q (delta method: Paisley et al. 2012; Miller et al. 2017).

    It costs one evaluation of f, its gradient, and one Hessian-vector product a coordinate. Raises Unsupported where
    torch does not know q's mean and covariance.
    """
    q = problem.q(params)
    frozen = problem.q(params.detach())
    centre = mean_of(q).detach()[None].requires_grad_()
    f = problem.f(centre, frozen, params.detach())
    linear = slope(f, centre, create_graph=True)
    return _quadratic(q, f.detach()[0], linear.detach()[0], hessian(linear, centre)[0], covariance(q))


class LearnedQuadratic(nn.Module):
    """A learned quadratic about the mean of q (Geffner and Domke 2020): tuned to the least variance.

        spread x (b'y + 1/2 y'By),    y = (z - mean) / standard deviation,    B = diag(d) + (U V' + V U') / 2

    spread is that of past costs, rank the number of columns of U and V. The parameters take their size from the first
    problem that they meet.
    """

    def __init__(self, rank: int = 2) -> None:
        super().__init__()
        self.rank = rank
        self.past = Running()
        self.linear = UninitializedParameter()
        self.diagonal = UninitializedParameter()
        self.left = UninitializedParameter()
        self.right = UninitializedParameter()

    def forward(self, problem: Problem, params: Tensor) -> Surrogate:
        q = problem.q(params)
        if isinstance(self.linear, UninitializedParameter):
            self._size(q.event_shape.numel())
        spreads = covariance(q)
        scale = spreads.detach().diagonal(dim1=-2, dim2=-1).sqrt()
        _, spread = self.past(self._costs(problem, params) if self.training else scale)
        quadratic = torch.diag(self.diagonal) + (self.left @ self.right.T + self.right @ self.left.T) / 2
        linear = spread * self.linear.to(params) / scale
        bend = spread * quadratic.to(params) / scale[..., None] / scale[:, None]
        return _quadratic(q, params.new_zeros(len(params)), linear, bend, spreads)

    def _size(self, size: int) -> None:
        """Zeros, but for V: U V' is zero to begin with, and has a gradient."""
        for parameter in (self.linear, self.diagonal):
            parameter.materialize((size,))
        for parameter in (self.left, self.right):
            parameter.materialize((size, self.rank))
        for parameter in (self.linear, self.diagonal, self.left):
            nn.init.zeros_(parameter)
        nn.init.normal_(self.right)

    def _costs(self, problem: Problem, params: Tensor) -> Tensor:
        with torch.no_grad():
            q = problem.q(params)
            return problem.f(q.sample((1,)), q, params)


def _quadratic(q: Distribution, value: Tensor, linear: Tensor, quadratic: Tensor, spreads: Tensor) -> Surrogate:
    """value + linear'(z - m) + 1/2 (z - m)' quadratic (z - m), m the mean of q as it is now, and its mean under q.

    spreads: the covariance of q, (R, E, E).
    """
    centre = q.mean.detach()

    def f(z: Tensor) -> Tensor:
        step = flat(z - centre)
        bent = torch.einsum("srd,rde->sre", step, quadratic)
        return value + ((linear + 0.5 * bent) * step).sum(-1)

    spread = 0.5 * (quadratic * spreads).sum((-2, -1))
    return Surrogate(f, f(q.mean[None])[0] + spread)
