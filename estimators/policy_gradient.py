"""Forms of the score function that policy-gradient training uses; f is a reward, the S draws are a group."""

from torch import Tensor

from estimators.core import Nonnegative, Problem, Unsupported, base_of, grad


def group_normalised(problem: Problem, params: Tensor, num_samples: int = 8, eps: Nonnegative = 1e-6) -> Tensor:
    """GRPO's advantage (Shao et al. 2024): rewards less their group's mean, over their group's standard deviation.

        E[1/S sum_s (f_s - mean f) / (std f + eps) grad log q(z_s)] + E_q[grad f]

    Biased: the gradient of another objective. Without the division it is `own_mean` (Dr. GRPO, Liu et al. 2025), which
    is biased by -1/S; on-policy, so that no ratio is clipped. params: (R, P). Returns (R, P). Raises Unsupported for
    S = 1.
    """
    if num_samples < 2:
        raise Unsupported("a group needs num_samples >= 2")
    q = problem.q(params)
    z = q.sample((num_samples,))
    f = problem.f(z, q, params)
    advantage = (f - f.mean(0)) / (f.std(0) + eps)
    return grad(q.log_prob(z), params, advantage) + grad(f, params)


def greedy(f: Tensor, problem: Problem, params: Tensor) -> Tensor:
    """Baseline: the reward of the likeliest outcome (self-critical, Rennie et al. 2017; ReMax, Li et al. 2023).

    Unbiased. Costs one more evaluation. Raises Unsupported for a q that is not finite.
    """
    q = problem.q(params.detach())
    if not base_of(q).has_enumerate_support:
        raise Unsupported(f"a greedy baseline needs a finite q; this one is {type(base_of(q)).__name__}")
    cost = problem.factors if f.ndim > 2 else problem.f
    return cost(q.mode.nan_to_num(1.0)[None], q, params.detach())[0]  # of a fair coin torch has no mode
