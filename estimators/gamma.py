"""Pathwise gradients of Gamma variables whose noise still depends a little on params, and the score that mends it."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Beta, Dirichlet, Distribution, Gamma

from estimators.core import Problem, Unsupported, base_of, grad

Transform = Callable[[Tensor, int], tuple[Tensor, Tensor]]


def generalised(problem: Problem, params: Tensor, num_samples: int = 1, *, transform: Transform) -> Tensor:
    """Generalised reparameterisation (G-REP, Ruiz et al. 2016) and its relatives, for Gamma, Beta and Dirichlet.

        E[grad f(T(eps, params)) + f grad log p(eps; params)]

    eps = T^-1(z, params) depends on params less than z does; the second term is the rest. Unbiased. z is made of
    standard Gamma variables x: x / rate, or x over their sum.

    params: (R, P); transform: concentration, S -> x, differentiable with eps held, and log p(eps). Returns (R, P).
    Raises Unsupported for another q.
    """
    q = problem.q(params)
    concentration, z_of = _gammas(q)
    x, log_density = transform(concentration, num_samples)
    f = problem.f(z_of(x), q, params)
    return grad(f, params) + grad(log_density.flatten(2).sum(-1), params, f)


def standardised(concentration: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
    """eps = (log x - digamma(a)) / sqrt(trigamma(a)): the logarithm, standardised (Ruiz et al. 2016)."""
    location, scale = torch.digamma(concentration), torch.polygamma(1, concentration).sqrt()
    eps = ((_standard_gamma(concentration, num_samples).log() - location) / scale).detach()
    log_x = location + scale * eps
    return log_x.exp(), _log_density(log_x, concentration) + log_x + scale.log()


def rejection(concentration: Tensor, num_samples: int, boost: int = 1) -> tuple[Tensor, Tensor]:
    """eps is the normal that Marsaglia and Tsang's sampler accepts (RSVI, Naesseth et al. 2017).

        x = d (1 + eps / sqrt(9 d))^3,    d = a - 1/3

    With boost B, x is drawn for a + B and multiplied by prod_{i<B} u_i^(1/(a+i)) (shape augmentation): the larger B,
    the less eps depends on a. boost: B >= 1, so that d > 0.
    """
    if boost < 1:
        raise ValueError(f"boost={boost}: it must be at least 1")
    a = concentration + boost
    d = a - 1 / 3
    eps = (((_standard_gamma(a, num_samples) / d) ** (1 / 3) - 1) * (9 * d).sqrt()).detach()
    root = 1 + eps / (9 * d).sqrt()
    x = d * root**3
    log_density = _log_density(x.log(), a) + (d.sqrt() * root.square()).log()
    for i in range(boost):
        x = x * (1 - torch.rand_like(x)) ** (1 / (concentration + i))
    return x.clamp(min=torch.finfo(x.dtype).tiny), log_density


def _standard_gamma(concentration: Tensor, num_samples: int) -> Tensor:
    """Draws (S, R, ...) of Gamma(a, 1), never zero."""
    a = concentration.detach()
    x = Gamma(a, torch.ones_like(a), validate_args=False).sample((num_samples,))
    return x.clamp(min=torch.finfo(x.dtype).tiny)


def _log_density(log_x: Tensor, concentration: Tensor) -> Tensor:
    """Of Gamma(a, 1) at x."""
    return (concentration - 1) * log_x - log_x.exp() - torch.lgamma(concentration)


def _gammas(q: Distribution) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Concentrations of the Gamma variables that z is made of, and how."""
    match base_of(q):
        case Gamma() as gamma:
            return gamma.concentration, lambda x: x / gamma.rate
        case Dirichlet() as dirichlet:
            return dirichlet.concentration, lambda x: x / x.sum(-1, keepdim=True)
        case Beta() as beta:
            both = torch.stack([beta.concentration1, beta.concentration0], -1)
            return both, lambda x: x[..., 0] / x.sum(-1)
        case other:
            raise Unsupported(f"needs a Gamma, Beta or Dirichlet q; this one is {type(other).__name__}")
