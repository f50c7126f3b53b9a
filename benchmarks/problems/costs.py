"""Univariate costs whose mean under a Gaussian has a closed form."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.problems.closed_forms import gaussian_moment


class Cost(NamedTuple):
    """A cost c(x, k) and its mean E[c(x, k)] for x ~ N(loc, scale^2), mean(loc, scale, k); both elementwise."""

    f: Callable[[Tensor, float], Tensor]
    mean: Callable[[Tensor, Tensor, float], Tensor]


def _exponential_mean(loc: Tensor, scale: Tensor, k: float) -> Tensor:
    """E[exp(-k x^2)]; not a number where it is infinite, 1 + 2 k scale^2 <= 0."""
    shrink = 1 + 2 * k * scale.square()
    return (-k * loc.square() / shrink).exp() / shrink.sqrt()


def _relu_mean(loc: Tensor, scale: Tensor, k: float) -> Tensor:
    """E[max(x - k, 0)] = scale (a Phi(a) + phi(a)), a = (loc - k) / scale."""
    a = (loc - k) / scale
    return scale * (a * torch.special.ndtr(a) + (-0.5 * a.square()).exp() / math.sqrt(2 * math.pi))


COSTS = {
    "quadratic": Cost(lambda x, k: (x - k).square(), lambda loc, scale, k: (loc - k).square() + scale.square()),
    "exponential": Cost(lambda x, k: (-k * x.square()).exp(), _exponential_mean),
    "cosine": Cost(
        lambda x, k: (k * x).cos(), lambda loc, scale, k: (k * loc).cos() * (-0.5 * (k * scale).square()).exp()
    ),
    "linear": Cost(lambda x, k: k * x, lambda loc, scale, k: k * loc),
    "constant": Cost(lambda x, k: torch.full_like(x, k), lambda loc, scale, k: k + 0 * loc),
    "quartic": Cost(lambda x, k: k * x**4, lambda loc, scale, k: k * gaussian_moment(loc, scale, 4)),
    "step": Cost(lambda x, k: (x > k).to(x), lambda loc, scale, k: torch.special.ndtr((loc - k) / scale)),
    "relu": Cost(lambda x, k: (x - k).relu(), _relu_mean),
    "heavy": Cost(lambda x, k: (k * x.square()).exp(), lambda loc, scale, k: _exponential_mean(loc, scale, -k)),
    "lognormal": Cost(lambda x, k: (k * x).exp(), lambda loc, scale, k: (k * loc + 0.5 * (k * scale).square()).exp()),
}
