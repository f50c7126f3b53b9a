"""Exact mean and variance of an estimator by feeding it every node of a Gauss-Hermite rule as one row."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from benchmarks.engine import leaf
from estimators.core import Problem, grad


class Noise(Independent):
    """A diagonal Gaussian whose draws are loc + scale x given noise, (S, R, ...)."""

    def __init__(self, q: Independent, noise: Tensor) -> None:
        super().__init__(q.base_dist, q.reinterpreted_batch_ndims, validate_args=False)
        self.noise = noise

    def rsample(self, sample_shape=()) -> Tensor:
        return self.base_dist.loc + self.base_dist.scale * self.noise

    def sample(self, sample_shape=()) -> Tensor:
        return self.rsample().detach()


class WithNoise(Problem):
    """A Gaussian problem whose q draws the given noise."""

    def __init__(self, problem: Problem, noise: Tensor) -> None:
        super().__init__()
        self.problem = problem
        self.noise = noise
        self.groups = problem.groups
        self.points = problem.points

    def at(self, point: str) -> Tensor:
        return self.problem.at(point)

    def q(self, params: Tensor) -> Distribution:
        return Noise(self.problem.q(params), self.noise)

    def f(self, z: Tensor, q: Distribution, params: Tensor) -> Tensor:
        return self.problem.f(z, q, params)

    def known(self, params: Tensor) -> Tensor:
        return self.problem.known(params)


def exact_moments(
    estimator: Callable[..., Tensor], problem: Problem, point: Tensor, num_samples: int = 1, nodes: int = 6
) -> tuple[Tensor, Tensor]:
    """Mean and variance of each coordinate, (P,), of an estimate: exact where it is polynomial of degree < nodes."""
    event = problem.q(leaf(point, 1)).event_shape
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    count = num_samples * event.numel()
    grid = torch.as_tensor(np.stack(np.meshgrid(*[x] * count, indexing="ij"), -1).reshape(-1, count))
    weights = torch.as_tensor(np.stack(np.meshgrid(*[w / w.sum()] * count, indexing="ij"), -1).reshape(-1, count))
    weight = weights.prod(1, keepdim=True)
    noise = grid.reshape(-1, num_samples, *event).transpose(0, 1)
    params = leaf(point, len(grid))
    with_noise = WithNoise(problem, noise)
    g = estimator(with_noise, params, num_samples=num_samples).detach() + grad(problem.known(params)[None], params)
    mean = (weight * g).sum(0)
    return mean, (weight * (g - mean).square()).sum(0)


def exact_gradient(problem: Problem, point: Tensor) -> Tensor:
    """Autograd of the problem's exact objective, (P,)."""
    params = leaf(point, 1)
    return grad(problem.value(params)[None], params)[0]
