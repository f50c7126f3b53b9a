"""Estimators for Bernoulli coordinates that couple their draws, or use f's gradient at them.

b is Bernoulli(sigmoid(l)); each estimator weighs the gradient of the logits l, which carries on to params.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from estimators.baselines import leave_one_out
from estimators.core import Problem, Unsupported, grad
from estimators.derivatives import slopes
from estimators.finite import Binary

Copula = Callable[[Tensor, int], tuple[Tensor, Tensor]]


def ar(problem: Problem, params: Tensor, num_samples: int = 1) -> Tensor:
    """Augment-REINFORCE (Yin and Zhou 2019): the score of the uniform u behind b = 1[u < sigmoid(l)].

        E_u[f(b) (1 - 2u)] grad l + E_q[grad f]

    Unbiased; more variance than the score function, and `arm`'s one half. params: (R, P). Returns (R, P). Raises
    Unsupported for a q that is not Bernoulli.
    """
    q = Binary(problem, params)
    u = _uniform(q.probs, num_samples)
    f = q.f((u < q.probs).to(u))
    return grad(q.logits, params, f[..., None] * (1 - 2 * u)) + grad(f, params)


def arm(problem: Problem, params: Tensor, num_samples: int = 2) -> Tensor:
    """Augment-REINFORCE-merge (Yin and Zhou 2019): AR with each uniform and its mirror image.

        E_u[(f(b') - f(b)) (u - 1/2)] grad l + E_q[grad f],    b = 1[u < sigmoid(l)], b' = 1[1 - u < sigmoid(l)]

    Unbiased. The S draws are S/2 pairs. params: (R, P). Returns (R, P). Raises Unsupported for a q that is not
    Bernoulli and for an odd S.
    """
    q = Binary(problem, params)
    u, b, mirrored = mirrored_pair(q.probs, num_samples)
    f, f_mirrored = q.f(b), q.f(mirrored)
    return grad(q.logits, params, (f_mirrored - f)[..., None] * (u - 0.5)) + grad((f + f_mirrored) / 2, params)


def disarm(problem: Problem, params: Tensor, num_samples: int = 2) -> Tensor:
    """DisARM, U2G (Dong et al. 2020; Yin et al. 2020): ARM with the uniform integrated out, given the pair.

        E[1/2 (f(b) - f(b')) (b - b') sigmoid(|l|)] grad l + E_q[grad f],    b, b' as in `arm`

    Unbiased, and never more variance than ARM. The S draws are S/2 pairs. params: (R, P). Returns (R, P). Raises
    Unsupported for a q that is not Bernoulli and for an odd S.
    """
    q = Binary(problem, params)
    _, b, mirrored = mirrored_pair(q.probs, num_samples)
    f, f_mirrored = q.f(b), q.f(mirrored)
    weight = (f - f_mirrored)[..., None] / 2 * (b - mirrored) * q.logits.abs().sigmoid()
    return grad(q.logits, params, weight) + grad((f + f_mirrored) / 2, params)


def arms(problem: Problem, params: Tensor, num_samples: int = 2, *, copula: Copula) -> Tensor:
    """ARMS (Dimitriev and Zhou 2021): S antithetic draws at once, leave-one-out, set right by their correlation rho.

        E[1/(S-1) sum_s (f(b_s) - mean f) (b_s - p) / (1 - rho)] grad l + E_q[grad f],    p = sigmoid(l)

    Unbiased. With S = 2 it is DisARM.

    copula: (p, S) -> S exchangeable draws of Bernoulli(p) and 1 / (1 - rho), see `estimators.copulas`. params: (R, P).
    Returns (R, P). Raises Unsupported for a q that is not Bernoulli and for S = 1.
    """
    if num_samples < 2:
        raise Unsupported("arms needs num_samples >= 2")
    q = Binary(problem, params)
    p = q.probs.detach()
    b, debias = copula(p, num_samples)
    f = q.f(b)
    weight = (f - leave_one_out(f))[..., None] * (b - p) * debias
    return grad(q.logits, params, weight) + grad(f, params)


class DoubleControl(nn.Module):
    """Double control variates (Titsias and Shi 2022): leave-one-out, and f's gradient at the other draws.

        E[1/S sum_s (h_s - 1/(S-1) sum_{t != s} h_t) (b_s - p)] grad l - a E[f'] grad p + E_q[grad f],
        h_s = f(b_s) + a (b_s - p)' 1/(S-1) sum_{t != s} f'(b_t)

    Unbiased, since each linear term is free of its own draw. Costs S evaluations of f and of its gradient.

    a, the module's `strength`, starts at 0 (`score_loo`) and is tuned to the least variance. params: (R, P). Returns
    (R, P). Raises Unsupported for a q that is not Bernoulli and for S = 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, problem: Problem, params: Tensor, num_samples: int = 2, create_graph: bool = False) -> Tensor:
        if num_samples < 2:
            raise Unsupported("double control variates need num_samples >= 2")
        q = Binary(problem, params)
        b, p, a = q.sample(num_samples), q.probs.detach(), self.strength.to(params)
        f, slope, explicit = costs_and_slopes(q, b)
        others = leave_one_out(slope)
        h = f + a * ((b - p) * others).sum(-1)
        weight = (h - leave_one_out(h))[..., None] * (b - p) - a * slope * p * (1 - p)
        return grad(q.logits, params, weight, create_graph) + explicit


def costs_and_slopes(q: Binary, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Costs of each block, (S, R, *B), f's gradient in b, (S, R, *B, N), and the sample mean of that in params, (R, P).

    In b it is that of f's density terms too, q held as it is.
    """
    b = b.detach().requires_grad_()
    f = q.f(b)
    slope, explicit = slopes(f.reshape(*f.shape[:2], -1).sum(-1), b, q.params)
    return f.detach(), slope.reshape(b.shape), explicit


def mirrored_pair(p: Tensor, num_samples: int) -> tuple[Tensor, Tensor, Tensor]:
    """Uniforms u, and the bits of probability p that u and 1 - u make, (S/2, *p) each.

    Raises Unsupported for an odd S.
    """
    if num_samples % 2:
        raise Unsupported("draws come in pairs: num_samples must be even")
    u = _uniform(p, num_samples // 2)
    b, mirrored = ((v < p).to(u) for v in (u, 1 - u))
    return u, b, mirrored


def _uniform(p: Tensor, count: int) -> Tensor:
    return torch.rand(count, *p.shape, dtype=p.dtype, device=p.device)
