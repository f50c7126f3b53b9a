"""Moments in closed form, differentiable by autograd: what families of distributions and costs are built on."""

import math
from functools import cache

import torch
from torch import Tensor

from estimators.core import Unsupported

MOST_FACTORS = 8
ANGLES = 1024


def rising(a: Tensor, power: int) -> Tensor:
    """a (a + 1) ... (a + power - 1)."""
    return math.prod((a + i for i in range(power)), start=torch.ones_like(a))


def gaussian_moment(loc: Tensor, scale: Tensor, power: int) -> Tensor:
    """E[x^power] for x ~ N(loc, scale^2), by m_(p+1) = loc m_p + p scale^2 m_(p-1)."""
    before, moment = torch.zeros_like(loc), torch.ones_like(loc)
    for p in range(power):
        before, moment = moment, loc * moment + p * scale.square() * before
    return moment


def gaussian_product(loc: Tensor, covariance: Tensor, power: int) -> Tensor:
    """E[prod_d x_d^power], x ~ N(loc, covariance), (R,), by Isserlis' recursion (1918) over the list of the factors.

        E[x_1 x_2 ... x_n] = loc_1 E[x_2 ... x_n] + sum_j covariance_1j E[x_2 ... x_n without x_j]

    Args:
        loc: (R, D).
        covariance: (R, D, D).

    Raises:
        Unsupported: more than MOST_FACTORS factors.
    """
    factors = [d for d in range(loc.shape[-1]) for _ in range(power)]
    if len(factors) > MOST_FACTORS:
        raise Unsupported(
            f"the recursion for the mean of a product of {len(factors)} correlated Gaussians takes "
            f"2^{len(factors)} steps: latent_dim x power must be at most {MOST_FACTORS}"
        )

    @cache
    def mean(left: tuple[int, ...]) -> Tensor:
        if not left:
            return torch.ones_like(loc[:, 0])
        first, rest = left[0], left[1:]
        pairs = [covariance[:, first, j] * mean(rest[:i] + rest[i + 1 :]) for i, j in enumerate(rest)]
        return sum(pairs, start=loc[:, first] * mean(rest))

    return mean(tuple(factors))


def student_moment(df: Tensor, loc: Tensor, scale: Tensor, power: int) -> Tensor:
    """E[(loc + scale t)^power] by binomial expansion, with E[t^2j] = df^j prod_(i<=j) (2i - 1)/(df - 2i).

    Raises Unsupported unless df > power; the variance of x^power needs df > 2 power.
    """
    if (df <= power).any():
        raise Unsupported(f"Student's t has a moment of order {power} only if df > {power}; it is {df.min():.3g}")
    even, total = torch.ones_like(df), torch.zeros_like(df)
    for j in range(power // 2 + 1):
        total = total + math.comb(power, 2 * j) * loc ** (power - 2 * j) * scale ** (2 * j) * even
        even = even * df * (2 * j + 1) / (df - 2 * (j + 1))
    return total


def poisson_moment(rate: Tensor, power: int) -> Tensor:
    """E[x^power] by m_(p+1) = rate sum_j C(p, j) m_j (Touchard)."""
    moments = [torch.ones_like(rate)]
    for p in range(power):
        terms = [math.comb(p, j) * moment for j, moment in enumerate(moments)]
        moments.append(rate * torch.stack(terms).sum(0))
    return moments[power]


def dirichlet_product(concentration: Tensor, power: int) -> Tensor:
    """E[prod_d x_d^power] for a Dirichlet's D shares: rising factorials of each concentration over that of the sum."""
    total, D = concentration.sum(-1), concentration.shape[-1]
    shares = (concentration + power).lgamma() - concentration.lgamma()
    return (shares.sum(-1) - (total + D * power).lgamma() + total.lgamma()).exp()


def bessel_ratio(x: Tensor, order: int) -> Tensor:
    """I_order(x) / I_0(x) = E[cos(order t)] for t von Mises(0, x), by the trapezium rule.

    The rule is exact to rounding for a periodic function whose Fourier series ends before ANGLES: orders below
    ANGLES / 2, x below ANGLES^2 / 100.
    """
    t = torch.arange(ANGLES, dtype=x.dtype, device=x.device) * (2 * math.pi / ANGLES)
    density = (x[..., None] * (t.cos() - 1)).exp()
    return (density @ (order * t).cos()) / density.sum(-1)


def log_bessel(x: Tensor) -> Tensor:
    """log I_0(x) for x >= 0."""
    return torch.special.i0e(x).log() + x
