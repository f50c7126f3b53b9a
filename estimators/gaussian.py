"""Pathwise gradients of a Gaussian q by other roads than its own draw: second derivatives, optimal transport."""

import torch
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal

from estimators.core import Problem, Unsupported, base_of, grad
from estimators.derivatives import hessian, hessian_diagonal, slopes


def bonnet_price(problem: Problem, params: Tensor, num_samples: int = 1) -> Tensor:
    """Second-order gradient of a Gaussian (Bonnet 1964; Price 1958; Opper and Archambeau 2009).

        E_q[grad f] grad mean + 1/2 <E_q[hessian f], grad covariance>

    Unbiased for f with a continuous gradient. Costs E Hessian-vector products a draw of E coordinates.

    params: (R, P). Returns (R, P). Raises Unsupported unless q is Gaussian.
    """
    q = problem.q(params)
    if not (isinstance(q, MultivariateNormal) or (isinstance(q, Independent) and isinstance(base_of(q), Normal))):
        raise Unsupported(f"bonnet_price needs a Gaussian q; this one is {type(base_of(q)).__name__}")
    z = q.sample((num_samples,)).requires_grad_()
    f = problem.f(z, q, params)
    u, explicit = slopes(f, z, params, create_graph=True)
    if isinstance(q, MultivariateNormal):
        second = grad(q.covariance_matrix, params, hessian(u, z) / 2)
    else:
        second = grad(q.variance.flatten(1), params, hessian_diagonal(u, z) / 2)
    return grad(q.mean.flatten(1), params, u) + second + explicit


def optimal_transport(problem: Problem, params: Tensor, num_samples: int = 1) -> Tensor:
    """Optimal-mass-transport gradient of a full-covariance Gaussian (OMT, Jankowiak and Obermeyer 2018).

        E_q[grad f grad mean + <X, grad Sigma>],    Sigma X + X Sigma = 1/2 (u v' + v u'),  u = grad f,  v = z - mean

    The velocity field is linear, v -> A v with A Sigma + Sigma A = d Sigma and A symmetric: of all that carry the
    Gaussian along, the one that moves least. Unbiased as `reparam` is.

    params: (R, P). Returns (R, P). Raises Unsupported unless q is a MultivariateNormal.
    """
    q = problem.q(params)
    if not isinstance(q, MultivariateNormal):
        raise Unsupported(
            f"optimal transport needs a full-covariance Gaussian; this one is {type(base_of(q)).__name__}"
        )
    z = q.sample((num_samples,)).requires_grad_()
    f = problem.f(z, q, params)
    (u, explicit), v = slopes(f, z, params), (z - q.loc).detach()
    values, axes = torch.linalg.eigh(q.covariance_matrix.detach())
    u_, v_ = (torch.einsum("rij,sri->srj", axes, x) for x in (u, v))
    middle = (u_[..., None] * v_[..., None, :] + v_[..., None] * u_[..., None, :]) / 2
    x = axes @ (middle / (values[..., None] + values[..., None, :])) @ axes.mT
    return grad(q.loc, params, u) + grad(q.covariance_matrix, params, x) + explicit
