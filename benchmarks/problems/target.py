"""Variational inference on a density known in closed form: its ELBO, sampled whole, and its optimum."""

import inspect
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from benchmarks.cache import cached
from benchmarks.problems.gaussian import entropy
from benchmarks.problems.parts import STEPS, DiagonalNormal, on_the_way, slices
from estimators.core import Problem, grad

MOST_STEPS = 2000
FLAT = 1e-7


class Target(Problem):
    """E_q[log p(z) - log q(z)] for a density p, normalised or not: the KL is sampled, with the log q that f is given.

    Points: `init`, `optimum` (the maximum of the objective), `near` (nine tenths of the way, in the parameters).
    """

    points = tuple(STEPS)

    def __init__(self, init: Tensor) -> None:
        super().__init__()
        self.init = nn.Buffer(init.double())

    @abstractmethod
    def log_density(self, z: Tensor) -> Tensor:
        """log p(z), (S, R)."""

    @abstractmethod
    def optimum(self) -> Tensor:
        """The parameters that maximise the objective, (P,)."""

    def at(self, point: str) -> Tensor:
        return on_the_way(point, self.init, self.optimum)

    def f(self, z: Tensor, q: Distribution, params: Tensor) -> Tensor:
        return self.log_density(z) - q.log_prob(z)


class MeanField(Target):
    """A target with q = N(loc, diag(exp(log_scale))^2); at `init` each coordinate has the loc and log_scale given."""

    def __init__(self, latent_dim: int, loc: float = 0.0, log_scale: float = 0.0) -> None:
        super().__init__(torch.tensor([loc, log_scale]).repeat_interleave(latent_dim))
        self.groups = slices(loc=latent_dim, log_scale=latent_dim)

    @abstractmethod
    def mean_log_density(self, loc: Tensor, variance: Tensor) -> Tensor:
        """E_q[log p(z)] from q's means and variances, each (R, D): (R,)."""

    def q(self, params: Tensor) -> Distribution:
        loc, log_scale = params.chunk(2, dim=-1)
        return DiagonalNormal(loc, log_scale, event_dims=1)

    def value(self, params: Tensor) -> Tensor:
        loc, log_scale = params.chunk(2, dim=-1)
        return self.mean_log_density(loc, (2 * log_scale).exp()) + entropy(log_scale)


def maximiser(problem: Problem, start: Tensor) -> Tensor:
    """A maximiser of problem.value that L-BFGS reaches from start (P,), in float64; kept in the cache folder.

    Raises RuntimeError where the gradient is not down to FLAT of what it is at start.
    """
    tensors = {name: tensor.tolist() for name, tensor in problem.state_dict().items()}
    source = inspect.getsource(inspect.getmodule(type(problem)) or type(problem))
    parts = ["maximiser", type(problem).__name__, source, tensors, start.tolist(), MOST_STEPS]
    return cached(parts, lambda: _maximised(problem, start))


def _maximised(problem: Problem, start: Tensor) -> Tensor:
    params = start.detach()[None].clone().requires_grad_()
    search = torch.optim.LBFGS(
        [params],
        max_iter=MOST_STEPS,
        history_size=50,
        tolerance_grad=0,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        value = problem.value(params)
        params.grad = -grad(value[None], params)
        return -value.sum()

    search.step(loss)
    end, first = (grad(problem.value(p)[None], p).norm() for p in (params, start.detach()[None].requires_grad_()))
    if not end <= FLAT * first:
        raise RuntimeError(f"{type(problem).__name__}: the gradient is {end / first:.1g} of what it was at the start")
    return params.detach()[0]
