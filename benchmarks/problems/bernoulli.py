"""The Bernoulli toy on which discrete estimators are compared: everything about it is known."""

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent

from benchmarks.problems.parts import check_bounds, slices
from estimators.core import Problem


class BernoulliQuadratic(Problem):
    """E_q[mean_d (b_d - target)^2], q = prod_d Bernoulli(sigmoid(logits_d)) (Tucker et al. 2017).

    Exact: mean_d p_d (1 - 2 target) + target^2, p = sigmoid(logits).

    Points: `init` (logits 0), `saturated` (logits 3).

    Args:
        latent_dim: D.
        target: between 0 and 1; the nearer to 1/2, the smaller the gradient against its noise.

    Raises:
        ValueError: latent_dim < 1 or a target outside [0, 1].
    """

    points = ("init", "saturated")

    def __init__(self, latent_dim: int, target: float = 0.45) -> None:
        super().__init__()
        check_bounds(latent_dim=latent_dim)
        if not 0 <= target <= 1:
            raise ValueError(f"target={target}: it must be between 0 and 1")
        self.target = target
        self.logits = torch.nn.Buffer(torch.zeros(latent_dim, dtype=torch.float64))
        self.groups = slices(logits=latent_dim)

    def at(self, point: str) -> Tensor:
        return self.logits + {"init": 0.0, "saturated": 3.0}[point]

    def q(self, params: Tensor) -> Distribution:
        return Independent(Bernoulli(logits=params, validate_args=False), 1, validate_args=False)

    def f(self, z: Tensor, q: Distribution | None, params: Tensor) -> Tensor:
        return self.factors(z, q, params).sum(-1)

    def factors(self, z: Tensor, q: Distribution | None, params: Tensor) -> Tensor:
        return (z - self.target).square() / z.shape[-1]

    def value(self, params: Tensor) -> Tensor:
        return (params.sigmoid() * (1 - 2 * self.target)).mean(-1) + self.target**2
