"""A Gaussian posterior of any condition number: variational inference with a known answer."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal

from benchmarks.problems.gaussian import entropy, pack, unpack
from benchmarks.problems.parts import DiagonalNormal, check_at_least, check_bounds, check_choice, slices
from benchmarks.problems.target import Target

Covariance = Literal["full", "diagonal"]


class GaussianTarget(Target):
    """log N(z; m, C) - log q(z), q = N(loc, L L'), L triangular or diagonal; KL sampled (Roeder et al. 2017).

    C has the cosine basis (of the discrete cosine transform) for eigenvectors, and eigenvalues evenly spaced on the
    log scale from 1 down to 1/condition; m runs evenly from 1 to 2.

    Exact: minus the KL, 1/2 (D + log|L L'| - log|C| - tr(C^-1 L L') - (loc - m)' C^-1 (loc - m)).

    Groups: `loc` and `scale_tril` (the lower triangle of L by row, its diagonal as logarithms) or `log_scale`.

    Points: `init` (q = N(0, I)), `optimum` (q = p; if diagonal its mean, and the diagonal of its precision), `near`
    (nine tenths of the way).

    Args:
        latent_dim: D.
        condition: number of C, at least 1 (with D = 1 it is 1).
        covariance: of q, `full` or `diagonal`.

    Raises:
        ValueError: latent_dim < 1, condition < 1, an unknown covariance.
    """

    def __init__(self, latent_dim: int, condition: float = 1.0, covariance: Covariance = "full") -> None:
        check_bounds(latent_dim=latent_dim)
        check_at_least(1, condition=condition)
        check_choice(get_args(Covariance), covariance=covariance)
        full = covariance == "full"
        scales = {"scale_tril": latent_dim * (latent_dim + 1) // 2} if full else {"log_scale": latent_dim}
        super().__init__(torch.zeros(latent_dim + sum(scales.values())))
        self.full = full
        self.groups = slices(loc=latent_dim, **scales)
        self.mean = nn.Buffer(torch.linspace(1, 2, latent_dim, dtype=torch.float64))
        self.eigenvalues = nn.Buffer(torch.logspace(0, -math.log10(condition), latent_dim, dtype=torch.float64))
        self.eigenvectors = nn.Buffer(_cosine_basis(latent_dim))

    def q(self, params: Tensor) -> Distribution:
        loc, packed = self._split(params)
        if not self.full:
            return DiagonalNormal(loc, packed, event_dims=1)
        return MultivariateNormal(loc, scale_tril=self._scale_tril(packed), validate_args=False)

    def log_density(self, z: Tensor) -> Tensor:
        constant = 0.5 * (2 * math.pi * self.eigenvalues).log().sum()
        return -0.5 * self._whitened(z - self.mean).square().sum(-1) - constant

    def value(self, params: Tensor) -> Tensor:
        loc, packed = self._split(params)
        L = self._scale_tril(packed)
        trace = self._whitened(L.mT).square().sum((-2, -1))
        return self.log_density(loc) - 0.5 * trace + entropy(L.diagonal(dim1=-2, dim2=-1).log())

    def optimum(self) -> Tensor:
        V, eigenvalues = self.eigenvectors.double(), self.eigenvalues.double()
        if self.full:
            return torch.cat([self.mean.double(), pack(torch.linalg.cholesky(V * eigenvalues @ V.T))])
        return torch.cat([self.mean.double(), -0.5 * (V.square() / eigenvalues).sum(1).log()])

    def _split(self, params: Tensor) -> tuple[Tensor, Tensor]:
        D = len(self.mean)
        return params[:, :D], params[:, D:]

    def _scale_tril(self, packed: Tensor) -> Tensor:
        return unpack(packed, len(self.mean)) if self.full else torch.diag_embed(packed.exp())

    def _whitened(self, x: Tensor) -> Tensor:
        """C^(-1/2) x for the vectors (..., D) in the rows of x."""
        return x @ self.eigenvectors / self.eigenvalues.sqrt()


def _cosine_basis(size: int) -> Tensor:
    """The orthonormal vectors of the discrete cosine transform (type II) as columns, (size, size)."""
    i = torch.arange(size, dtype=torch.float64)
    basis = torch.cos(math.pi * (i[:, None] + 0.5) * i / size)
    return basis / basis.norm(dim=0)
