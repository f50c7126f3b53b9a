"""Antithetic draws of one Bernoulli variable: (p, S) -> S exchangeable draws (S, *p), and 1 / (1 - their correlation).

Each draws the rarer of the two outcomes, with probability r, so that it seldom or never comes twice. Of a coin that is
fair within MARGIN it is the one: which one is not for rounding to choose.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.special import ndtr, ndtri

NODES = 64
MARGIN = 2.0**-10


def dirichlet(p: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Uniforms 1 - (1 - d_s)^(S-1) of d ~ Dirichlet(1, ..., 1) (Dimitriev and Zhou 2021).

    Two of them exceed 1 - r both with probability max(2 r^(1/(S-1)) - 1, 0)^(S-1).
    """
    rare = _rarer(p)
    d = torch.empty(count, *p.shape, dtype=torch.float64, device=p.device).exponential_()
    d = d / d.sum(0)
    threshold = rare.double() ** (1 / (count - 1))
    both = (2 * threshold - 1).clamp(min=0) ** (count - 1)
    return _outcomes(d > 1 - threshold, p), _debias(rare, both, p.dtype)


def gaussian(p: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Normal variables with correlation -1/(S-1), the least that S can have (Dimitriev and Zhou 2021).

    Two of them are below h = ndtri(r) both with probability r^2 - 1/(2 pi) int exp(-h^2 / (1 - sin t)) dt, t from 0 to
    asin(1/(S-1)), here by Gauss-Legendre quadrature.
    """
    rare = _rarer(p).double()
    x = torch.randn(count, *p.shape, dtype=torch.float64, device=p.device)
    x = (x - x.mean(0)) * math.sqrt(count / (count - 1))
    h = ndtri(rare)
    angle = math.asin(1 / (count - 1))
    nodes, weights = (torch.as_tensor(v, device=p.device) for v in np.polynomial.legendre.leggauss(NODES))
    shrink = 1 - (angle * (nodes + 1) / 2).sin()
    less = (-h.square()[..., None] / shrink).exp() @ weights * angle / 2
    both = (rare.square() - less / (2 * math.pi)).clamp(min=0)
    return _outcomes(ndtr(x) < rare, p), _debias(rare, both, p.dtype)


def _rarer(p: Tensor) -> Tensor:
    """Probability of the outcome that is drawn."""
    return torch.where(_is_one(p), p, 1 - p)


def _is_one(p: Tensor) -> Tensor:
    """Whether it is the one."""
    return p <= 0.5 + MARGIN


def _outcomes(drawn: Tensor, p: Tensor) -> Tensor:
    """Bits, of where the rarer outcome came."""
    return (drawn == _is_one(p)).to(p)


def _debias(rare: Tensor, both: Tensor, dtype: torch.dtype) -> Tensor:
    """1 / (1 - rho) = r (1 - r) / (r - both), without what cancels."""
    rare = rare.double().clamp(min=torch.finfo(torch.float64).tiny)
    return ((1 - rare) / (1 - both / rare)).to(dtype)
