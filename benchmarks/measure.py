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
FEWEST_TIMINGS = 7
FIRST_SCOUT = -(2**31)
SCOUTS_PER_KURTOSIS = 20


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
    time_budget: float = 30.0,
    compile: bool = False,
    estimator_name: str | None = None,
    problem_name: str | None = None,
    progress: bool = False,
) -> list[Row]:
    """Variance, bias and cost of an estimator's gradient, per parameter group and for `all`.

    Independent estimates are drawn until the 95 % interval of every group's total variance has a half-width of at
    most precision x the variance; how many it takes is found out on others first. Device and dtype are those of
    problem.at(point); sums are in float64.

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
        estimator_name, problem_name: labels of the rows; by default the function's and the class's. A run of
            `benchmarks/run.py` names the problem as its YAML does, and draws by that name.
        progress: show a bar while a long run goes on, if the output is a terminal.

    Returns:
        One dict a group, with the columns that CONTRIBUTING.md lists (pandas.DataFrame takes the list).

    Raises:
        Unsupported: the estimator and the problem do not fit. ValueError: an argument out of range, or an estimate
        of the wrong shape. FloatingPointError: an estimate that is not finite.
    """
    if num_samples < 1 or not 0 < precision < 1 or not 2 <= min_replicates <= max_replicates or not time_budget > 0:
        raise ValueError("need num_samples >= 1, 0 < precision < 1, 2 <= min_replicates <= max_replicates, budget > 0")
    where = _place(problem, point)
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
        fewest = math.ceil(min_replicates / rows)
        rows = min(rows, max_replicates // fewest)
        pilot = _pilot(Chunks(estimator, problem, where, num_samples, rows, cell_stream))
        if compile:
            estimator = torch.compile(estimator)
        chunks = Chunks(estimator, problem, where, num_samples, rows, cell_stream)
        with tqdm(desc="replicates", disable=None if progress else True, leave=False, delay=1, position=1) as bar:
            bounds = fewest, max_replicates // rows
            total, width, settled = _replicate(chunks, groups, pilot, precision, bounds, time_budget, bar)
        seconds = _seconds(chunks, rows), _seconds(chunks, 1)
    status, reason = "ok", ""
    if width > precision:
        status, reason = "budget", f"interval's relative half-width is {width:.3g}, not {precision:g}"
    elif not settled:
        status, reason = "budget", "the tail is too heavy for the interval to be trusted at this many replicates"
    return [
        cell | {"group": name} | row | {"status": status, "reason": reason}
        for name, row in summary.rows(total, groups, pilot, exact, *seconds).items()
    ]


def _place(problem: Problem, point: str | Tensor) -> Tensor:
    """The parameters (P,) that a point names or is."""
    if isinstance(point, str):
        if point not in problem.points:
            raise ValueError(f"point={point}: choose from {', '.join(problem.points)}")
        return problem.at(point)
    shape = problem.at(problem.points[0]).shape
    if point.shape != shape:
        raise ValueError(f"point has shape {tuple(point.shape)}; it must be {tuple(shape)}")
    return point.detach()


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
    chunks: Chunks, groups: Groups, pilot: Pilot, precision: float, bounds: tuple[int, int], seconds: float, bar: tqdm
) -> tuple[Replicates, float, bool]:
    """Runs the cell: (its replicates, their widest interval, whether scouts could tell how many it takes).

    Scouts, which no statistic uses, choose how many replicates to draw: a run that ends when its own interval looks
    narrow ends when the tail has not shown itself, and is too low. There are enough scouts when they are half of what
    they ask for, and SCOUTS_PER_KURTOSIS times the kurtosis of the squared deviations, so that their spread is known.
    """
    start = time.perf_counter()
    fewest, most = bounds

    def extend(total: Replicates | None, first: int, goal: int, deadline: float) -> Replicates:
        done = total.gradient.n // chunks.rows if total else 0
        while total is None or (done < goal and time.perf_counter() < deadline):
            part = Replicates.of(chunks(first + done), list(groups.values()), pilot.centre, first=done * chunks.rows)
            total = part if total is None else total + part
            done += 1
            bar.update(chunks.rows)
        return total

    scouts, goal, settled = None, math.ceil(fewest / 2), False
    while not settled:
        scouts = extend(scouts, FIRST_SCOUT, goal, start + seconds / 2)
        width, kurtosis = summary.spread(scouts, groups, pilot)
        n = scouts.gradient.n
        needed = n * (width / precision) ** 2
        settled = n >= max(needed / 2, SCOUTS_PER_KURTOSIS * kurtosis)
        if n + chunks.rows > most * chunks.rows or time.perf_counter() >= start + seconds / 2:
            break
        goal = min(math.ceil(min(max(needed / 2, SCOUTS_PER_KURTOSIS * kurtosis, 1.25 * n), 4 * n) / chunks.rows), most)

    total, goal = None, max(math.ceil(min(1.2 * needed / chunks.rows, most)), fewest)
    while True:
        bar.total = bar.n + goal * chunks.rows
        total = extend(total, 0, goal, start + seconds)
        width, _ = summary.spread(total, groups, pilot)
        bar.set_postfix(width=f"{width:.3f}", asked=precision)
        if width <= precision or goal >= most or time.perf_counter() >= start + seconds:
            return total, width, settled
        goal = min(math.ceil(goal * min(max(1.1 * (width / precision) ** 2, 1.25), 4.0)), most)


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
    runs = list(timer.blocked_autorange(min_run_time=0.05).times)
    while len(runs) < FEWEST_TIMINGS:
        runs.extend(timer.timeit(1).times)
    times = np.array(runs) / rows
    spread = float(np.subtract(*np.percentile(times, [75, 25])))
    return float(np.median(times)), 0.93 * spread / math.sqrt(len(times))


def _name(estimator: Estimator) -> str:
    if isinstance(estimator, partial):
        return _name(estimator.func)
    return getattr(estimator, "__name__", type(estimator).__name__)
