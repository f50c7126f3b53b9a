"""Zeroth-order estimators: differences of f at perturbed params, with common random numbers.

Two parts that combine freely: a *direction*, params -> v, and a *difference*, (f, params, v, step) -> the derivative of
f along v. All are biased with respect to the true gradient, by a power of the step.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from estimators.core import Positive, Problem
from estimators.samplers import inverse_cdf, uniforms

Cost = Callable[[Tensor], Tensor]
Difference = Callable[[Cost, Tensor, Tensor, float], Tensor]


def randomised(
    problem: Problem,
    params: Tensor,
    num_samples: int = 1,
    *,
    direction: Callable[[Tensor], Tensor],
    difference: Difference,
    step: Positive = 0.1,
) -> Tensor:
    """Derivative along a random direction, times the direction; one direction a draw.

        E_{u,v}[D_v f(z(u, params)) v]

    SPSA with `rademacher` and `central` (Spall 1992); Gaussian smoothing, evolution strategies, with `gaussian`
    (Nesterov and Spokoiny 2017; Salimans et al. 2017). u are the uniforms that z is made of, the same for both ends.

    params: (R, P). Returns (R, P). Raises Unsupported for a q without an inverse distribution function.
    """
    rows = params.detach().repeat(num_samples, 1)
    v = direction(rows)
    g = difference(_cost(problem, rows, 1), rows, v, step)[:, None] * v
    return g.reshape(num_samples, *params.shape).mean(0)


def finite_differences(
    problem: Problem, params: Tensor, num_samples: int = 1, *, difference: Difference, step: Positive = 0.01
) -> Tensor:
    """Finite differences along each of the P coordinates, with common random numbers (Glasserman and Yao 1992).

        E_u[D_p f(z(u, params))] for p = 1 .. P

    Bias: O(step) with `forward`, O(step^2) with `central`. Costs P + 1 or 2 P evaluations a draw.

    params: (R, P). Returns (R, P). Raises Unsupported for a q without an inverse distribution function.
    """
    params = params.detach()
    f = lru_cache(2)(_cost(problem, params, num_samples))  # `forward` asks for f(params) each time
    unit = torch.eye(params.shape[1], dtype=params.dtype, device=params.device)
    return torch.stack([difference(f, params, v.expand_as(params), step) for v in unit], -1)


def _cost(problem: Problem, params: Tensor, num_samples: int) -> Cost:
    """Mean cost of S draws as a function of params, (R, P) -> (R,), all from the same uniforms."""
    u = uniforms(problem.q(params), num_samples)

    def cost(params: Tensor) -> Tensor:
        q = problem.q(params)
        return problem.f(inverse_cdf(q, u), q, params).mean(0)

    return cost


# Directions.


def rademacher(params: Tensor) -> Tensor:
    """Signs, each coordinate by itself."""
    return torch.empty_like(params).bernoulli_().mul_(2).sub_(1)


def gaussian(params: Tensor) -> Tensor:
    """Standard normals."""
    return torch.randn_like(params)


# Differences: the derivative of f along v, (R,).


def one_point(f: Cost, params: Tensor, v: Tensor, step: float) -> Tensor:
    """f(params + step v) / step: right on average for v of mean zero, with the variance of f itself."""
    return f(params + step * v) / step


def forward(f: Cost, params: Tensor, v: Tensor, step: float) -> Tensor:
    """(f(params + step v) - f(params)) / step."""
    return (f(params + step * v) - f(params)) / step


def central(f: Cost, params: Tensor, v: Tensor, step: float) -> Tensor:
    """(f(params + step v) - f(params - step v)) / (2 step)."""
    return (f(params + step * v) - f(params - step * v)) / (2 * step)
