"""Estimators that change one finite coordinate of a draw at a time."""

import torch
from torch import Tensor

from estimators.core import Problem, grad, one_hot
from estimators.finite import Binary, OneHot
from estimators.samplers import log_exponential


def local_expectation(problem: Problem, params: Tensor, num_samples: int = 1) -> Tensor:
    """Local expectation gradients (Titsias and Lazaro-Gredilla 2015), RAM (Tokui and Sato 2017).

        sum_n E_{z_-n}[sum_c f(z_-n, c) grad q_n(c)] + E_q[grad f]

    Every coordinate is summed over its C values while the others stay as in one draw that all share. Unbiased. Costs
    1 + N (C - 1) evaluations a draw. For Bernoulli coordinates it is the coupled measure-valued derivative.

    params: (R, P). Returns (R, P). Raises Unsupported for a q without independent finite coordinates.
    """
    q = OneHot(problem, params)
    y = q.sample(num_samples)
    f = q.f(y)
    N, C = y.shape[-2:]
    shifted = [y.roll(shift, -1) for shift in range(1, C)]
    gain = y.new_zeros(y.shape)
    with torch.no_grad():
        for n in range(N):
            for new in shifted:
                gain[..., n, :] += new[..., n, :] * (q.f(_with(y, n, new)) - f)[..., None]
    return grad(q.logits.exp(), params, gain) + grad(f, params)


def indecater(problem: Problem, params: Tensor, num_samples: int = 1) -> Tensor:
    """IndeCateR (De Smet et al. 2023): local expectation gradients with a draw of its own for every coordinate.

        sum_n E_{z_-n}[sum_c f(z_-n, c) grad q_n(c)] + E_q[grad f]

    Unbiased. Costs N C evaluations a draw, and one for the second term where f itself has params.

    params: (R, P). Returns (R, P). Raises Unsupported for a q without independent finite coordinates.
    """
    q = OneHot(problem, params)
    N, C = q.logits.shape[-2:]
    columns = []
    for n in range(N):
        y = q.sample(num_samples)
        costs = [q.f(_with(y, n, value.expand_as(y))) for value in torch.eye(C).to(y)]
        columns.append(torch.stack([cost.detach() for cost in costs], -1))
    g = grad(q.logits.exp(), params, torch.stack(columns, -2))
    return g + grad(q.f(y), params) if costs[0].requires_grad else g


def bitflip(problem: Problem, params: Tensor, num_samples: int = 1) -> Tensor:
    """BitFlip-1 (Kunes et al. 2023): the local expectation of one coordinate n, drawn uniformly, times their number.

        E[N p_n (1 - p_n) (f(b_n = 1) - f(b_n = 0))] grad l_n + E_q[grad f],    p = sigmoid(l)

    Unbiased. Costs two evaluations a draw. params: (R, P). Returns (R, P). Raises Unsupported for a q that is not
    Bernoulli.
    """
    q = Binary(problem, params)
    b, p = q.sample(num_samples), q.probs.detach()
    f, gain, chosen = _flipped(q, b, torch.zeros_like(b))
    weight = b.shape[-1] * chosen * p * (1 - p) * (1 - 2 * b) * gain[..., None]
    return grad(q.logits, params, weight) + grad(f, params)


def stochastic_triple(problem: Problem, params: Tensor, num_samples: int = 1) -> Tensor:
    """Stochastic triples (Arya et al. 2022), pruned to one perturbation a draw.

        E[W (f(b_n = 1) - f(b))] grad l_n + E_q[grad f],    W = sum_n w_n, w_n = p_n 1[b_n = 0], p = sigmoid(l)

    As l grows, a bit that is 0 becomes 1 at the rate w_n; of the N perturbations one is kept, drawn by its rate, and
    weighs as much as all. Unbiased. Costs two evaluations a draw. params: (R, P). Returns (R, P). Raises Unsupported
    for a q that is not Bernoulli.
    """
    q = Binary(problem, params)
    b = q.sample(num_samples)
    rate = q.probs.detach() * (1 - b)
    f, gain, chosen = _flipped(q, b, rate.log())
    return grad(q.logits, params, chosen * rate.sum(-1, keepdim=True) * gain[..., None]) + grad(f, params)


def _flipped(q: Binary, b: Tensor, log_rate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Costs of bits, what it adds to flip one of each block drawn by its rate, and which, one-hot."""
    arrival = log_exponential(b) - log_rate
    chosen = one_hot(arrival.argmin(-1), b.shape[-1]).to(b)
    f = q.f(b)
    with torch.no_grad():
        return f, q.f((b - chosen).abs()) - f, chosen


def _with(y: Tensor, n: int, new: Tensor) -> Tensor:
    """Draws y, (S, R, *B, N, C), with coordinate n as in new."""
    y = y.clone()
    y[..., n, :] = new[..., n, :]
    return y
