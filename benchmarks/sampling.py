"""How many replicates a cell takes, and drawing them: pilot, scouts, and the sample that is measured."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.engine import Chunks, Counted, clock_of
from benchmarks.intervals import LEVEL
from benchmarks.moments import Moments, Replicates
from benchmarks.summary import NO_RATE, NO_VARIANCE, Known, Pilot, Standing, lasting, standings, tail
from estimators.core import Problem

PILOT_REPLICATES = 256
BLOCK_ELEMENTS = 2**16  # gradients summarised at a time: few enough for the cache, so many that calls cost little
ROUNDING_ERRORS = 8
FIRST_SCOUT = -(2**31)
SCOUTS_PER_KURTOSIS = 20
SAFETY = 1.25
SURE = 0.999


@dataclass(frozen=True)
class Target:
    """What a run is to reach, and its bounds in chunks and seconds."""

    precision: float
    bias_precision: float | None
    fewest: int
    most: int
    seconds: float

    def factor(self, standing: Standing) -> float:
        """How many times as many replicates a group needs; none help where there is no noise, or no gradient."""
        helps = self.bias_precision and standing.width > 0 and math.isfinite(standing.detectable)
        asked = standing.detectable / self.bias_precision if self.bias_precision and helps else 0.0
        return max(standing.width / self.precision, asked) ** 2


@dataclass(frozen=True)
class Run:
    """A cell's measured replicates, how far each group is, and which groups' tails the scouts have seen.

    shapes: what is claimed of each group's tail, see `lasting`; where the scouts have settled it, only beyond doubt.
    """

    total: Replicates
    standings: dict[str, Standing]
    settled: dict[str, bool]
    shapes: dict[str, float]

    def reasons(self, target: Target) -> dict[str, str]:
        """Why a group's numbers are not what was asked for, empty where they are; `all` has what any group lacks."""
        reasons = {name: self._reason(i, name, target) for i, name in enumerate(self.standings)}
        lacking = [name for name, lacks in self.lacks_variance().items() if lacks]
        worst = next((name for name in [*lacking, "all", *reasons] if reasons[name]), "all")
        return reasons | {"all": reasons["all"] if worst == "all" else f"{worst}: {reasons[worst]}"}

    def lacks_variance(self) -> dict[str, bool]:
        """Whether a group's variance does not exist, as far as its tail tells; `all` has none if any group has none."""
        lacking = {name: shape >= NO_VARIANCE and not self.settled[name] for name, shape in self.shapes.items()}
        return lacking | {"all": any(lacking.values())}

    def _reason(self, i: int, name: str, target: Target) -> str:
        standing, shape = self.standings[name], self.shapes[name]
        if shape >= NO_VARIANCE and not self.settled[name]:
            return f"the variance does not exist: the tail's shape k is >= {shape:.2f}"
        if shape >= NO_RATE:
            return f"as far as the tail tells, no interval at the usual rate exists: its shape k is >= {shape:.2f}"
        missed = []
        if standing.width > target.precision:
            missed.append(f"interval's relative half-width is {standing.width:.3g}, not {target.precision:g}")
        if not self.settled[name]:
            k = tail(self.total, i)
            missed.append(f"the tail is too heavy to trust the interval at this many replicates (its shape k: {k:.2g})")
        if target.bias_precision and standing.detectable > target.bias_precision:
            asked = f"{target.bias_precision:g}"
            missed.append(f"detectable bias is {standing.detectable:.3g} of the gradient's norm, not {asked}")
        return "; ".join(missed)


def pilot(chunks: Chunks) -> Pilot:
    """Runs PILOT_REPLICATES that no statistic uses, on streams counted down from the cell's own.

    The rounding error is seen by moving the parameters by one unit in the last place, with the same draws; not where an
    estimator that remembers, or draws by other means, gives something else on the same draws anyway.
    """

    def at(problem: Problem, point: Tensor) -> Chunks:
        return Chunks(chunks.estimator, problem, point, chunks.num_samples, chunks.rows, chunks.seed)

    counted = Counted(chunks.problem)
    counting = at(counted, chunks.point)
    first = counting(-1).double()
    total = Moments.of(first)
    while total.n < PILOT_REPLICATES:
        total = total + Moments.of(counting(-1 - total.n // chunks.rows))
    unit = torch.finfo(chunks.point.dtype).eps
    moved = at(chunks.problem, chunks.point + unit * (1 + chunks.point.abs()))(-1)
    ulps = (unit * first).square()
    steps = (moved - first).square() if at(chunks.problem, chunks.point)(-1).equal(first.to(moved)) else 0 * ulps
    rounding = ROUNDING_ERRORS**2 * (steps + ulps + ulps.mean()).mean(0)
    return Pilot(total.mean, counted.evaluations / total.n, counted.gradient_evaluations / total.n, rounding)


def run(chunks: Chunks, known: Known, target: Target, bar: tqdm) -> Run:
    """Draw replicates until the target is reached or a bound is.

    Scouts, which no statistic uses, choose how many: a run that ends when its own interval looks narrow ends when the
    tail has not shown itself, and is too low. There are enough scouts when they are half of what they ask for, and
    SCOUTS_PER_KURTOSIS times the kurtosis of the squared deviations, so that their spread is known.
    """
    clock = clock_of(chunks.point.device)
    start = clock()
    groups = list(known.groups.values())
    block = max(BLOCK_ELEMENTS // (chunks.rows * len(chunks.point)), 1)

    def extend(total: Replicates | None, first: int, goal: int, deadline: float) -> Replicates:
        done = total.gradient.n // chunks.rows if total else 0
        while total is None or (done < goal and clock() < deadline):
            gradients = torch.cat([chunks(first + k) for k in range(done, min(done + block, max(goal, done + 1)))])
            part = Replicates.of(gradients, groups, known.pilot.centre, first=done * chunks.rows)
            total = part if total is None else total + part
            done += len(gradients) // chunks.rows
            bar.update(len(gradients))
        return total

    def needed(found: dict[str, Standing], n: int) -> float:
        return n * max(map(target.factor, found.values()))

    scouts, goal = None, math.ceil(target.fewest / 2)
    while True:
        scouts = extend(scouts, FIRST_SCOUT, goal, start + target.seconds / 2)
        n, found = scouts.gradient.n, standings(scouts, known, bool(target.bias_precision))
        settled = {name: n >= SCOUTS_PER_KURTOSIS * standing.kurtosis for name, standing in found.items()}
        asked = max(needed(found, n) / 2, SCOUTS_PER_KURTOSIS * max(s.kurtosis for s in found.values()))
        late = clock() >= start + target.seconds / 2
        if n >= asked or late or n + chunks.rows > target.most * chunks.rows:
            break
        goal = min(math.ceil(min(max(asked, 1.25 * n), 4 * n) / chunks.rows), target.most)

    total, goal = None, max(math.ceil(min(SAFETY * needed(found, n) / chunks.rows, target.most)), target.fewest)
    while True:
        bar.total = bar.n + goal * chunks.rows
        total = extend(total, 0, goal, start + target.seconds)
        found = standings(total, known, bool(target.bias_precision))
        factor = max(map(target.factor, found.values()))
        bar.set_postfix(width=f"{max(s.width for s in found.values()):.3f}", asked=target.precision)
        if factor <= 1 or goal >= target.most or clock() >= start + target.seconds:
            levels = (SURE if settled[name] else LEVEL for name in known.groups)
            shapes = [lasting(total, known, i, level) for i, level in enumerate(levels)]
            return Run(total, found, settled, dict(zip(known.groups, shapes, strict=True)))
        goal = min(math.ceil(goal * min(max(1.1 * factor, 1.25), 4.0)), target.most)
