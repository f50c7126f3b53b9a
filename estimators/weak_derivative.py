"""Measure-valued derivatives: the derivative of a density as a difference of two densities."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Exponential, Gamma, Normal, Poisson

from estimators.core import Problem, Unsupported, base_of, flat, grad

Pair = Callable[[int], tuple[Tensor, Tensor]]


def measure_valued(problem: Problem, params: Tensor, num_samples: int = 1, coupled: bool = True) -> Tensor:
    """Measure-valued, weak derivative (Pflug 1989; Heidergott and Vazquez-Abad 2000; Rosca et al. 2019).

        sum_i c_i (E[f(z_i+)] - E[f(z_i-)]) grad theta_i + E_q[grad f]

    z_i+ and z_i- are a draw of q with coordinate i drawn anew from the positive and the negative part of dq/dtheta_i,
    theta_i a parameter of that coordinate. Unbiased for any f. Costs two evaluations of f for each theta_i and draw,
    and one for the second term where f itself has params.

    params: (R, P); coupled: draw both parts from common noise. Returns (R, P). Raises Unsupported for a q whose
    parts are not implemented.
    """
    q = problem.q(params)
    z = q.sample((num_samples,))
    total = torch.zeros_like(params)
    for theta, constant, pair in weak_derivatives(q):
        plus, minus = pair(num_samples)
        if not coupled:
            minus = pair(num_samples)[1]
        differences, explicit = [], False
        for i in range(q.event_shape.numel()):
            f = [problem.f(_with(z, i, new), q, params) for new in (plus, minus)]
            explicit = f[0].requires_grad
            differences.append((f[0] - f[1]).detach())
        total = total + grad(theta, params, constant * torch.stack(differences, -1).reshape(z.shape))
    return total + grad(problem.f(z, q, params), params) if explicit else total


def _with(z: Tensor, i: int, new: Tensor) -> Tensor:
    """z, (S, R, ...), with coordinate i of its event taken from new."""
    changed = flat(z).clone()
    changed[..., i] = flat(new)[..., i]
    return changed.reshape(z.shape)


def weak_derivatives(q: Distribution) -> list[tuple[Tensor, Tensor, Pair]]:
    """(theta, c, pair) for each parameter theta of q's coordinates: dq/dtheta = c (q+ - q-), coordinate by coordinate.

    pair draws from q+ and q-, (S, R, ...), with common noise (Mohamed et al. 2020, table 1). Raises Unsupported for a q
    whose parts are not known.
    """
    match base := base_of(q):
        case Normal():
            scale = base.scale.detach()
            return [
                (base.loc, 1 / (scale * math.sqrt(2 * math.pi)), partial(_rayleigh, base)),
                (base.scale, 1 / scale, partial(_maxwell, base)),
            ]
        case Poisson():
            return [(base.rate, torch.ones_like(base.rate), partial(_one_more, base))]
        case Exponential():
            return [(base.rate, 1 / base.rate.detach(), partial(_erlang, base))]
        case Gamma() if not base.concentration.requires_grad:
            return [(base.rate, base.concentration / base.rate.detach(), partial(_erlang, base))]
        case Gamma():
            raise Unsupported("no measure-valued derivative is implemented for the concentration of Gamma")
        case Bernoulli():
            return [(base.probs, torch.ones_like(base.probs), partial(_both, base))]
    raise Unsupported(f"no measure-valued derivative is implemented for {type(base).__name__}")


def _rayleigh(q: Normal, n: int) -> tuple[Tensor, Tensor]:
    """For the mean: mean +- scale x Weibull(2, sqrt 2)."""
    z = q.loc.new_empty(n, *q.loc.shape)
    step = q.scale * (2 * z.exponential_()).sqrt()
    return (q.loc + step).detach(), (q.loc - step).detach()


def _maxwell(q: Normal, n: int) -> tuple[Tensor, Tensor]:
    """For the scale: a double-sided Maxwell variable m; times a uniform, it is a normal."""
    z = q.loc.new_empty(n, *q.loc.shape)
    sign = torch.empty_like(z).bernoulli_() * 2 - 1
    step = q.scale * sign * torch.stack([torch.randn_like(z) for _ in range(3)]).norm(dim=0)
    return (q.loc + step).detach(), (q.loc + step * torch.rand_like(z)).detach()


def _one_more(q: Poisson, n: int) -> tuple[Tensor, Tensor]:
    z = q.sample((n,))
    return z + 1, z


def _erlang(q: Exponential | Gamma, n: int) -> tuple[Tensor, Tensor]:
    """For the rate: the concentration as it is, and one more."""
    z = q.sample((n,))
    return z, z + torch.empty_like(z).exponential_() / q.rate.detach()


def _both(q: Bernoulli, n: int) -> tuple[Tensor, Tensor]:
    one = torch.ones_like(q.probs).expand(n, *q.probs.shape)
    return one, torch.zeros_like(one)
