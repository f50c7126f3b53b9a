"""Gradients without noise: by the exact objective, and by the exact sum over a rule's nodes or a finite support."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent, Normal

from estimators.core import Problem, Unsupported, base_of, grad, one_hot
from estimators.finite import OneHot

MOST_NODES = 2**14
AT_ONCE = 2**22
GAUSS_HERMITE = 128
FEWEST_NODES = 16


def exact(problem: Problem, params: Tensor, num_samples: int = 1) -> Tensor:
    """The gradient itself, by autograd of the exact objective: no noise, no bias, no evaluation of f.

    params: (R, P); num_samples does not matter. Returns (R, P). Raises Unsupported where no exact objective is known.
    """
    return grad((problem.value(params) - problem.known(params))[None], params)


def quadrature(problem: Problem, params: Tensor, num_samples: int = 1) -> Tensor:
    """The score function summed over the nodes of a Gauss-Hermite rule, for a Gaussian q.

        sum_k w_k (f grad log q + grad f)(z_k)

    Exact for f that polynomials approximate well; biased otherwise (a step).

    params: (R, P); num_samples does not matter. Returns (R, P). Raises Unsupported for another q, or too many nodes.
    """
    q = problem.q(params)
    if not isinstance(base_of(q), Normal):
        raise Unsupported(f"quadrature needs an independent Gaussian q; this one is {type(base_of(q)).__name__}")
    z, weights = nodes(q)
    f = problem.f(z, q, params)
    weights = weights.to(f)[:, None] * len(z)
    return grad(q.log_prob(z), params, weights * f) + grad(f, params, weights)


def enumeration(problem: Problem, params: Tensor, num_samples: int = 1) -> Tensor:
    """The score function summed over all outcomes of a finite q, by blocks where f is a sum over them: exact.

        sum_z q(z) (f grad log q + grad f)(z)

    Costs as many evaluations as a block has outcomes. params: (R, P); num_samples does not matter. Returns (R, P).
    Raises Unsupported for a q that is not finite, and beyond 2^14 outcomes.
    """
    total = torch.zeros_like(params)
    for log_prob, f in _outcomes(problem, params):
        weight = log_prob.exp() * len(f)
        total = total + grad(log_prob, params, weight * f) + grad(f, params, weight)
    return total


def _outcomes(problem: Problem, params: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Log-probabilities and costs, (K, R, *B) each, of all outcomes, some at a time."""
    q = problem.q(params)
    try:
        view = OneHot(problem, params, q)
    except Unsupported as error:
        if not base_of(q).has_enumerate_support or isinstance(q, Independent):
            raise Unsupported(f"enumeration needs a finite q; this one is {type(base_of(q)).__name__}") from error
        z = q.enumerate_support()
        _check_count(len(z), 1)
        yield q.log_prob(z), problem.f(z, q, params)
        return
    *_, N, C = view.logits.shape
    _check_count(C, N)
    values = _product(torch.arange(C, device=params.device), N)
    every = one_hot(values, C).to(view.logits)
    for some in every.split(max(AT_ONCE // view.logits.numel(), 1)):
        y = some.reshape(len(some), *[1] * (view.logits.ndim - 2), N, C).expand(-1, *view.logits.shape)
        yield view.log_prob(y), view.f(y)


def _check_count(categories: int, coordinates: int) -> None:
    if categories**coordinates > MOST_NODES:
        raise Unsupported(f"enumeration takes {MOST_NODES} outcomes at most; here are {categories}^{coordinates}")


def nodes(q: Distribution, most: int = GAUSS_HERMITE) -> tuple[Tensor, Tensor]:
    """Nodes (K, R, ...) and weights (K,) that stand for all draws of q, whose rows are alike.

    A Gaussian coordinate has `most` nodes, or as many as fit in 2^14 together. Raises Unsupported for a q other than
    independent Gaussians or Bernoullis, and where each coordinate would get fewer than 16, or a coin not both sides.
    """
    base = base_of(q)
    size = q.event_shape.numel()
    if not (isinstance(q, Independent) and isinstance(base, Normal | Bernoulli)):
        raise Unsupported(f"needs an independent Gaussian or Bernoulli q; this one is {type(base).__name__}")
    fitting = int(MOST_NODES ** (1 / size) + 1e-9)
    if fitting < (FEWEST_NODES if isinstance(base, Normal) else 2):
        raise Unsupported(f"quadrature of {size} coordinates needs more than {MOST_NODES} nodes")
    rule = _gauss_hermite(min(most, fitting)) if isinstance(base, Normal) else (np.arange(2.0), np.ones(2))
    points, weights = (_product(torch.as_tensor(x, device=q.mean.device), size) for x in rule)
    points = points.reshape(-1, 1, *q.event_shape).to(q.mean.dtype)
    if isinstance(base, Normal):
        return (base.loc + base.scale * points).detach(), weights.prod(-1) / weights.prod(-1).sum()
    z = points.expand(-1, *q.batch_shape, *q.event_shape)
    return z, q.log_prob(z)[:, 0].exp().detach()


def _gauss_hermite(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights for a standard normal, without those of no weight, where f may overflow."""
    x, weights = np.polynomial.hermite_e.hermegauss(count)
    weights = weights / weights.sum()
    kept = weights > np.finfo(float).eps ** 2
    return x[kept], weights[kept]


def _product(x: Tensor, size: int) -> Tensor:
    """All combinations of the entries of x, (K, size)."""
    return torch.cartesian_prod(*[x] * size).reshape(-1, size)
