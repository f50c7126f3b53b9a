"""Costs of categories, by coordinate or of their mean, exact by summing over the categories."""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from benchmarks.problems.corners import Cornered, near_shares, one_hots, one_of, spaced
from benchmarks.problems.parts import check_at_least, check_bounds, check_choice, slices

Combine = Literal["sum", "mean"]

COSTS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "ladder": lambda x, k, C: 0.5 + (x + 1) / (C * k),
    "absolute": lambda x, k, C: (x - k).abs(),
    "quadratic": lambda x, k, C: (x - k).square(),
    "linear": lambda x, k, C: k * x,
}


class CategoricalCost(Cornered):
    """E_q[sum_d c(x_d)], or the mean over d, q = prod_d Categorical(softmax(logits_d)) (Yin et al. 2019).

    x_d is one of 0 to C - 1. c(x): ladder 1/2 + (x + 1)/(C k), absolute |x - k|, quadratic (x - k)^2, linear k x.
    z is one-hot, (S, R, D, C), and x_d = sum_c c z_dc, so that f takes relaxed ones too. It is minimised.

    Exact: the sum, or mean, over d of sum_c p_dc c(c).

    Points: `init` (as given), `optimum` (logit 8 for the best category, 0 for the others), `near` (nine tenths of the
    way in probability), `saturated` (logit 8 for the dearest category).

    Args:
        latent_dim: D.
        categories: C.
        cost: the name of c.
        k: its parameter; None: one a coordinate, uniform between 0 and C - 1, always the same ones.
        combine: `sum` or `mean`.
        offset: added to f; it changes no gradient.
        probs: of the categories at `init`, or a multiple of them; uniform if left out.
        tilt: added to the logits at `init`, evenly from -tilt to tilt over the categories.

    Raises:
        ValueError: latent_dim < 1, categories < 2, an unknown cost or combine, k = 0 of a ladder, probs that are not C
            positive numbers.
    """

    def __init__(
        self,
        latent_dim: int,
        categories: int,
        cost: str,
        k: float | None = None,
        combine: Combine = "sum",
        offset: float = 0.0,
        probs: Sequence[float] | None = None,
        tilt: float = 0.0,
    ) -> None:
        check_bounds(latent_dim=latent_dim)
        check_at_least(2, categories=categories)
        check_choice(COSTS, cost=cost)
        check_choice(get_args(Combine), combine=combine)
        if cost == "ladder" and k == 0:
            raise ValueError("k=0: the steps of a ladder are 1/(C k)")
        x = torch.arange(categories, dtype=torch.float64)
        uniform = torch.rand(latent_dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        targets = uniform * x[-1] if k is None else torch.full_like(uniform, k)
        table = COSTS[cost](x, targets[:, None], categories)
        init = _log_shares(probs, categories) + spaced(0.0, tilt, categories)
        super().__init__(*_corners(init, table.argmin(-1), table.argmax(-1)))
        self.cost, self.offset = cost, offset
        self.weight = 1 / latent_dim if combine == "mean" else 1.0
        self.x, self.targets, self.table = nn.Buffer(x), nn.Buffer(targets), nn.Buffer(table)
        self.groups = slices(logits=latent_dim * categories)

    def q(self, params: Tensor) -> Distribution:
        return one_hots(params.reshape(-1, *self.table.shape))

    def f(self, z: Tensor, q: Distribution | None, params: Tensor) -> Tensor:
        return self.factors(z, q, params).sum(-1)

    def factors(self, z: Tensor, q: Distribution | None, params: Tensor) -> Tensor:
        D, C = self.table.shape
        return self.weight * COSTS[self.cost](z @ self.x, self.targets, C) + self.offset / D

    def value(self, params: Tensor) -> Tensor:
        p = params.reshape(-1, *self.table.shape).softmax(-1)
        return self.weight * (p * self.table).sum((-1, -2)) + self.offset


class CategoricalMean(Cornered):
    """E_q[(mean_d x_d / (C - 1) - target)^2], x_d one of 0 to C - 1: a cost in which coordinates interact.

    q = prod_d Categorical(softmax(logits_d)); z is one-hot, (S, R, D, C), or relaxed, x_d = sum_c c z_dc.

    Exact: with m and v the mean and the variance of mean_d x_d / (C - 1), (m - target)^2 + v.

    Points: `init` (logits from -1/2 to 1/2, rising with the category for every second coordinate, else falling),
    `optimum` (logit 8 for categories whose mean is as near to the target as can be, 0 for the others), `near` (nine
    tenths of the way in probability), `saturated` (logit 8 for the category farthest from the target).

    Args:
        latent_dim: D.
        categories: C.
        target: between 0 and 1.

    Raises:
        ValueError: latent_dim < 1, categories < 2, a target outside [0, 1].
    """

    def __init__(self, latent_dim: int, categories: int, target: float = 0.499) -> None:
        check_bounds(latent_dim=latent_dim)
        check_at_least(2, categories=categories)
        if not 0 <= target <= 1:
            raise ValueError(f"target={target}: it must be between 0 and 1")
        d, total = torch.arange(latent_dim), round(target * (categories - 1) * latent_dim)
        best = total // latent_dim + (d < total % latent_dim).long()
        farthest = torch.full_like(d, categories - 1 if target < 0.5 else 0)
        init = (1 - 2 * (d % 2))[:, None] * spaced(0.0, 0.5, categories)
        super().__init__(*_corners(init, best, farthest))
        self.target, self.shape = target, (latent_dim, categories)
        self.x = nn.Buffer(torch.linspace(0, 1, categories, dtype=torch.float64))
        self.groups = slices(logits=latent_dim * categories)

    def q(self, params: Tensor) -> Distribution:
        return one_hots(params.reshape(-1, *self.shape))

    def f(self, z: Tensor, q: Distribution | None, params: Tensor) -> Tensor:
        return ((z @ self.x).mean(-1) - self.target).square()

    def value(self, params: Tensor) -> Tensor:
        p = params.reshape(-1, *self.shape).softmax(-1)
        mean = p @ self.x
        variance = (p * (self.x - mean[..., None]).square()).sum(-1)
        return (mean.mean(-1) - self.target).square() + variance.mean(-1) / self.shape[0]


def _corners(init: Tensor, best: Tensor, worst: Tensor) -> list[Tensor]:
    """Flat logits (P,) of the points, from those at `init`, (D, C) or (C,), and the categories to choose, (D,)."""
    init = init.expand(len(best), -1)
    optimum, saturated = (one_of(chosen, init.shape[-1]) for chosen in (best, worst))
    return [logits.flatten() for logits in (init, near_shares(init, optimum), optimum, saturated)]


def _log_shares(probs: Sequence[float] | None, categories: int) -> Tensor:
    """Logarithms of probabilities in proportion to probs, (C,)."""
    shares = torch.as_tensor([1.0] * categories if probs is None else list(probs), dtype=torch.float64)
    if len(shares) != categories or not (shares > 0).all():
        raise ValueError(f"probs={probs}: it must be {categories} positive numbers")
    return (shares / shares.sum()).log()
