"""Biased estimators for finite coordinates: pathwise, with a derivative that draws do not have.

z has one value and the derivative of a proxy; a *proxy* draws both. It maps (problem, params, S) to a view of q, the
value and what is differentiated, each (S, R, *B, N) for bits or (S, R, *B, N, C).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from estimators.core import Count, Nonnegative, Positive, Problem, grad
from estimators.finite import Binary, OneHot, View, view

Proxied = tuple[View, Tensor, Tensor]
Proxy = Callable[[Problem, Tensor, int], Proxied]


def straight_through(problem: Problem, params: Tensor, num_samples: int = 1, *, proxy: Proxy) -> Tensor:
    """Straight-through estimators and relaxations (Bengio et al. 2013; Jang et al. 2017; Maddison et al. 2017).

        E[f'(z) grad proxy] + E[grad f(z)]

    Biased, but for special f. proxy: see the module. params: (R, P). Returns (R, P). Raises Unsupported for a q without
    independent finite coordinates.
    """
    q, value, proxied = proxy(problem, params, num_samples)
    z = value + (proxied - proxied.detach())
    return grad(q.f(z), params)


def identity(problem: Problem, params: Tensor, num_samples: int) -> Proxied:
    """A draw, with the derivative of its logits: straight-through by the identity (Bengio et al. 2013).

    Of categories, those of log-probabilities, since q keeps no others.
    """
    q = view(problem, params)
    return q, q.sample(num_samples), q.logits


def probabilities(problem: Problem, params: Tensor, num_samples: int, temperature: Positive = 1.0) -> Proxied:
    """A draw, with the derivative of sigmoid or softmax(logits / temperature) (Bengio et al. 2013).

    At a temperature below 1, slope-annealed (Chung et al. 2017) with slope 1 / temperature.
    """
    q = view(problem, params)
    return q, q.sample(num_samples), q.soft(q.logits, temperature)


def hard_sigmoid(problem: Problem, params: Tensor, num_samples: int) -> Proxied:
    """A draw, with the derivative of max(0, min(1, (l + 1) / 2)) (Hubara et al. 2016); of bits only."""
    q = Binary(problem, params)
    return q, q.sample(num_samples), ((q.logits + 1) / 2).clamp(0, 1)


def concrete(problem: Problem, params: Tensor, num_samples: int, temperature: Positive = 1.0) -> Proxied:
    """Gumbel-Softmax, Concrete (Jang et al. 2017; Maddison et al. 2017): relaxed draws in value and derivative.

    Binary Concrete for bits.
    """
    q = view(problem, params)
    soft = q.soft(q.perturbed(num_samples), temperature)
    return q, soft.detach(), soft


def gumbel_softmax(problem: Problem, params: Tensor, num_samples: int, temperature: Positive = 1.0) -> Proxied:
    """A draw, with the derivative of the relaxed one: straight-through Gumbel-Softmax (Jang et al. 2017)."""
    q = view(problem, params)
    x = q.perturbed(num_samples)
    return q, q.hard(x).detach(), q.soft(x, temperature)


def gumbel_rao(
    problem: Problem, params: Tensor, num_samples: int, temperature: Positive = 1.0, inner: Count = 16
) -> Proxied:
    """A draw, with the mean derivative over `inner` relaxed ones that agree with it (Gumbel-Rao, Paulus et al. 2021).

    The mean of straight-through Gumbel-Softmax, which it is with inner = 1, and never more variance.
    """
    q = view(problem, params)
    y = q.sample(num_samples)
    noise = q.given(y.expand(inner, *y.shape)).detach() - q.logits.detach()
    return q, y, q.soft(q.logits + noise, temperature).mean(0)


def decoupled(
    problem: Problem, params: Tensor, num_samples: int, forward: Positive = 0.3, backward: Positive = 1.0
) -> Proxied:
    """A relaxed draw, with the derivative of one at another temperature, by the same noise (Shah et al. 2024).

    As `forward` goes to zero, straight-through Gumbel-Softmax at temperature `backward`.
    """
    q = view(problem, params)
    x = q.perturbed(num_samples)
    return q, q.soft(x, forward).detach(), q.soft(x, backward)


def gapped(
    problem: Problem, params: Tensor, num_samples: int, temperature: Positive = 1.0, gap: Nonnegative = 1.0
) -> Proxied:
    """A draw, with the derivative of softmax at logits moved so that the drawn one leads by `gap` (Fan et al. 2022).

    The drawn category's logit is raised to the largest, the others are lowered to `gap` below it.
    """
    q = OneHot(problem, params)
    y, logits = q.sample(num_samples), q.logits.detach()
    largest = logits.max(-1, keepdim=True).values
    moved = torch.where(y > 0, largest - logits, -(logits + gap - largest).clamp(min=0))
    return q, y, q.soft(q.logits + moved, temperature)


def reinmax(problem: Problem, params: Tensor, num_samples: int, temperature: Positive = 1.0) -> Proxied:
    """A draw, with a derivative of second order, by Heun's method (ReinMax, Liu et al. 2023).

        2 d softmax at (softmax(l / temperature) + y) / 2  -  1/2 d softmax(l)

    At temperature 1 exact for quadratic f; for bits it is `darn` then.
    """
    q = OneHot(problem, params)
    y = q.sample(num_samples)
    middle = (q.soft(q.logits.detach(), temperature) + y) / 2
    heun = q.soft(q.logits + (middle.log() - q.logits.detach()), 1.0)
    return q, y, 2 * heun - q.logits.softmax(-1) / 2


def darn(problem: Problem, params: Tensor, num_samples: int) -> Proxied:
    """A bit, with the derivative dp / (2 q(b)): DARN's 1/2-estimator (Gregor et al. 2014; so called by Gu et al. 2016).

    E[f'(b) / (2 q(b))] = (f'(0) + f'(1)) / 2: exact for quadratic f, the trapezium rule for others.
    """
    q = Binary(problem, params)
    b, p = q.sample(num_samples), q.probs
    return q, b, p / (2 * torch.where(b > 0, p, 1 - p).detach())
