"""A cost of one variable, carried to D dimensions, under a diagonal Gaussian: exact by closed form."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from benchmarks.problems.costs import COSTS
from benchmarks.problems.parts import DiagonalNormal, check_bounds, check_choice, slices
from estimators.core import Problem

NARROW = -7.0

Combine = Literal["sum", "separable", "joint"]


class GaussianCost(Problem):
    """E_q[f(z)], q = N(loc, diag(exp(log_scale))^2), f built of a univariate cost c (Mohamed et al. 2020).

        sum          sum_d c(z_d) + offset
        separable    sum_d c(z_d) / sqrt(D) + offset
        joint        c(sum_d z_d / sqrt(D)) + offset

    The last two hold the norm of the gradient fixed as D grows. The costs: quadratic (x - k)^2, exponential
    exp(-k x^2), cosine cos(k x), linear k x, constant k, quartic k x^4, step 1[x > k] (a pathwise gradient misses
    it), relu max(x - k, 0), heavy exp(k x^2) (infinite variance from k scale^2 = 1/4), lognormal exp(k x).

    Exact: c's mean under each coordinate's Gaussian; for `joint`, under that of sum_d z_d / sqrt(D).

    Points: `init` (as given), `narrow` (log_scale -7: near the boundary, where scores explode).

    Args:
        latent_dim: D.
        cost: the name of c.
        k: its parameter.
        combine: `sum`, `separable` or `joint`.
        offset: added to f; it changes no gradient.
        loc: of each coordinate at the points; for `joint` of sum_d z_d / sqrt(D), so loc / sqrt(D) a coordinate.
        log_scale: of each coordinate at `init`.

    Raises:
        ValueError: latent_dim < 1, an unknown cost or combine, an infinite mean (heavy from k scale^2 = 1/2).
    """

    points = ("init", "narrow")

    def __init__(
        self,
        latent_dim: int,
        cost: str,
        k: float = 1.0,
        combine: Combine = "sum",
        offset: float = 0.0,
        loc: float = 1.0,
        log_scale: float = 0.0,
    ) -> None:
        super().__init__()
        check_bounds(latent_dim=latent_dim)
        check_choice(COSTS, cost=cost)
        check_choice(get_args(Combine), combine=combine)
        self.cost = COSTS[cost]
        self.k, self.combine, self.offset = k, combine, offset
        each = loc / math.sqrt(latent_dim) if combine == "joint" else loc
        self.loc = nn.Buffer(torch.full((latent_dim,), each, dtype=torch.float64))
        self.log_scale = nn.Buffer(torch.full((latent_dim,), log_scale, dtype=torch.float64))
        self.groups = slices(loc=latent_dim, log_scale=latent_dim)
        if not self.value(self.at("init")[None]).isfinite().all():
            raise ValueError(f"k={k}: the mean of the {cost} cost is not finite at log_scale={log_scale}")

    def at(self, point: str) -> Tensor:
        return torch.cat([self.loc, {"init": self.log_scale, "narrow": torch.full_like(self.loc, NARROW)}[point]])

    def q(self, params: Tensor) -> Distribution:
        loc, log_scale = params.chunk(2, dim=-1)
        return DiagonalNormal(loc, log_scale, event_dims=1)

    def f(self, z: Tensor, q: Distribution | None, params: Tensor) -> Tensor:
        if self.combine == "joint":
            return self.cost.f(z.sum(-1) / math.sqrt(z.shape[-1]), self.k) + self.offset
        return self._added(self.cost.f(z, self.k)).sum(-1)

    def factors(self, z: Tensor, q: Distribution, params: Tensor) -> Tensor:
        return super().factors(z, q, params) if self.combine == "joint" else self._added(self.cost.f(z, self.k))

    def value(self, params: Tensor) -> Tensor:
        loc, log_scale = params.chunk(2, dim=-1)
        scale = log_scale.exp()
        if self.combine == "joint":
            D = loc.shape[-1]
            projected = loc.sum(-1) / math.sqrt(D), scale.square().mean(-1).sqrt()
            return self.cost.mean(*projected, self.k) + self.offset
        return self._added(self.cost.mean(loc, scale, self.k)).sum(-1)

    def _added(self, terms: Tensor) -> Tensor:
        """What each coordinate adds to f, from its cost: weighted, with its share of the offset."""
        D = terms.shape[-1]
        return (terms / math.sqrt(D) if self.combine == "separable" else terms) + self.offset / D
