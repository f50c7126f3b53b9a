"""Coins whose cost depends on their own probability."""

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent

from benchmarks.problems.parts import STEPS, check_bounds, on_the_way, slices
from estimators.core import Problem


class AdevFlip(Problem):
    """E_q[sum_d -(1 - b_d) theta_d / 2], b_d ~ Bernoulli(theta_d) (Lew et al. 2023).

    The params are the probabilities themselves, and f depends on them. Exact: sum_d -(1 - theta_d) theta_d / 2, with
    gradient theta_d - 1/2. A cost: it is minimised.

    Points: `init` (theta .3), `optimum` (1/2), `near` (nine tenths of the way), `saturated` (.001, .999, .001, ...).

    Args:
        latent_dim: D.

    Raises:
        ValueError: latent_dim < 1.
    """

    points = (*STEPS, "saturated")

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        check_bounds(latent_dim=latent_dim)
        self.init = nn.Buffer(torch.full((latent_dim,), 0.3, dtype=torch.float64))
        edge = torch.where(torch.arange(latent_dim) % 2 == 0, 0.001, 0.999)
        self.edge = nn.Buffer(edge.double())
        self.groups = slices(probability=latent_dim)

    def at(self, point: str) -> Tensor:
        return self.edge if point == "saturated" else on_the_way(point, self.init, lambda: 0 * self.init + 0.5)

    def q(self, params: Tensor) -> Distribution:
        return Independent(Bernoulli(probs=params, validate_args=False), 1, validate_args=False)

    def f(self, z: Tensor, q: Distribution | None, params: Tensor) -> Tensor:
        return self.factors(z, q, params).sum(-1)

    def factors(self, z: Tensor, q: Distribution | None, params: Tensor) -> Tensor:
        return -(1 - z) * params / 2

    def value(self, params: Tensor) -> Tensor:
        return -((1 - params) * params).sum(-1) / 2
