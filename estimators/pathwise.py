"""Estimators that differentiate the draw: z = g(eps, params) with eps free of params."""

from torch import Tensor
from torch.distributions import Distribution, Independent

from estimators.core import Problem, Unsupported, grad


def rsample(q: Distribution, num_samples: int) -> Tensor:
    """Draws (S, R, ...) that carry the gradient of q's parameters. Raises Unsupported where q has none."""
    if not q.has_rsample:
        family = q.base_dist if isinstance(q, Independent) else q
        raise Unsupported(f"a pathwise gradient needs a q with rsample; {type(family).__name__} has none")
    return q.rsample((num_samples,))


def reparam(problem: Problem, params: Tensor, num_samples: int = 1) -> Tensor:
    """Pathwise, reparameterisation (Kingma and Welling 2014; Rezende et al. 2014; Titsias and Lazaro-Gredilla 2014).

        grad E_q[f] = E_eps[grad f(g(eps, params))]

    Unbiased for f that is continuous and almost everywhere differentiable in z.

    params: (R, P). Returns (R, P). Raises Unsupported if q has no rsample.
    """
    q = problem.q(params)
    z = rsample(q, num_samples)
    return grad(problem.f(z, q, params), params)


def stl(problem: Problem, params: Tensor, num_samples: int = 1) -> Tensor:
    """Sticking the landing, path derivative (Roeder et al. 2017): pathwise, with q frozen inside f.

        E_eps[grad f(g(eps, params); q held constant)]

    Drops -E_q[grad log q] = 0, so it is unbiased where f is an ELBO integrand with log q in it, and has zero
    variance for q's parameters where q is the posterior. Where f has no log q (an analytic KL) it is `reparam`.

    params: (R, P). Returns (R, P). Raises Unsupported if q has no rsample.
    """
    z = rsample(problem.q(params), num_samples)
    return grad(problem.f(z, problem.q(params.detach()), params), params)
