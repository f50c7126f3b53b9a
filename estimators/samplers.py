"""Samplers: how the S draws of one estimate are placed. Each maps (q, S) to draws (S, R, ...).

Draws carry the gradient of q's parameters where q allows it. All but `iid` put uniforms through the inverse
cumulative distribution function, so that each draw by itself still follows q.
"""

import math

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, MultivariateNormal, OneHotCategorical
from torch.quasirandom import SobolEngine

from estimators.core import Unsupported, base_of, choice, mean_of

BITS = 30


def iid(q: Distribution, num_samples: int) -> Tensor:
    """Independent draws."""
    return (q.rsample if q.has_rsample and torch.is_grad_enabled() else q.sample)((num_samples,))


def antithetic(q: Distribution, num_samples: int) -> Tensor:
    """Pairs u and 1 - u (Hammersley and Morton 1956): mirror images, where q is symmetric. S is even."""
    if num_samples % 2:
        raise Unsupported("antithetic needs an even num_samples")
    u = uniforms(q, num_samples // 2)
    return inverse_cdf(q, torch.cat([u, 1 - u]))


def latin_hypercube(q: Distribution, num_samples: int) -> Tensor:
    """One draw in each of S strata of every coordinate (McKay et al. 1979); stratified sampling in one dimension."""
    u = uniforms(q, num_samples)
    return inverse_cdf(q, (u.argsort(0) + uniforms(q, num_samples)) / num_samples)


def systematic(q: Distribution, num_samples: int) -> Tensor:
    """One draw in each of S strata of every coordinate, all at the same place in theirs (Madow 1944)."""
    u = uniforms(q, num_samples)
    return inverse_cdf(q, (u.argsort(0) + uniforms(q, 1)) / num_samples)


def sobol(q: Distribution, num_samples: int) -> Tensor:
    """Randomised quasi-Monte Carlo: a scrambled Sobol net, every row its own scramble (Matousek 1998).

    Each of the net's leading bits is mapped to itself and random lower bits, and all are shifted by random bits. At its
    best where S is a power of two. Raises Unsupported beyond SobolEngine's dimensions.
    """
    size = q.event_shape.numel()
    if size > SobolEngine.MAXDIM:
        raise Unsupported(f"sobol has {SobolEngine.MAXDIM} dimensions at most; a draw has {size}")
    leading = max(math.ceil(math.log2(num_samples)), 1)
    net = (SobolEngine(size).draw(num_samples, dtype=torch.float64) * 2**leading).long().to(mean_of(q).device)
    shape = (*q.batch_shape, size)
    points = torch.randint(2**BITS, shape, device=net.device).expand(num_samples, *shape)
    for bit in range(leading):
        place = 2 ** (BITS - 1 - bit)
        column = place + torch.randint(place, shape, device=net.device)
        points = points ^ (column * (net >> (leading - 1 - bit) & 1)[:, None])
    u = points.reshape(num_samples, *q.batch_shape, *q.event_shape)
    return inverse_cdf(q, (u + uniforms(q, num_samples)) / 2**BITS)


def log_exponential(like: Tensor) -> Tensor:
    """Logarithms of standard exponential noise in a tensor's shape: minus standard Gumbel variables.

    Of the smallest noise, in float32 below 1e-5, steps of 2^-24 are seen.
    """
    return inner_uniforms(like).log_().neg_().log_()


def inner_uniforms(like: Tensor) -> Tensor:
    """Uniforms in a tensor's shape that are neither 0 nor 1, for an inverse that is infinite there."""
    u = torch.rand(like.shape, dtype=like.dtype, device=like.device)
    return u.clamp_(min=torch.finfo(u.dtype).eps / 2)  # what those of a CPU are multiples of


def uniforms(q: Distribution, num_samples: int) -> Tensor:
    """Independent uniforms in the shape of S draws of q, in float64: 1 - u is exact, and u is never 1."""
    shape = (num_samples, *q.batch_shape, *q.event_shape)
    return torch.rand(shape, dtype=torch.float64, device=mean_of(q).device)


def inverse_cdf(q: Distribution, u: Tensor) -> Tensor:
    """Draws of q from uniforms in [0, 1), coordinate by coordinate; differentiable where q is continuous.

    Raises Unsupported where torch has no inverse distribution function of q.
    """
    base, dtype = base_of(q), mean_of(q).dtype
    if isinstance(base, MultivariateNormal):
        return base.loc + (base.scale_tril @ torch.special.ndtri(u).to(dtype)[..., None])[..., 0]
    if isinstance(base, Bernoulli):
        return (u < base.probs).to(dtype)
    if isinstance(base, OneHotCategorical):
        return choice(base.probs, u[..., :1]).to(dtype)  # of a coordinate's uniforms, one is enough
    try:
        return base.icdf(u).to(dtype)
    except NotImplementedError as error:
        raise Unsupported(
            f"needs an inverse distribution function; torch has none for {type(base).__name__}"
        ) from error
