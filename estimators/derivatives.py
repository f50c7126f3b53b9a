"""Derivatives of f in z, and first moments of q: what second-order estimators are made of."""

import torch
from torch import Tensor
from torch.distributions import (
    Dirichlet,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    OneHotCategorical,
    VonMises,
)

from estimators.core import Unsupported, base_of, flat


def slope(f: Tensor, z: Tensor, create_graph: bool = False) -> Tensor:
    """Gradient of f, (S, R), in z, (S, R, ...), flattened to (S, R, E); zero where f does not depend on z."""
    return slopes(f, z, z, create_graph)[0]


def slopes(f: Tensor, z: Tensor, params: Tensor, create_graph: bool = False) -> tuple[Tensor, Tensor]:
    """Gradient of f in z, (S, R, E), and the sample mean of that in params, z held, (R, P), in one pass."""
    if not f.requires_grad:
        return flat(torch.zeros_like(z)), torch.zeros_like(params)
    in_z, in_params = torch.autograd.grad(
        f.sum(), (z, params), retain_graph=True, create_graph=create_graph, allow_unused=True, materialize_grads=True
    )
    return flat(in_z), in_params.detach() / len(f)


def hessian(g: Tensor, z: Tensor) -> Tensor:
    """Hessian in z, (S, R, E, E), from the gradient g, (S, R, E), that was made with create_graph: E products."""
    return torch.stack([slope(g[..., i], z) for i in range(g.shape[-1])], -2)


def hessian_diagonal(g: Tensor, z: Tensor) -> Tensor:
    """Diagonal of the Hessian, (S, R, E), from the gradient; as many products, but no E x E numbers kept."""
    return torch.stack([slope(g[..., i], z)[..., i] for i in range(g.shape[-1])], -1)


def covariance(q: Distribution) -> Tensor:
    """Covariance of a draw, (R, E, E), differentiable in q's parameters. Raises Unsupported for other families."""
    base = base_of(q)
    if isinstance(base, MultivariateNormal):
        return base.covariance_matrix
    if isinstance(base, Dirichlet):
        mean = base.mean
        return (torch.diag_embed(mean) - mean[..., None] * mean[..., None, :]) / (
            1 + base.concentration.sum(-1)[..., None, None]
        )
    if isinstance(base, OneHotCategorical):
        probs = base.probs.reshape(len(base.probs), -1, base.probs.shape[-1])
        within = torch.diag_embed(probs) - probs[..., None] * probs[..., None, :]
        size = probs.shape[1:].numel()
        coordinates = torch.eye(probs.shape[1], dtype=probs.dtype, device=probs.device)
        return torch.einsum("rnab,nm->rnamb", within, coordinates).reshape(-1, size, size)
    if isinstance(base, MixtureSameFamily) and isinstance(base.component_distribution, Independent):
        weight, parts, mean = base.mixture_distribution.probs, base.component_distribution, base.mean
        within = torch.einsum("rk,rkd->rd", weight, parts.variance)
        between = torch.einsum("rk,rkd,rke->rde", weight, *[parts.mean - mean[:, None]] * 2)
        return torch.diag_embed(within) + between
    if isinstance(q, Independent) and not isinstance(base, VonMises):
        return torch.diag_embed(q.variance.flatten(1))
    raise Unsupported(f"needs the mean and covariance of q; none is implemented for {type(base).__name__}")
