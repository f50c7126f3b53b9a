"""Control variates: an estimate minus a coefficient times another one, whose exact mean has been taken off.

Three parts that combine freely. A *surrogate* of f is a cost whose exact mean under q is known; a *base* gives the
gradients of both by one draw at a time, on common draws; a *coefficient* says how much of the surrogate is subtracted.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from estimators.core import Problem, Unsupported, grad
from estimators.noise_free import GAUSS_HERMITE, nodes
from estimators.pathwise import reparametrised
from estimators.samplers import iid
from estimators.score_function import Sampler, log_prob_of_blocks
from estimators.surrogates import Surrogate

BLOCK = 2**22
AGREEMENT = 1e-4


@dataclass(frozen=True)
class Draws:
    """Gradients of f and of its surrogate by single draws, at params (R, P)."""

    problem: Problem
    params: Tensor
    base: Callable[..., tuple[Tensor, Tensor]]
    surrogate: Callable[[Problem, Tensor], Surrogate]
    create_graph: bool = False

    def __call__(self, count: int, sampler: Sampler = iid) -> tuple[Tensor, Tensor]:
        """By `count` draws a row, (count, R, P) each; the surrogate's exact mean is taken off its own."""
        t = self.surrogate(self.problem, self.params)
        known = grad(t.mean[None], self.params, create_graph=self.create_graph)
        rows = self.params.detach().repeat(count, 1).requires_grad_()

        def surrogate(z: Tensor) -> Tensor:
            return t.f(z.reshape(count, -1, *z.shape[2:])).reshape(1, -1)

        g, h = self.base(self.problem, surrogate, rows, sampler, self.create_graph)
        shape = (count, *self.params.shape)
        return g.reshape(shape), h.reshape(shape) - known


def controlled(
    problem: Problem,
    params: Tensor,
    num_samples: int = 1,
    *,
    base: Callable[..., tuple[Tensor, Tensor]],
    surrogate: Callable[[Problem, Tensor], Surrogate],
    coefficient: Callable[[Draws, int], Tensor],
    create_graph: bool = False,
) -> Tensor:
    """An estimator with a control variate.

        1/S sum_s g_s - c (h_s - E[h])

    g_s, h_s are the base's gradients of f and of the surrogate by draw s. Unbiased where c does not depend on these
    draws. params: (R, P). Returns (R, P).
    """
    return coefficient(Draws(problem, params, base, surrogate, create_graph), num_samples)


# Bases: the gradients of f and of a surrogate by the draw of each row.


def by_score(
    problem: Problem, t: Callable[[Tensor], Tensor], rows: Tensor, sampler: Sampler, create_graph: bool
) -> tuple[Tensor, Tensor]:
    """Both by the score function."""
    q = problem.q(rows)
    z = sampler(q, 1).detach()
    f, log_prob = problem.f(z, q, rows), q.log_prob(z)
    return grad(log_prob, rows, f) + grad(f, rows), grad(log_prob, rows, t(z), create_graph)


def by_local_score(
    problem: Problem, t: Callable[[Tensor], Tensor], rows: Tensor, sampler: Sampler, create_graph: bool
) -> tuple[Tensor, Tensor]:
    """f block by block, as `score_local` does (Ranganath et al. 2014); the surrogate by the score of all of q."""
    q = problem.q(rows)
    z = sampler(q, 1).detach()
    f = problem.factors(z, q, rows)
    g = grad(log_prob_of_blocks(q, z, f.ndim), rows, f) + grad(f, rows)
    return g, grad(q.log_prob(z), rows, t(z), create_graph)


def by_pathwise(
    problem: Problem, t: Callable[[Tensor], Tensor], rows: Tensor, sampler: Sampler, create_graph: bool
) -> tuple[Tensor, Tensor]:
    """Both by the pathwise gradient."""
    q = problem.q(rows)
    z = reparametrised(q, sampler(q, 1))
    return grad(problem.f(z, q, rows), rows), grad(t(z), rows, create_graph=create_graph)


# Coefficients.


def fixed(draws: Draws, num_samples: int, value: float = 1.0) -> Tensor:
    """A given number: unbiased."""
    g, h = draws(num_samples)
    return (g - value * h).mean(0)


def held_out(draws: Draws, num_samples: int, count: int = 25, per_coordinate: bool = False) -> Tensor:
    """Least squares on `count` further draws of its own: unbiased, and charged with their evaluations."""
    g, h = draws(num_samples + count)
    c = regression(g[num_samples:], h[num_samples:], per_coordinate)
    return (g - c * h)[:num_samples].mean(0)


def same_draws(draws: Draws, num_samples: int, per_coordinate: bool = False) -> Tensor:
    """Least squares on the draws that it serves: biased, and per coordinate at S = 2 without a variance.

    Raises Unsupported for S = 1.
    """
    if num_samples < 2:
        raise Unsupported("a coefficient from the same draws needs num_samples >= 2")
    g, h = draws(num_samples)
    return (g - regression(g, h, per_coordinate) * h).mean(0)


class Oracle(nn.Module):
    """The optimal coefficient, Cov(g, h) / Var(h) (Greensmith et al. 2004; one a coordinate: Ranganath et al. 2014).

    With the surrogate `one`, the optimal baseline: E[f s's] / E[s's], where s = grad log q. By quadrature or
    enumeration where `noise_free.nodes` has it and two rules agree, else from `count` draws of a stream of its own.
    Found in training mode, then kept; in practice it is unknown. Unbiased.
    """

    def __init__(self, per_coordinate: bool = False, count: int = 2**14) -> None:
        super().__init__()
        self.per_coordinate = per_coordinate
        self.count = count
        self.coefficient: Tensor | None = None

    def forward(self, draws: Draws, num_samples: int) -> Tensor:
        if self.training or self.coefficient is None:
            self.coefficient = self._fit(replace(draws, params=draws.params[:1].detach().requires_grad_()))
        g, h = draws(num_samples)
        return (g - self.coefficient.to(g) * h).mean(0)

    def _fit(self, draws: Draws) -> Tensor:
        try:
            coarse, fine = (self._by_nodes(draws, most) for most in (GAUSS_HERMITE // 2, GAUSS_HERMITE))
        except Unsupported:
            return self._by_draws(draws)
        agree = (coarse - fine).abs().max() <= AGREEMENT * fine.abs().max()
        return fine if agree else self._by_draws(draws)

    def _by_nodes(self, draws: Draws, most: int) -> Tensor:
        z, weights = nodes(draws.problem.q(draws.params), most)
        g, h = draws(len(z), lambda *_: z.transpose(0, 1))
        return regression(g, h, self.per_coordinate, weights).detach()

    def _by_draws(self, draws: Draws) -> Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            each = min(max(BLOCK // draws.params.numel(), 2), self.count)
            fits = [regression(*draws(each), self.per_coordinate) for _ in range(self.count // each)]
            return torch.stack(fits).mean(0).detach()


def regression(g: Tensor, h: Tensor, per_coordinate: bool = False, weights: Tensor | None = None) -> Tensor:
    """Slope of g on h over draws, (S, R, P) each: one a row, (R, 1), or one a coordinate, (R, P).

    0 where h does not vary. weights: of the draws, (S,), adding up to one.
    """
    w = g.new_ones(len(g)) / len(g) if weights is None else weights.to(g)
    g, h = (x - torch.einsum("s,s...->...", w, x) for x in (g, h))
    together, alone = (torch.einsum("s,s...->...", w, x) for x in (g * h, h * h))
    if not per_coordinate:
        together, alone = together.sum(-1, keepdim=True), alone.sum(-1, keepdim=True)
    return torch.where(alone > 0, together / alone, 0)
