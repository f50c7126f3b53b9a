"""The quadratic cost under a diagonal Gaussian: everything about it is known."""

import math

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from benchmarks.problems.parts import DiagonalNormal, check_bounds, slices
from estimators.core import Problem, Unsupported


class Quadratic(Problem):
    """E_q[1/2 z'Az + b'z + c], q = N(loc, diag(exp(log_scale))^2); by default the cost is ||z - 1||^2.

    Exact: 1/2 loc'A loc + b'loc + c + 1/2 sum_d A_dd exp(log_scale_d)^2.

    Points: `init` (loc and log_scale as given, by default 0 and 0), `near` (nine tenths of the way to the
    stationary point of the cost, scale a tenth) and `far` (ten times as far from it as `init`).

    Args:
        latent_dim: D.
        A: (), (D,) (a diagonal) or (D, D); only its symmetric part matters. Default 2.
        b: (D,). Default -2.
        c: (). Default D if b is left out too (so that the cost is ||z - 1||^2), else 0.
        loc, log_scale: (D,), the point `init`.

    Raises:
        ValueError: a tensor of another shape, or latent_dim < 1.
    """

    points = ("init", "near", "far")

    def __init__(
        self,
        latent_dim: int,
        A: Tensor | None = None,
        b: Tensor | None = None,
        c: Tensor | float | None = None,
        loc: Tensor | None = None,
        log_scale: Tensor | None = None,
    ) -> None:
        super().__init__()
        check_bounds(latent_dim=latent_dim)
        D = latent_dim
        zeros = torch.zeros(D, dtype=torch.float64)
        if c is None:
            c = float(D) if b is None else 0.0
        self.A = nn.Buffer(torch.as_tensor(2.0 if A is None else A).double())
        self.b = nn.Buffer(zeros - 2 if b is None else b.double())
        self.c = nn.Buffer(torch.as_tensor(c).double())
        self.loc = nn.Buffer(zeros if loc is None else loc.double())
        self.log_scale = nn.Buffer(zeros if log_scale is None else log_scale.double())
        for name, value, allowed in (
            ("A", self.A, [(), (D,), (D, D)]),
            ("b", self.b, [(D,)]),
            ("c", self.c, [()]),
            ("loc", self.loc, [(D,)]),
            ("log_scale", self.log_scale, [(D,)]),
        ):
            if tuple(value.shape) not in allowed:
                raise ValueError(f"{name} has shape {tuple(value.shape)}; allowed: {allowed}")
        self.groups = slices(loc=D, log_scale=D)

    def at(self, point: str) -> Tensor:
        stationary = torch.linalg.lstsq(self._matrix(), -self.b[:, None]).solution[:, 0]
        away, shrink = {"init": (1.0, 1.0), "near": (0.1, 0.1), "far": (10.0, 1.0)}[point]
        loc = self.loc if away == 1 else stationary + away * (self.loc - stationary)
        return torch.cat([loc, self.log_scale + math.log(shrink)])

    def q(self, params: Tensor) -> Distribution:
        loc, log_scale = params.chunk(2, dim=-1)
        return DiagonalNormal(loc, log_scale, event_dims=1)

    def f(self, z: Tensor, q: Distribution | None, params: Tensor) -> Tensor:
        half = 0.5 * self.A
        slope = z @ half + self.b if self.A.ndim == 2 else torch.addcmul(self.b, half, z)
        return (slope * z).sum(-1) + self.c

    def factors(self, z: Tensor, q: Distribution | None, params: Tensor) -> Tensor:
        if self.A.ndim == 2:
            raise Unsupported("a quadratic with a full matrix does not factorise over z")
        return (0.5 * self.A * z + self.b) * z + self.c / len(self.b)

    def value(self, params: Tensor) -> Tensor:
        loc, log_scale = params.chunk(2, dim=-1)
        trace = (self._matrix().diagonal() * (2 * log_scale).exp()).sum(-1)
        return self.f(loc, None, params) + 0.5 * trace

    def _matrix(self) -> Tensor:
        """A as a symmetric (D, D) matrix."""
        A = self.A if self.A.ndim == 2 else torch.diag(self.A.expand(len(self.b)))
        return (A + A.T) / 2
