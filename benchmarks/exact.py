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
    problem, estimator = copy.deepcopy(problem).double().cpu(), copy.deepcopy(estimator)
    point = point.detach().double().cpu()
    try:
        draws = _draws(estimator, problem, point, num_samples)
        q = problem.q(leaf(point, 1))
        coordinates = draws * _base(q).batch_shape[1:].numel()
        last: Exact | None = None
        for nodes, weights in _rules(_base(q)):
            if len(nodes) ** coordinates > MOST_OUTCOMES:
                return None
            found = _sum(estimator, problem, point, num_samples, draws, nodes, weights, last)
            if found is None:
                return None
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


def _base(q: Distribution) -> Distribution:
    """The distribution of one coordinate."""
    return q.base_dist if isinstance(q, Independent) else q


def _draws(estimator: Estimator, problem: Problem, point: Tensor, num_samples: int) -> int:
    """How many draws of q one estimate takes."""
    counting = Replay(problem)
    with torch.random.fork_rng(devices=[]):
        estimator(counting, leaf(point, 2), num_samples=num_samples)
    return counting.drawn


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


def _sum(
    estimator: Estimator,
    problem: Problem,
    point: Tensor,
    num_samples: int,
    draws: int,
    nodes: Tensor,
    weights: Tensor | None,
    last: Exact | None,
) -> Exact | None:
    """Weighted moments over all combinations of nodes, about the last mean; None if the estimator draws otherwise."""
    q = problem.q(leaf(point, 1))
    shape = _base(q).batch_shape[1:]
    coordinates = draws * shape.numel()
    count = len(nodes) ** coordinates
    centre = last.mean if last else torch.zeros_like(point)
    one, two = torch.zeros_like(point), torch.zeros_like(point)
    size = torch.zeros_like(point)
    rows = chunk_rows(problem, point, num_samples)
    places = len(nodes) ** torch.arange(coordinates)
    for first in range(0, count, rows):
        index = torch.arange(first, min(first + rows, count))[:, None] // places % len(nodes)
        outcomes = nodes[index].reshape(len(index), draws, *shape, *nodes.shape[1:]).transpose(0, 1)
        params = leaf(point, len(index))
        with torch.no_grad():
            weight = (
                weights[index].prod(1) if weights is not None else problem.q(params).log_prob(outcomes).sum(0).exp()
            )
        g = _replayed(estimator, problem, params, num_samples, outcomes)
        if g is None or not g.isfinite().all():
            return None
        delta = g - centre
        one, two = one + weight @ delta, two + weight @ delta.square()
        size = size + weight @ g.abs()
    variance = two - one.square()
    rounding = ROUNDING_ERRORS * torch.finfo(point.dtype).eps * math.sqrt(count) * size
    return Exact(centre + one, variance.clamp(min=0), rounding, rounding * (rounding + 2 * two.sqrt()))


def _replayed(
    estimator: Estimator, problem: Problem, params: Tensor, num_samples: int, outcomes: Tensor
) -> Tensor | None:
    """Gradients (R, P) of given outcomes; None if the estimator did more than use them all, or not the same twice."""
    state = torch.get_rng_state()
    known = grad(problem.known(params)[None], params)
    replays = [Replay(problem, outcomes) for _ in range(2)]
    first, again = (copy.deepcopy(estimator)(replay, params, num_samples=num_samples).detach() for replay in replays)
    untouched = torch.get_rng_state().equal(state) and all(replay.drawn == len(outcomes) for replay in replays)
    return first + known if untouched and first.equal(again) else None


def _agree(found: Exact, last: Exact) -> bool:
    """Whether two rules give the same moments, relative to the total variance."""
    total = found.variance.sum()
    scale = TOLERANCE * total + found.variance_error.sum()
    means = (found.mean - last.mean).norm() <= TOLERANCE * total.sqrt() + found.mean_error.norm()
    return bool(means and (found.variance - last.variance).abs().sum() <= scale)
