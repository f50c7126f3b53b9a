"""Estimators that differentiate the density: z is drawn, never differentiated."""

from collections.abc import Callable

from torch import Tensor

from estimators.baselines import zero
from estimators.core import Problem, grad


def score(
    problem: Problem,
    params: Tensor,
    num_samples: int = 1,
    baseline: Callable[[Tensor], Tensor | float] = zero,
) -> Tensor:
    """Score function, REINFORCE, likelihood ratio (Glynn 1990; Williams 1992).

        grad E_q[f] = E_q[(f - b) grad log q] + E_q[grad f]

    The second term is f's explicit dependence on params (a decoder, or log q inside an ELBO).
    Unbiased for any q with a differentiable density and any b that does not depend on its own draw.

    params: (R, P); baseline: costs (S, R) -> what is subtracted from them. Returns (R, P).
    """
    q = problem.q(params)
    z = q.sample((num_samples,))
    f = problem.f(z, q, params)
    return grad(q.log_prob(z), params, f - baseline(f)) + grad(f, params)


def naive(problem: Problem, params: Tensor, num_samples: int = 1) -> Tensor:
    """Gradient and expectation swapped: the score function without its score. Biased.

        E_q[grad f]

    Right for parameters of f alone (a decoder); it misses E_q[f grad log q] for those of q (an encoder).

    params: (R, P). Returns (R, P).
    """
    q = problem.q(params)
    z = q.sample((num_samples,))
    return grad(problem.f(z, q, params), params)
