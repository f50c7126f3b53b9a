"""One cell: an estimator on a problem at a point, run until its variance is known to a given precision."""

import math
import time
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.benchmark import Timer
from tqdm import tqdm

from benchmarks import summary
from benchmarks.engine import Chunks, Counted, Estimator, chunk_rows, leaf, stream
from benchmarks.moments import Moments, Replicates
from benchmarks.reference import reference_gradient
from benchmarks.summary import Groups, Pilot, Row
from estimators.core import Problem

PILOT_REPLICATES = 256
ROUNDING_ERRORS = 8


def measure(
    estimator: Estimator,
    problem: Problem,
    *,
    num_samples: int = 1,
    point: str | Tensor = "init",
    seed: int = 0,
    precision: float = 0.05,
    min_replicates: int = 2000,
    max_replicates: int = 1_000_000,
    time_budget: float = 10.0,
    compile: bool = False,
    estimator_name: str | None = None,
    problem_name: str | None = None,
    progress: bool = False,
) -> list[Row]:
    """Variance, bias and cost of an estimator's gradient, per parameter group and for `all`.

    Independent estimates are drawn until the 95 % interval of every group's total variance has a half-width of at
    most precision x the variance. Device and dtype are those of problem.at(point); sums are in float64.

        >>> from benchmarks.problems.quadratic import Quadratic
        >>> from estimators.pathwise import reparam
        >>> row = measure(reparam, Quadratic(latent_dim=2), num_samples=4, precision=0.2)[0]
        >>> row["group"], row["status"], row["variance_low"] < 2 < row["variance_high"]
        ('loc', 'ok', True)

    Args:
        estimator: (problem, params (R, P), num_samples=S) -> gradients (R, P), one independent estimate a row.
        problem: see `estimators.core.Problem`; also your own.
        num_samples: S, draws of z that one estimate averages over.
        point: a name in problem.points, or parameters (P,).
        seed: the random stream follows from (seed, problem_name, point, latent_dim, S), not from the estimator.
        precision: relative half-width asked of the variance's interval.
        min_replicates, max_replicates: bounds of the run; time_budget: seconds after which it ends as `budget`.
        compile: run the estimator through torch.compile.
        estimator_name, problem_name: labels of the rows; by default the function's and the class's.
        progress: show a bar while a long run goes on, if the output is a terminal.

    Returns:
        One dict a group, with the columns that CONTRIBUTING.md lists (pandas.DataFrame takes the list).

    Raises:
        Unsupported: the estimator and the problem do not fit. ValueError: an argument out of range, or an estimate
        of the wrong shape. FloatingPointError: an estimate that is not finite.
    """
    if num_samples < 1 or not 0 < precision < 1 or not 2 <= min_replicates <= max_replicates or not time_budget > 0:
        raise ValueError("need num_samples >= 1, 0 < precision < 1, 2 <= min_replicates <= max_replicates, budget > 0")
    if isinstance(point, str) and point not in problem.points:
        raise ValueError(f"point={point}: choose from {', '.join(problem.points)}")
    where = problem.at(point) if isinstance(point, str) else point.detach()
    event = problem.q(leaf(where, 1)).event_shape
    cell: Row = {
        "estimator": estimator_name or _name(estimator),
        "problem": problem_name or type(problem).__name__,
        "point": point if isinstance(point, str) else "given",
        "latent_dim": event[-1] if event else 1,
        "num_samples": num_samples,
        "seed": seed,
        "device": where.device.type,
        "dtype": str(where.dtype).removeprefix("torch."),
    }
    cell_stream = stream(*(cell[name] for name in ("seed", "problem", "point", "latent_dim", "num_samples")))
    named = problem.groups | {"all": slice(None)}
    groups = {name: slice(*group.indices(len(where))[:2]) for name, group in named.items()}
    exact = reference_gradient(problem, where)
    with torch.random.fork_rng():
        torch.manual_seed(cell_stream)
        rows = min(chunk_rows(problem, where, num_samples), max_replicates)
        pilot = _pilot(Chunks(estimator, problem, where, num_samples, rows, cell_stream))
        if compile:
            estimator = torch.compile(estimator)
        chunks = Chunks(estimator, problem, where, num_samples, rows, cell_stream)
        bounds = math.ceil(min_replicates / rows), max_replicates // rows
        with tqdm(desc="replicates", disable=None if progress else True, leave=False, delay=1, position=1) as bar:
            total, width = _replicate(chunks, groups, pilot, precision, bounds, time_budget, bar)
        seconds = _seconds(chunks, rows), _seconds(chunks, 1)
    status = "ok" if width <= precision else "budget"
    reason = f"interval's relative half-width is {width:.3g}, not {precision:g}" if status == "budget" else ""
    return [
        cell | {"group": name} | row | {"status": status, "reason": reason}
        for name, row in summary.rows(total, groups, pilot, exact, *seconds).items()
    ]


def _pilot(chunks: Chunks) -> Pilot:
    """Runs PILOT_REPLICATES that no statistic uses, on streams counted down from the cell's own.

    The rounding error is seen by moving the parameters by one unit in the last place, with the same draws.
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
    rounding = ROUNDING_ERRORS**2 * ((moved - first).square() + (unit * first).square()).mean(0)
    return Pilot(total.mean, counted.evaluations / total.n, counted.gradient_evaluations / total.n, rounding)


def _replicate(
    chunks: Chunks,
    groups: Groups,
    pilot: Pilot,
    precision: float,
    bounds: tuple[int, int],
    time_budget: float,
    bar: tqdm,
) -> tuple[Replicates, float]:
    """Runs chunks until the widest interval is narrow enough, or the most chunks or the seconds are used up."""
    deadline = time.perf_counter() + time_budget
    fewest, most = bounds
    goal, done = max(min(fewest, most), 1), 0
    total = None
    while True:
        bar.total = goal * chunks.rows
        while done < goal and (total is None or time.perf_counter() < deadline):
            part = Replicates.of(chunks(done), list(groups.values()), pilot.centre, first=done * chunks.rows)
            total = part if total is None else total + part
            done += 1
            bar.update(chunks.rows)
        assert total is not None
        width = summary.widest(total, groups, pilot)
        bar.set_postfix(width=f"{width:.3f}", asked=precision)
        if (width <= precision and done >= fewest) or done >= most or time.perf_counter() >= deadline:
            return total, width
        goal = min(math.ceil(done * min(max(1.1 * (width / precision) ** 2, 1.25), 4.0)), most)


def _seconds(chunks: Chunks, rows: int) -> tuple[float, float]:
    """Median seconds an estimate takes when `rows` run at once, and the median's standard error."""
    params = leaf(chunks.point, rows)
    timer = Timer(
        "estimator(problem, params, num_samples=num_samples)",
        globals={
            "estimator": chunks.estimator,
            "problem": chunks.problem,
            "params": params,
            "num_samples": chunks.num_samples,
        },
        num_threads=torch.get_num_threads(),
    )
    times = np.array(timer.blocked_autorange(min_run_time=0.05).times) / rows
    spread = float(np.subtract(*np.percentile(times, [75, 25])))
    return float(np.median(times)), 0.93 * spread / math.sqrt(len(times))


def _name(estimator: Estimator) -> str:
    return _name(estimator.func) if isinstance(estimator, partial) else getattr(estimator, "__name__", "estimator")
