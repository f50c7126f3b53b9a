"""Neal's funnel: a scale that another coordinate sets, which no Gaussian fits."""

import math

import torch
from torch import Tensor

from benchmarks.problems.parts import check_dimension
from benchmarks.problems.target import MeanField

SPREAD = 3.0


class Funnel(MeanField):
    """log p(z) - log q(z) for z = (v, x_1 .. x_(D-1)), v ~ N(0, 9), x_d | v ~ N(0, exp(v)) (Neal 2003); KL sampled.

    Exact: the mean of log p is a Gaussian's but for E[x_d^2 exp(-v)], the product of the mean of x_d^2 and the
    log-normal mean exp(-loc_v + scale_v^2 / 2).

    Points: `init` (loc 1, log_scale -1), `optimum` (loc 0, scale_v^2 = 1 / (1/9 + (D - 1)/2), scale_d^2 =
    exp(-scale_v^2 / 2)), `near` (nine tenths of the way).

    Args:
        latent_dim: D.

    Raises:
        Unsupported: latent_dim = 1. ValueError: latent_dim < 1.
    """

    def __init__(self, latent_dim: int) -> None:
        check_dimension(latent_dim, least=2)
        super().__init__(latent_dim, loc=1.0, log_scale=-1.0)

    def log_density(self, z: Tensor) -> Tensor:
        return _log_density(z[..., 0], z.square(), (-z[..., 0]).exp())

    def mean_log_density(self, loc: Tensor, variance: Tensor) -> Tensor:
        precision = (-loc[..., 0] + 0.5 * variance[..., 0]).exp()
        return _log_density(loc[..., 0], loc.square() + variance, precision)

    def optimum(self) -> Tensor:
        loc, log_scale = torch.zeros_like(self.init).chunk(2)
        variance = 1 / (1 / SPREAD**2 + (len(loc) - 1) / 2)
        log_scale[0], log_scale[1:] = 0.5 * math.log(variance), -0.25 * variance
        return torch.cat([loc, log_scale])


def _log_density(v: Tensor, squares: Tensor, precision: Tensor) -> Tensor:
    """log p from v, (v^2, x^2) and exp(-v); it is linear in each, so that their means give its mean."""
    D = squares.shape[-1]
    constant = 0.5 * D * math.log(2 * math.pi) + math.log(SPREAD)
    of_v = -squares[..., 0] / (2 * SPREAD**2) - 0.5 * (D - 1) * v
    return of_v - 0.5 * squares[..., 1:].sum(-1) * precision - constant
