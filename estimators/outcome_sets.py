"""Estimators that sum over a set of distinct outcomes of all coordinates together: the likeliest, or drawn ones.

They treat the N coordinates as one variable with C^N outcomes, p(z) = prod_n q_n(z_n).
"""

import math
from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor

from estimators import beams
from estimators.core import Bound, Problem, Unsupported, grad
from estimators.finite import OneHot

STEP = 0.2
NEGLIGIBLE = 37.0
TINY = 1e-30

Weigh = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def rao_blackwell(problem: Problem, params: Tensor, num_samples: int = 1, k: Annotated[int, Bound(0)] = 1) -> Tensor:
    """Rao-Blackwellised score function (Liu et al. 2019): the k likeliest outcomes summed, the rest sampled.

        sum_{z in top k} p(z) f(z) grad log p(z) + (1 - p(top k)) E[f grad log p | not in top k] + E_q[grad f]

    Unbiased, and never more variance than the score function. Costs k + S evaluations.

    params: (R, P). Returns (R, P). Raises Unsupported for a q without independent finite coordinates.
    """
    q = OneHot(problem, params)
    logits = q.logits.detach().double()
    top = beams.most_likely(logits, k)
    rest = beams.remainder(logits, top, num_samples)
    p = (top * logits).sum((-2, -1)).exp()
    left = (1 - p.sum(0)).clamp(min=0) / num_samples
    weight = torch.cat([p, left.expand(num_samples, *left.shape)])
    return _weighed(q, torch.cat([top, rest]), lambda f: (weight * f, weight))


def without_replacement(problem: Problem, params: Tensor, num_samples: int = 2, *, weigh: Weigh) -> Tensor:
    """Score function of S outcomes drawn without replacement (Kool et al. 2019, 2020).

        sum_s a_s grad log p(z_s) + sum_s w_s grad f(z_s)

    Where there are no more than S outcomes, all are taken, and the sum is exact. Costs S evaluations.

    weigh: log p, the perturbed log p of the first outcome left out, f -> signals a and weights w, each (S, ...).
    params: (R, P). Returns (R, P). Raises Unsupported for a q without independent finite coordinates.
    """
    q = OneHot(problem, params)
    logits = q.logits.detach().double()
    y, perturbed = beams.without_replacement(logits, num_samples + 1)
    threshold = perturbed[num_samples] if len(y) > num_samples else torch.full_like(perturbed[0], -math.inf)
    y = y[:num_samples]
    log_p = (y * logits).sum((-2, -1))
    return _weighed(q, y, lambda f: weigh(log_p, threshold, f))


def sum_and_sample(log_p: Tensor, _: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
    """Stochastic sum-and-sample (Liang et al. 2018): all but the last drawn are summed, which stands for the rest.

        w_s = p_s for s < S, w_S = 1 - sum_{s < S} p_s;    a = w f

    Unbiased.
    """
    p = log_p.exp()
    last = (1 - p[:-1].sum(0, keepdim=True)).clamp(min=0)
    weight = torch.cat([p[:-1], last])
    return weight * f, weight


def importance(log_p: Tensor, threshold: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
    """Importance weights of drawing without replacement (Kool et al. 2019).

        w = p / P(log p + Gumbel > threshold);    a = w f

    Unbiased.
    """
    weight = _importance_weights(log_p, threshold)
    return weight * f, weight


def importance_with_baseline(log_p: Tensor, threshold: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
    """Importance weights and a baseline of the same draws, each draw's own part set right (Kool et al. 2020): unbiased.

        a_s = w_s (f_s (1 - p_s + w_s) - sum_t w_t f_t)

    Raises Unsupported for S = 1.
    """
    _at_least_two(f)
    weight = _importance_weights(log_p, threshold)
    return weight * (f * (1 - log_p.exp() + weight) - (weight * f).sum(0)), weight


def importance_normalised(log_p: Tensor, threshold: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
    """Importance weights made to add up to one, and their mean as baseline (Kool et al. 2019): biased.

        v = w / sum_t w_t;    a_s = w_s / (sum_t w_t - w_s + p_s) (f_s - sum_t v_t f_t)

    Raises Unsupported for S = 1.
    """
    _at_least_two(f)
    weight = _importance_weights(log_p, threshold)
    total = weight.sum(0)
    mean = (weight * f).sum(0) / total
    return weight / (total - weight + log_p.exp()) * (f - mean), weight / total


def unordered(log_p: Tensor, _: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
    """Unordered set estimator (Kool et al. 2020): the mean of sum-and-sample over all orders of the set.

        w_s = p_s P(S without s, where s is no outcome) / P(S);    a = w f

    P(S) is the probability that S distinct draws are this set. Unbiased. With S = 1 it is the score function.
    """
    weight = _leave_one_out(log_p)[0]
    return weight * f, weight


def unordered_with_baseline(log_p: Tensor, _: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
    """Unordered set estimator with its built-in baseline (Kool et al. 2020), that of the set without s: unbiased.

        a_s = w_s (f_s - p_s f_s - sum_{t != s} w_t|s f_t)

    w_t|s is the weight of t in the set without s, where s is no outcome; they add up to 1 - p_s on average. Raises
    Unsupported for S = 1.
    """
    _at_least_two(f)
    weight, others = _leave_one_out(log_p)
    baseline = torch.einsum("st...,t...->s...", others, f.to(others))
    return weight * (f * (1 - log_p.exp()) - baseline), weight


def _weighed(q: OneHot, y: Tensor, weigh: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Tensor:
    """Sum over outcomes of signal x gradient of log p + weight x gradient of f."""
    y = y.to(q.logits)
    f = q.f(y)
    signal, weight = (len(y) * x.to(f) for x in weigh(f.detach()))
    return grad(q.log_prob(y), q.params, signal) + grad(f, q.params, weight)


def _at_least_two(f: Tensor) -> None:
    if len(f) < 2:
        raise Unsupported("a baseline of the other draws needs num_samples >= 2")


def _importance_weights(log_p: Tensor, threshold: Tensor) -> Tensor:
    """p / (1 - exp(-exp(log p - threshold)))."""
    return (log_p - _log_arrived(log_p - threshold)).exp()


def _log_arrived(x: Tensor) -> Tensor:
    """log(1 - exp(-exp(x))): that a clock has struck after e^x times its mean time; x itself where that is tiny."""
    return torch.where(x < -NEGLIGIBLE, x, (-torch.expm1(-x.clamp(min=-NEGLIGIBLE).exp())).log())


def _leave_one_out(log_p: Tensor) -> tuple[Tensor, Tensor]:
    """Weights w_s, (S, ...), and w_t|s, (S, S, ...), zero for t = s.

    The outcomes are the first S of exponential clocks with rates p, and r = 1 - sum p is the rate of all others:
    P(S) = int r e^(-r t) prod_s (1 - e^(-p_s t)) dt, without s or t: without their factors. By the trapezium rule in
    log t, where the integrand is analytic and vanishes at both ends.
    """
    S = len(log_p)
    log_p = log_p.movedim(0, -1)[..., None]
    log_rest = (-torch.expm1(log_p.logsumexp(-2, keepdim=True).clamp(max=0))).clamp(min=TINY).log()
    first = torch.minimum(-log_p.amax(-2, keepdim=True), -log_rest) - NEGLIGIBLE / max(S - 1, 1)
    last = torch.maximum(math.log(NEGLIGIBLE + 4 * S) - log_rest, first + 1)
    nodes = math.ceil(float((last - first).max()) / STEP) + 1
    log_t = torch.lerp(first, last, torch.linspace(0, 1, nodes, dtype=log_p.dtype, device=log_p.device))
    log_rung = _log_arrived(log_p + log_t)  # (..., S, nodes)
    log_w = log_t + log_rest - (log_rest + log_t).exp() + log_rung.sum(-2, keepdim=True)
    w = (log_w - log_w.amax(-1, keepdim=True)).exp()
    freed = (log_p - log_rung).exp()
    without = (w * freed).sum(-1)
    others = (w * freed) @ freed.mT / without[..., None]
    others = others * (1 - torch.eye(S, dtype=others.dtype, device=others.device))
    return (without / w.sum(-1)).movedim(-1, 0), others.movedim((-2, -1), (0, 1))
