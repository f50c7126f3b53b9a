"""Estimators with a learned control variate that is differentiated both ways."""

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, VonMises

from estimators.baselines import Running
from estimators.core import Bound, Problem, base_of, flat, grad
from estimators.pathwise import reparametrised
from estimators.samplers import iid


def _features(q: Distribution, z: Tensor) -> Tensor:
    """What the network sees of a draw: standardised coordinates, or points on the circle, where c is continuous."""
    if isinstance(base_of(q), VonMises):
        return flat(torch.cat([z.cos(), z.sin()], -1))
    return flat((z - q.mean.detach()) / q.stddev.detach())


class LAX(nn.Module):
    """Learned surrogate for any f, also one that cannot be differentiated (Grathwohl et al. 2018).

        E_q[(f - c(z)) grad log q + grad_params c(z(eps, params)) + grad f]

    c is a network with one hidden layer in units of past costs, tuned to the least variance. Unbiased for any c.

    params: (R, P). Returns (R, P). Raises Unsupported if q has no pathwise gradient. hidden: width of the network.
    """

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        Bound(1).check(hidden=hidden)
        self.past = Running()
        self.network = nn.Sequential(nn.LazyLinear(hidden), nn.Tanh(), nn.LazyLinear(1))

    def forward(self, problem: Problem, params: Tensor, num_samples: int = 1, create_graph: bool = False) -> Tensor:
        q = problem.q(params)
        z = reparametrised(q, iid(q, num_samples))
        still = z.detach()
        f = problem.f(still, q, params)
        mean, spread = self.past(f)
        self.network.to(z)
        c, c_still = (mean + spread * self.network(_features(q, x))[..., 0] for x in (z, still))
        return (
            grad(q.log_prob(still), params, f - c_still, create_graph)
            + grad(c, params, create_graph=create_graph)
            + grad(f, params)
        )
