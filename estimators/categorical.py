"""Estimators for categorical coordinates that couple draws of all categories.

Each weighs the gradient of the logits l, (C,) a coordinate, which carries on to params. For two categories they are
those of `estimators.binary`.
"""

from collections.abc import Callable
from itertools import combinations

import torch
from torch import Tensor

from estimators.binary import mirrored_pair
from estimators.core import Problem, grad, one_hot
from estimators.finite import OneHot
from estimators.samplers import log_exponential

Tree = Callable[[int], list[tuple[list[int], list[int]]]]


def ars(problem: Problem, params: Tensor, num_samples: int = 1) -> Tensor:
    """Augment-REINFORCE-swap (Yin et al. 2019): the Dirichlet variable behind each draw, two entries exchanged.

        E[(f(z^cj) - mean_m f(z^mj)) (1 - C pi_j)] grad l_c + E_q[grad f],    z^cj = argmin_i pi^cj_i e^(-l_i)

    pi is uniform on the simplex, pi^cj has its entries c and j exchanged (those of all coordinates at once), and j is
    drawn uniformly. Unbiased. Costs C evaluations a draw.

    params: (R, P). Returns (R, P). Raises Unsupported for a q without independent finite coordinates.
    """
    q = OneHot(problem, params)
    log_pi = _log_dirichlet(q, num_samples)
    C = log_pi.shape[-1]
    j = torch.randint(C, log_pi.shape[:-2], device=log_pi.device)
    at_j = one_hot(j, C).to(log_pi)[..., None, :].expand_as(log_pi)
    f = torch.stack([q.f(_draw(q, _swapped(log_pi, at_j, c))) for c in range(C)], -1)
    pi_j = (at_j * log_pi.exp()).sum(-1, keepdim=True)
    weight = (f - f.mean(-1, keepdim=True))[..., None, :] * (1 - C * pi_j)
    return grad(q.logits, params, weight) + grad(f.mean(-1), params)


def arsm(problem: Problem, params: Tensor, num_samples: int = 1) -> Tensor:
    """Augment-REINFORCE-swap-merge (Yin et al. 2019): ARS with the mean over all j.

        E[sum_j (f(z^cj) - mean_m f(z^mj)) (1/C - pi_j)] grad l_c + E_q[grad f]

    Unbiased. Costs 1 + C (C - 1) / 2 evaluations a draw: one without an exchange, one a pair.

    params: (R, P). Returns (R, P). Raises Unsupported for a q without independent finite coordinates.
    """
    q = OneHot(problem, params)
    log_pi = _log_dirichlet(q, num_samples)
    C = log_pi.shape[-1]
    still = q.f(_draw(q, log_pi))
    f = still[..., None, None].expand(*still.shape, C, C).clone()
    for c, j in combinations(range(C), 2):
        order = list(range(C))
        order[c], order[j] = j, c
        f[..., c, j] = f[..., j, c] = q.f(_draw(q, log_pi[..., order]))
    weight = torch.einsum("...cj,...nj->...nc", f - f.mean(-2, keepdim=True), 1 / C - log_pi.exp())
    return grad(q.logits, params, weight) + grad(f.mean((-2, -1)), params)


def disarm_tree(problem: Problem, params: Tensor, num_samples: int = 2, *, tree: Tree) -> Tensor:
    """DisARM-Tree, DisARM-SB (Dong et al. 2021): a category as binary decisions down a tree, each pair coupled.

    A decision that both draws of a pair come to is as in DisARM; one that one draw comes to, with b and p, has the
    weight 1/2 (f - f') (b - p), that of the other integrated out; others have none. Unbiased. The S draws are S/2
    pairs, with two evaluations each.

    tree: C -> its decisions, see `balanced` and `stick_breaking`. params: (R, P). Returns (R, P). Raises Unsupported
    for a q without independent finite coordinates and for an odd S.
    """
    q = OneHot(problem, params)
    no, yes = (_members(side, q.logits) for side in zip(*tree(q.logits.shape[-1]), strict=True))
    logits = _log_sum(q.logits, yes) - _log_sum(q.logits, no)
    p = logits.sigmoid().detach()
    decisions = mirrored_pair(p, num_samples)[1:]
    y, mirrored = (_leaf(b, no, yes) for b in decisions)
    f, f_mirrored = q.f(y), q.f(mirrored)
    came, came_mirrored = (z @ (no + yes) for z in (y, mirrored))
    both = (decisions[0] - decisions[1]) * torch.maximum(p, 1 - p)
    alone = came * (decisions[0] - p) - came_mirrored * (decisions[1] - p)
    coupled = came * came_mirrored
    weight = (f - f_mirrored)[..., None, None] / 2 * (coupled * both + (1 - coupled) * alone)
    return grad(logits, params, weight) + grad((f + f_mirrored) / 2, params)


def balanced(categories: int) -> list[tuple[list[int], list[int]]]:
    """Decisions between the halves of the categories, and of these halves: (no, yes) each, from the root on."""

    def split(members: list[int]) -> list[tuple[list[int], list[int]]]:
        half = len(members) // 2
        return [(members[:half], members[half:]), *split(members[:half]), *split(members[half:])] if half else []

    return split(list(range(categories)))


def stick_breaking(categories: int) -> list[tuple[list[int], list[int]]]:
    """Decisions for each category in turn against all later ones: (no, yes) each."""
    return [(list(range(c + 1, categories)), [c]) for c in range(categories - 1)]


def _log_dirichlet(q: OneHot, count: int) -> Tensor:
    """Logarithms of uniform draws from the simplex of each coordinate, (S, R, *B, N, C)."""
    log_e = log_exponential(q.logits.expand(count, *q.logits.shape))
    return log_e - log_e.logsumexp(-1, keepdim=True)


def _draw(q: OneHot, log_pi: Tensor) -> Tensor:
    """The outcome of Dirichlet variables, one-hot."""
    return q.hard(q.logits.detach() - log_pi)


def _swapped(x: Tensor, at_j: Tensor, c: int) -> Tensor:
    """x, (..., C), with entry c and the one that at_j, one-hot, says exchanged."""
    value = (at_j * x).sum(-1, keepdim=True)
    swapped = torch.where(at_j > 0, x[..., c : c + 1], x)
    swapped[..., c : c + 1] = value
    return swapped


def _members(sides: tuple[list[int], ...], like: Tensor) -> Tensor:
    """Which categories are on one side of each decision, (C, decisions)."""
    members = torch.zeros(like.shape[-1], len(sides), dtype=like.dtype, device=like.device)
    for n, side in enumerate(sides):
        members[side, n] = 1
    return members


def _log_sum(logits: Tensor, members: Tensor) -> Tensor:
    """Log-probability of each side, (..., decisions)."""
    return (logits[..., None] + members.log()).logsumexp(-2)


def _leaf(b: Tensor, no: Tensor, yes: Tensor) -> Tensor:
    """The category that decisions, (..., decisions), lead to: the one that contradicts none, one-hot."""
    against = b @ no.mT + (1 - b) @ yes.mT
    return (against == 0).to(b)
