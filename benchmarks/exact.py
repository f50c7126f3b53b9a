"""Exact mean and variance of an estimator, where its draws are few: every outcome is one row."""

import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, Normal

from benchmarks.engine import Estimator, Wrapped, chunk_rows, leaf
from estimators.core import Problem, base_of, grad

MOST_OUTCOMES = 2**18
MOST_CHUNKS = 256
NODES = (13, 20, 31, 46, 69, 104, 156, 234, 351)
TOLERANCE = 1e-9
ROUNDING_ERRORS = 8


@dataclass(frozen=True)
class Exact:
    """Mean and variance of each coordinate of an estimate, (P,), in float64, and bounds of their numerical errors."""

    mean: Tensor
    variance: Tensor
    mean_error: Tensor
    variance_error: Tensor


class Replay(Wrapped):
    """A problem whose q, instead of drawing, hands out given outcomes in turn; without any, it counts the draws.

    rows: of the params that the estimator was given. An estimator that repeats them n times draws n times a row.
    """

    def __init__(self, problem: Problem, rows: int, outcomes: Tensor | None = None) -> None:
        super().__init__(problem)
        self.rows = rows
        self.outcomes = outcomes
        self.drawn = 0
        self.log_probability: Tensor | float = 0.0

    def q(self, params: Tensor) -> Distribution:
        q: Any = copy.copy(self.problem.q(params))
        draw, rsample = q.sample, getattr(q, "rsample", None)

        def replay(shape: Any, differentiable: bool) -> Tensor:
            shape = torch.Size(shape)
            first, self.drawn = self.drawn, self.drawn + shape.numel() * len(params) // self.rows
            if self.outcomes is None:
                return (rsample if differentiable and rsample else draw)(shape)
            outcomes = self.outcomes[first : self.drawn]
            z = outcomes.reshape(*shape, len(params), *outcomes.shape[2:])
            base = base_of(q)
            if isinstance(base, Normal):
                z = base.loc + base.scale * z
            else:
                log_probability = q.log_prob(z).reshape(-1, self.rows).sum(0)
                self.log_probability = self.log_probability + log_probability
            return z if differentiable else z.detach()

        q.sample = lambda sample_shape=(): replay(sample_shape, False)
        q.rsample = lambda sample_shape=(): replay(sample_shape, True)
        return q


def exact_moments(estimator: Estimator, problem: Problem, point: Tensor, num_samples: int) -> Exact | None:
    """Mean and variance of an estimate by enumeration (finite q) or Gauss-Hermite quadrature (Gaussian q).

    Every combination of nodes of all the draws is fed as one row. The two finest rules that MOST_OUTCOMES and
    MOST_CHUNKS allow must agree to 1e-9. None where that is not to be had: another q, too many combinations (a Gaussian
    takes 20 nodes a coordinate or more), an estimator that remembers or draws by other means than q (seen by its calls,
    by torch's generator and by running it twice), two rules that differ.
    """
    try:
        cell = _Cell(estimator, copy.deepcopy(problem).double().cpu(), point.double().cpu(), num_samples)
        coarse, fine = [rule for rule in _rules(cell.base) if cell.affords(len(rule[0]))][-2:]
        first = cell.moments(*coarse, torch.zeros_like(cell.point))
        last = cell.moments(*coarse, first.mean)
        found = cell.moments(*fine, last.mean)
    except Exception:  # an estimator or a q that cannot be replayed, for whatever reason, is sampled
        return None
    mean_error, variance_error = (found.mean - last.mean).abs(), (found.variance - last.variance).abs()
    total = found.variance.sum()
    if variance_error.sum() > TOLERANCE * total + found.variance_error.sum():
        return None
    if mean_error.norm() > TOLERANCE * total.sqrt() + found.mean_error.norm():
        return None
    return Exact(
        found.mean,
        found.variance,
        torch.maximum(found.mean_error, mean_error),
        torch.maximum(found.variance_error, variance_error),
    )


class _NotExact(Exception):
    """The moments are not to be had exactly."""


class _Cell:
    """An estimator at a point, and the outcomes of all the draws that one estimate takes."""

    def __init__(self, estimator: Estimator, problem: Problem, point: Tensor, num_samples: int) -> None:
        self.estimator = estimator
        self.problem = problem
        self.point = point.detach()
        self.num_samples = num_samples
        self.base = base_of(problem.q(leaf(self.point, 1)))
        self.shape = self.base.batch_shape[1:]
        counting = Replay(problem, 2)
        with torch.random.fork_rng(devices=[]):
            self._estimates([counting], leaf(self.point, 2))
        self.draws = counting.drawn
        self.coordinates = self.draws * self.shape.numel()
        self.rows = chunk_rows(problem, self.point, num_samples)

    def affords(self, nodes: int) -> bool:
        """Whether a rule of so many nodes a coordinate is cheap enough."""
        return nodes**self.coordinates <= min(MOST_OUTCOMES, MOST_CHUNKS * self.rows)

    def moments(self, nodes: Tensor, weights: Tensor | None, centre: Tensor) -> Exact:
        """Weighted moments over all combinations of nodes, about a centre; weights: None for q's own probabilities."""
        count = len(nodes) ** self.coordinates
        one, two, size = (torch.zeros_like(centre) for _ in range(3))
        places = len(nodes) ** torch.arange(self.coordinates)
        for first in range(0, count, self.rows):
            index = torch.arange(first, min(first + self.rows, count))[:, None] // places % len(nodes)
            outcomes = nodes[index].reshape(len(index), self.draws, *self.shape, *nodes.shape[1:]).transpose(0, 1)
            g, probability = self._replayed(leaf(self.point, len(index)), outcomes)
            weight = probability if weights is None else weights[index].prod(1)
            delta = g - centre
            one, two = one + weight @ delta, two + weight @ delta.square()
            size = size + weight @ g.square() if weights is not None else torch.maximum(size, g.square().amax(0))
        rounding = ROUNDING_ERRORS * torch.finfo(centre.dtype).eps * math.sqrt(count) * size.sqrt()
        variance = (two - one.square()).clamp(min=0)
        return Exact(centre + one, variance, rounding, rounding * (rounding + 2 * two.sqrt()))

    def _replayed(self, params: Tensor, outcomes: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients (R, P) of given outcomes, and the outcomes' probabilities where q is finite, (R,).

        Not exact if the estimator did anything but use them all, and the same way again.
        """
        state = torch.get_rng_state()
        replays = [Replay(self.problem, len(params), outcomes) for _ in range(2)]
        first, again = self._estimates(replays, params)
        untouched = torch.get_rng_state().equal(state) and all(replay.drawn == len(outcomes) for replay in replays)
        if not (untouched and first.equal(again) and first.isfinite().all()):
            raise _NotExact
        probability = torch.as_tensor(replays[0].log_probability, dtype=first.dtype).detach().exp().expand(len(params))
        return first + grad(self.problem.known(params)[None], params), probability

    def _estimates(self, replays: list[Replay], params: Tensor) -> list[Tensor]:
        """One copy of the estimator on each replay in turn."""
        estimator = copy.deepcopy(self.estimator)
        return [estimator(replay, params, num_samples=self.num_samples).detach() for replay in replays]


def _rules(base: Distribution) -> list[tuple[Tensor, Tensor | None]]:
    """Nodes of one coordinate, (K, ...), and their weights (None: q's own probabilities). Each rule refines the last.

    A finite support's rule is there twice: the second pass is centred on the first one's mean.
    """
    if isinstance(base, Normal):
        rules = [np.polynomial.hermite_e.hermegauss(n) for n in NODES]
        return [(torch.as_tensor(x), torch.as_tensor(w / w.sum())) for x, w in rules]
    if base.has_enumerate_support:
        support = base.enumerate_support(expand=False)
        return [(support.reshape(len(support), *base.event_shape), None)] * 2
    return []
