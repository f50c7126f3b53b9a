"""Estimators that differentiate the draw: z = g(eps, params) with eps free of params."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal, VonMises

from estimators.core import Problem, Unsupported, base_of, grad
from estimators.samplers import iid
from estimators.score_function import Sampler

GAUSS_LEGENDRE = 64


def reparam(problem: Problem, params: Tensor, num_samples: int = 1, sampler: Sampler = iid) -> Tensor:
    """Pathwise, reparameterisation (Kingma and Welling 2014; Rezende et al. 2014; Titsias and Lazaro-Gredilla 2014).

        grad E_q[f] = E_eps[grad f(g(eps, params))]

    Unbiased for f that is continuous and almost everywhere differentiable in z.

    params: (R, P); sampler: (q, S) -> draws. Returns (R, P). Raises Unsupported if q has no pathwise gradient.
    """
    q = problem.q(params)
    z = reparametrised(q, sampler(q, num_samples))
    return grad(problem.f(z, q, params), params)


def stl(problem: Problem, params: Tensor, num_samples: int = 1) -> Tensor:
    """Sticking the landing, path derivative (Roeder et al. 2017): pathwise, with q frozen inside f.

        E_eps[grad f(g(eps, params); q held constant)]

    Drops -E_q[grad log q] = 0, so it is unbiased where f is an ELBO integrand with log q in it, and has zero
    variance for q's parameters where q is the posterior. Where f has no log q (an analytic KL) it is `reparam`.

    params: (R, P). Returns (R, P). Raises Unsupported if q has no pathwise gradient.
    """
    q = problem.q(params)
    z = reparametrised(q, iid(q, num_samples))
    return grad(problem.f(z, problem.q(params.detach()), params), params)


def forward_gradient(problem: Problem, params: Tensor, num_samples: int = 1) -> Tensor:
    """Forward gradient (Baydin et al. 2022): the pathwise derivative along a random direction, times the direction.

        E_{eps,v}[(grad f(g(eps, params)) . v) v],    v ~ N(0, I), one a draw

    Unbiased where the pathwise gradient is. The derivative along v is taken from the pathwise gradient, whose value it
    has; by forward differentiation it would cost one pass forward.

    params: (R, P). Returns (R, P). Raises Unsupported if q has no pathwise gradient.
    """
    g = reparam(problem, params.detach().repeat(num_samples, 1).requires_grad_())
    v = torch.randn_like(g)
    return ((g * v).sum(-1, keepdim=True) * v).reshape(num_samples, *params.shape).mean(0)


def reparametrised(q: Distribution, z: Tensor) -> Tensor:
    """Draws (S, R, ...) with the gradient of q's parameters: their own, or an implicit one (Figurnov et al. 2018).

    Implicit: dz = -dF / q(z), where F is the distribution function, coordinate by coordinate given those before (the
    distributional transform of a mixture: Graves 2016). Raises Unsupported where q has neither.
    """
    base = base_of(q)
    if q.has_rsample or z.requires_grad:
        return z
    if isinstance(base, VonMises):
        return _implicit(z, _von_mises_cdf(z - base.loc, base.concentration), base.log_prob(z))
    if isinstance(base, MixtureSameFamily) and isinstance(base_of(base.component_distribution), Normal):
        return _mixture(base, z)
    raise Unsupported(f"a pathwise gradient needs a q with rsample; {type(base).__name__} has none")


def _implicit(z: Tensor, cdf: Tensor, log_density: Tensor) -> Tensor:
    """z with the derivative -d cdf / density."""
    return z - (cdf - cdf.detach()) / log_density.detach().exp()


def _von_mises_cdf(z: Tensor, concentration: Tensor) -> Tensor:
    """Integral of the density from 0 to z, by Gauss-Legendre quadrature."""
    x, weights = (torch.as_tensor(v).to(z) for v in np.polynomial.legendre.leggauss(GAUSS_LEGENDRE))
    z = torch.remainder(z + math.pi, 2 * math.pi) - math.pi
    angles = z[..., None] * (x + 1) / 2
    density = (concentration[..., None] * (angles.cos() - 1)).exp() @ weights / 2
    return z * density / (2 * math.pi * torch.special.i0e(concentration))


def _mixture(q: MixtureSameFamily, z: Tensor) -> Tensor:
    """Draws of a mixture of diagonal Gaussians with their implicit gradient, one coordinate after the other."""
    components, weights = q.component_distribution, q.mixture_distribution
    whole = isinstance(components, Independent)
    normal = base_of(components)
    assert isinstance(normal, Normal)
    assert isinstance(weights, Categorical)
    loc, scale = (x if whole else x[..., None] for x in (normal.loc, normal.scale))
    columns = []
    log_weight = weights.logits
    for d, value in enumerate((z if whole else z[..., None]).unbind(-1)):
        marginal = Normal(loc[..., d], scale[..., d], validate_args=False)
        weight = log_weight.softmax(-1)
        cdf = (weight * marginal.cdf(value[..., None])).sum(-1)
        log_density = (log_weight.log_softmax(-1) + marginal.log_prob(value[..., None])).logsumexp(-1)
        columns.append(_implicit(value, cdf, log_density))
        log_weight = log_weight + marginal.log_prob(columns[-1][..., None])
    return torch.stack(columns, -1) if whole else columns[0]
