"""Derivatives of f in z, and first moments of q: what second-order estimators are made of."""

import torch
from torch import Tensor
from torch.distributions import Dirichlet, Distribution, Independent, MultivariateNormal, VonMises

from estimators.core import Unsupported, base_of


def slope(f: Tensor, z: Tensor, create_graph: bool = False) -> Tensor:
    """Gradient of f, (S, R), in z, (S, R, ...), flattened to (S, R, E); zero where f does not depend on z."""
    if not f.requires_grad:
        return torch.zeros_like(z).flatten(2)
    (g,) = torch.autograd.grad(
        f.sum(), z, retain_graph=True, create_graph=create_graph, allow_unused=True, materialize_grads=True
    )
    return g.flatten(2)


def curvature(f: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient (S, R, E) and Hessian (S, R, E, E) of f in z: E Hessian-vector products."""
    g = slope(f, z, create_graph=True)
    rows = [slope(g[..., i], z) for i in range(g.shape[-1])]
    return g.detach(), torch.stack(rows, -2)


def covariance(q: Distribution) -> Tensor:
    """Covariance of a draw, (R, E, E), differentiable in q's parameters. Raises Unsupported where it is not known."""
    base = base_of(q)
    if isinstance(base, MultivariateNormal):
        return base.covariance_matrix
    if isinstance(base, Dirichlet):
        mean = base.mean
        return (torch.diag_embed(mean) - mean[..., None] * mean[..., None, :]) / (
            1 + base.concentration.sum(-1)[..., None, None]
        )
    if isinstance(q, Independent) and not isinstance(base, VonMises):
        return torch.diag_embed(q.variance.flatten(1))
    raise Unsupported(f"needs the mean and covariance of q; torch has none for {type(base).__name__}")
