"""Exact mean and variance of an estimator, where its draws are few: every outcome is one row."""

import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, Independent, Normal, OneHotCategorical

from benchmarks.engine import Estimator, chunk_rows, leaf
from estimators.core import Problem, grad

MOST_OUTCOMES = 2**18
NODES = (5, 8, 13, 20, 31, 46, 69, 104)
TOLERANCE = 1e-9
ROUNDING_ERRORS = 8


@dataclass(frozen=True)
class Exact:
    """Mean and variance of each coordinate of an estimate, (P,), in float64, and bounds of their numerical errors."""

    mean: Tensor
    variance: Tensor
    mean_error: Tensor
    variance_error: Tensor


class Replay(Problem):
    """A problem whose q, instead of drawing, hands out given outcomes in turn; without any, it counts the draws."""

    def __init__(self, problem: Problem, outcomes: Tensor | None = None) -> None:
        super().__init__()
        self.problem = problem
        self.outcomes = outcomes
        self.groups = problem.groups
        self.points = problem.points
        self.drawn = 0

    def at(self, point: str) -> Tensor:
        return self.problem.at(point)

    def q(self, params: Tensor) -> Distribution:
        q: Any = copy.copy(self.problem.q(params))
        draw, rsample = q.sample, getattr(q, "rsample", None)

        def replay(shape: Any, differentiable: bool) -> Tensor:
            shape = torch.Size(shape)
            first, self.drawn = self.drawn, self.drawn + shape.numel()
            if self.outcomes is None:
                return (rsample if differentiable and rsample else draw)(shape)
            z = self.outcomes[first : self.drawn].reshape(*shape, *self.outcomes.shape[1:])
            base = _base(q)
            z = base.loc + base.scale * z if isinstance(base, Normal) else z
            return z if differentiable else z.detach()

        q.sample = lambda sample_shape=(): replay(sample_shape, False)
        q.rsample = lambda sample_shape=(): replay(sample_shape, True)
        return q

    def f(self, z: Tensor, q: Distribution, params: Tensor) -> Tensor:
        return self.problem.f(z, q, params)

    def known(self, params: Tensor) -> Tensor:
        return self.problem.known(params)


def exact_moments(estimator: Estimator, problem: Problem, point: Tensor, num_samples: int) -> Exact | None:
    """Mean and variance of an estimate by enumeration (finite q) or Gauss-Hermite quadrature (Gaussian q).

    Every combination of nodes of all the draws is fed as one row. Quadrature is refined until both agree to 1e-9 with
    the rule before. None where that is not to be had: another q, more than MOST_OUTCOMES combinations, an estimator
    that draws by other means than q (seen by its calls, by torch's generator and by running it twice), no convergence.
    """
    try:
        cell = _Cell(estimator, copy.deepcopy(problem).double().cpu(), point.double().cpu(), num_samples)
        last: Exact | None = None
        for nodes, weights in _rules(cell.base):
            found = cell.moments(nodes, weights, last.mean if last else torch.zeros_like(cell.point))
            if last is not None and _agree(found, last):
                return Exact(
                    found.mean,
                    found.variance,
                    torch.maximum(found.mean_error, (found.mean - last.mean).abs()),
                    torch.maximum(found.variance_error, (found.variance - last.variance).abs()),
                )
            last = found
    except Exception:  # an estimator or a q that cannot be replayed, for whatever reason, is sampled
        return None
    return None


class _NotExact(Exception):
    """The moments are not to be had exactly."""


class _Cell:
    """An estimator at a point, and the outcomes of all the draws that one estimate takes."""

    def __init__(self, estimator: Estimator, problem: Problem, point: Tensor, num_samples: int) -> None:
        self.estimator = estimator
        self.problem = problem
        self.point = point.detach()
        self.num_samples = num_samples
        self.base = _base(problem.q(leaf(self.point, 1)))
        self.shape = self.base.batch_shape[1:]
        counting = Replay(problem)
        with torch.random.fork_rng(devices=[]):
            self._estimate(counting, leaf(self.point, 2))
        self.draws = counting.drawn

    def moments(self, nodes: Tensor, weights: Tensor | None, centre: Tensor) -> Exact:
        """Weighted moments over all combinations of nodes, about a centre; weights: None for q's own probabilities."""
        coordinates = self.draws * self.shape.numel()
        count = len(nodes) ** coordinates
        if count > MOST_OUTCOMES:
            raise _NotExact
        one, two, size = (torch.zeros_like(centre) for _ in range(3))
        rows = chunk_rows(self.problem, self.point, self.num_samples)
        places = len(nodes) ** torch.arange(coordinates)
        for first in range(0, count, rows):
            index = torch.arange(first, min(first + rows, count))[:, None] // places % len(nodes)
            outcomes = nodes[index].reshape(len(index), self.draws, *self.shape, *nodes.shape[1:]).transpose(0, 1)
            params = leaf(self.point, len(index))
            with torch.no_grad():
                if weights is None:
                    weight = self.problem.q(params).log_prob(outcomes).sum(0).exp()
                else:
                    weight = weights[index].prod(1)
            g = self._replayed(params, outcomes)
            delta = g - centre
            one, two, size = one + weight @ delta, two + weight @ delta.square(), size + weight @ g.abs()
        rounding = ROUNDING_ERRORS * torch.finfo(centre.dtype).eps * math.sqrt(count) * size
        variance = (two - one.square()).clamp(min=0)
        return Exact(centre + one, variance, rounding, rounding * (rounding + 2 * two.sqrt()))

    def _replayed(self, params: Tensor, outcomes: Tensor) -> Tensor:
        """Gradients (R, P) of given outcomes; not exact if the estimator did more than use them all, the same twice."""
        state = torch.get_rng_state()
        replays = [Replay(self.problem, outcomes) for _ in range(2)]
        first, again = (self._estimate(replay, params) for replay in replays)
        untouched = torch.get_rng_state().equal(state) and all(replay.drawn == len(outcomes) for replay in replays)
        if not (untouched and first.equal(again) and first.isfinite().all()):
            raise _NotExact
        return first + grad(self.problem.known(params)[None], params)

    def _estimate(self, replay: Replay, params: Tensor) -> Tensor:
        return copy.deepcopy(self.estimator)(replay, params, num_samples=self.num_samples).detach()


def _base(q: Distribution) -> Distribution:
    """The distribution of one coordinate."""
    return q.base_dist if isinstance(q, Independent) else q


def _rules(base: Distribution) -> list[tuple[Tensor, Tensor | None]]:
    """Nodes of one coordinate, (K, ...), and their weights (None: q's own probabilities). Each rule refines the last.

    A finite support's rule is there twice: the second pass is centred on the first one's mean.
    """
    if isinstance(base, Normal):
        rules = [np.polynomial.hermite_e.hermegauss(n) for n in NODES]
        return [(torch.as_tensor(x), torch.as_tensor(w / w.sum())) for x, w in rules]
    if isinstance(base, Bernoulli | Categorical | OneHotCategorical):
        support = base.enumerate_support(expand=False)  # type: ignore[no-untyped-call]
        return [(support.reshape(len(support), *base.event_shape), None)] * 2
    return []


def _agree(found: Exact, last: Exact) -> bool:
    """Whether two rules give the same moments, relative to the total variance."""
    total = found.variance.sum()
    scale = TOLERANCE * total + found.variance_error.sum()
    means = (found.mean - last.mean).norm() <= TOLERANCE * total.sqrt() + found.mean_error.norm()
    return bool(means and (found.variance - last.variance).abs().sum() <= scale)
