"""Estimators that differentiate the density: z is drawn, never differentiated."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Beta,
    Dirichlet,
    Distribution,
    Exponential,
    Gamma,
    Independent,
    MultivariateNormal,
    Normal,
    VonMises,
)

from estimators.baselines import leave_one_out, zero
from estimators.core import Positive, Problem, Unsupported, base_of, grad
from estimators.samplers import iid

Baseline = Callable[..., Tensor | float]
Sampler = Callable[[Distribution, int], Tensor]


def score(
    problem: Problem,
    params: Tensor,
    num_samples: int = 1,
    baseline: Baseline = zero,
    sampler: Sampler = iid,
    create_graph: bool = False,
) -> Tensor:
    """Score function, REINFORCE, likelihood ratio (Glynn 1990; Williams 1992).

        grad E_q[f] = E_q[(f - b) grad log q] + E_q[grad f]

    The second term is f's explicit dependence on params (a decoder, or log q inside an ELBO).
    Unbiased for any q with a differentiable density and any b that is independent of its own draw.

    params: (R, P); baseline: costs (S, R), problem, params -> what is subtracted from the costs; sampler: (q, S) ->
    draws; create_graph: whether the result can be differentiated again, to train the baseline. Returns (R, P). Raises
    Unsupported for a leave-one-out baseline whose draws depend on each other.
    """
    check_independence(baseline, sampler)
    q = problem.q(params)
    with torch.no_grad():
        z = sampler(q, num_samples)
    f = problem.f(z, q, params)
    return grad(q.log_prob(z), params, f - baseline(f, problem, params), create_graph) + grad(f, params)


def check_independence(baseline: Baseline, sampler: Sampler) -> None:
    """Raise Unsupported for a leave-one-out baseline whose draws depend on each other: it would be biased."""
    of_the_others, placed = (getattr(part, "func", part) for part in (baseline, sampler))
    if of_the_others is leave_one_out and placed is not iid:
        raise Unsupported(f"leave_one_out needs independent draws; those of {placed.__name__} are not")


def score_local(
    problem: Problem,
    params: Tensor,
    num_samples: int = 1,
    baseline: Baseline = zero,
    sampler: Sampler = iid,
    create_graph: bool = False,
) -> Tensor:
    """Score function, Rao-Blackwellised by blocks of a mean-field q (Ranganath et al. 2014).

        E_q[sum_i (f_i - b_i) grad log q_i] + E_q[grad f],    f = sum_i f_i(z_i), q = prod_i q_i

    Each block's score meets the one term of f that needs it: its variance per block does not grow with the others'.
    Unbiased as `score` is.

    params: (R, P); baseline: terms (S, R, ...) -> what is subtracted from them; sampler, create_graph: as in `score`.
    Returns (R, P). Raises Unsupported where f or q does not factorise.
    """
    check_independence(baseline, sampler)
    q = problem.q(params)
    with torch.no_grad():
        z = sampler(q, num_samples)
    f = problem.factors(z, q, params)
    log_prob = log_prob_of_blocks(q, z, f.ndim)
    return grad(log_prob, params, f - baseline(f, problem, params), create_graph) + grad(f, params)


def log_prob_of_blocks(q: Distribution, z: Tensor, ndim: int) -> Tensor:
    """log q of each block of z, with ndim axes. Raises Unsupported where q does not factorise."""
    if not isinstance(q, Independent):
        raise Unsupported(f"needs a q that factorises over z; {type(q).__name__} does not")
    log_prob = q.base_dist.log_prob(z)
    return log_prob.flatten(ndim).sum(-1) if log_prob.ndim > ndim else log_prob


def score_overdispersed(problem: Problem, params: Tensor, num_samples: int = 1, dispersion: Positive = 2.0) -> Tensor:
    """Score function with draws of a wider proposal, weighted back (O-BBVI, Ruiz et al. 2016).

        E_r[q/r (f grad log q + grad f)],    r proportional to q^(1/dispersion)

    Unbiased. The weights' variance grows exponentially with the dimension of z.

    params: (R, P). Returns (R, P). Raises Unsupported for a q whose power is not implemented.
    """
    q = problem.q(params)
    r = power(q, 1 / dispersion)
    z = r.sample((num_samples,))
    f = problem.f(z, q, params)
    weight = (q.log_prob(z) - r.log_prob(z)).exp()
    return grad(q.log_prob(z), params, weight * f) + grad(f, params, weight)


def power(q: Distribution, t: float) -> Distribution:
    """The distribution proportional to q^t. Raises Unsupported for families not listed here."""
    base: Distribution = base_of(q)
    match base:
        case Normal():
            base = Normal(base.loc, base.scale * t**-0.5, validate_args=False)
        case MultivariateNormal():
            base = MultivariateNormal(base.loc, scale_tril=base.scale_tril * t**-0.5, validate_args=False)
        case Gamma():
            base = Gamma(t * (base.concentration - 1) + 1, t * base.rate, validate_args=False)
        case Exponential():
            base = Exponential(t * base.rate, validate_args=False)
        case Beta():
            base = Beta(t * (base.concentration1 - 1) + 1, t * (base.concentration0 - 1) + 1, validate_args=False)
        case Dirichlet():
            base = Dirichlet(t * (base.concentration - 1) + 1, validate_args=False)
        case VonMises():
            base = VonMises(base.loc, t * base.concentration, validate_args=False)
        case Bernoulli():
            base = Bernoulli(logits=t * base.logits, validate_args=False)
        case _:
            raise Unsupported(f"no overdispersed proposal is implemented for {type(base).__name__}")
    return Independent(base, q.reinterpreted_batch_ndims, validate_args=False) if isinstance(q, Independent) else base


def naive(problem: Problem, params: Tensor, num_samples: int = 1) -> Tensor:
    """Gradient and expectation swapped: the score function without its score. Biased.

        E_q[grad f]

    Right for parameters of f alone (a decoder); it misses E_q[f grad log q] for those of q (an encoder).

    params: (R, P). Returns (R, P).
    """
    q = problem.q(params)
    z = q.sample((num_samples,))
    return grad(problem.f(z, q, params), params)
