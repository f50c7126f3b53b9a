"""Outcomes of all coordinates together: the most likely ones, draws without replacement, draws of what is left.

Coordinate by coordinate, so that nothing is enumerated. logits: log-probabilities (*L, N, C); outcomes are one-hot,
(k, *L, N, C), and at most as many as there are.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from estimators.core import one_hot
from estimators.samplers import log_exponential

RESOLUTION = 2.0**-16


def most_likely(logits: Tensor, count: int) -> Tensor:
    """The `count` most likely outcomes, the likeliest first, (k, *L, N, C).

    Log-probabilities are compared up to RESOLUTION, so that where outcomes are equally likely rounding does not choose.
    """
    root = logits.new_zeros(*logits.shape[:-2], 1)
    return _search(logits, count, root, lambda scores, log_p, _: (log_p / RESOLUTION).round())[0]


def without_replacement(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Outcomes as if drawn one after the other, (k, *L, N, C), and their perturbed log-probabilities, (k, *L).

    Stochastic beam search (Kool et al. 2019): the k largest of all log-probabilities with Gumbel noise. A beam's noise
    is the largest of its children's.
    """

    def children(largest: Tensor, log_p: Tensor, logits: Tensor) -> Tensor:
        inherits = one_hot((logits - log_exponential(log_p)).argmax(-1), log_p.shape[-1])
        below = -torch.logaddexp(-largest[..., None], log_exponential(log_p) - log_p)
        return torch.where(inherits, largest[..., None], below)

    return _search(logits, count, -log_exponential(logits.new_empty(*logits.shape[:-2], 1)), children)


def remainder(logits: Tensor, excluded: Tensor, count: int) -> Tensor:
    """Draws from what some outcomes, (k, *L, N, C), leave, (count, *L, N, C); any, if nothing is left."""
    probability = (excluded * logits).sum(-1).flip(-1).cumsum(-1).flip(-1).exp()  # of what follows, (k, *L, N)
    same = torch.ones(count, *excluded.shape[:-2], dtype=logits.dtype, device=logits.device)
    columns = []
    for n in range(logits.shape[-2]):
        taken = torch.einsum("sk...,k...,k...c->s...c", same, probability[..., n], excluded[..., n, :])
        left = (logits[..., n, :].exp() - taken).clamp(min=0)
        chosen = one_hot((left.log() - log_exponential(left)).argmax(-1), left.shape[-1]).to(left)
        same = same * (chosen[:, None] * excluded[..., n, :]).sum(-1)
        columns.append(chosen)
    return torch.stack(columns, -2)


def _search(
    logits: Tensor, count: int, scores: Tensor, score: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """The outcomes with the highest scores, and these; score: of a beam's children, none higher than its own."""
    log_p = torch.zeros_like(scores)
    index = log_p.new_zeros(*log_p.shape, 0, dtype=torch.long)
    C = logits.shape[-1]
    for n in range(logits.shape[-2]):
        here = logits[..., n, None, :]
        every = log_p[..., None] + here
        scores, best = score(scores, every, here).flatten(-2).topk(min(count, every.shape[-2] * C), -1)
        log_p = every.flatten(-2).gather(-1, best)
        parents = index.gather(-2, (best // C)[..., None].expand(*best.shape, n))
        index = torch.cat([parents, (best % C)[..., None]], -1)
    return one_hot(index, C).to(logits).movedim(-3, 0), scores.movedim(-1, 0)
