"""One cell: an estimator on a problem at a point, run until its variance is known to a given precision."""

import math
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks import sampling, summary
from benchmarks.compiled import Compiled
from benchmarks.costs import cost_of
from benchmarks.engine import Chunks, Estimator, chunk_rows, latent_dim, leaf, one_thread, stream
from benchmarks.exact import exact_moments
from benchmarks.reference import reference_gradient
from benchmarks.sampling import Run, Target
from benchmarks.summary import Known, Row
from benchmarks.tuning import tune
from estimators.core import Problem

UNSHARED = nullcontext()


def measure(
    estimator: Estimator,
    problem: Problem,
    *,
    num_samples: int = 1,
    point: str | Tensor = "init",
    seed: int = 0,
    exact: bool = True,
    precision: float = 0.05,
    bias_precision: float | None = None,
    min_replicates: int = 2000,
    max_replicates: int = 1_000_000,
    time_budget: float = 30.0,
    compile: bool = False,
    estimator_name: str | None = None,
    problem_name: str | None = None,
    progress: bool = False,
    quiet: AbstractContextManager[object] = UNSHARED,
) -> list[Row]:
    """Variance, bias and cost of an estimator's gradient, per parameter group and for `all`.

    Where an estimate takes few enough draws of a finite or Gaussian q, its mean and variance are computed exactly.
    Elsewhere independent estimates are drawn until the 95 % interval of every group's total variance has a half-width
    of at most precision x the variance; how many it takes is found out on others first. Device and dtype are those of
    problem.at(point); sums are in float64. On a CPU all runs on the calling thread, so that numbers do not depend on
    how many cores there are.

        >>> from benchmarks.problems.quadratic import Quadratic
        >>> from estimators.pathwise import reparam
        >>> row = measure(reparam, Quadratic(latent_dim=8), num_samples=4, precision=0.2)[0]
        >>> row["group"], row["status"], row["variance_low"] < 8 < row["variance_high"]
        ('loc', 'ok', True)

    Args:
        estimator: (problem, params (R, P), num_samples=S) -> gradients (R, P), one independent estimate a row. What it
            learns or remembers is tuned at the point first, see `benchmarks.tuning.tune`.
        problem: see `estimators.core.Problem`; also your own.
        num_samples: S, draws of z that one estimate averages over.
        point: a name in problem.points, or parameters (P,).
        seed: the random stream follows from (seed, problem_name, point, latent_dim, S), not from the estimator.
        exact: False samples also what could be computed exactly.
        precision: relative half-width asked of the variance's interval.
        bias_precision: the run also goes on until a bias of this share of the gradient's norm could be found.
        min_replicates, max_replicates: bounds of the run; time_budget: seconds after which it ends as `budget`.
        compile: run the estimator through torch.compile.
        estimator_name, problem_name: labels of the rows; by default the function's and the class's. A run of
            `benchmarks/run.py` names the problem as its YAML does, and draws by that name.
        progress: show a bar while a long run goes on, if the output is a terminal.
        quiet: entered while times are taken; a context that keeps other work off the machine.

    Returns:
        One dict a group, with the columns that CONTRIBUTING.md lists (pandas.DataFrame takes the list).

    Raises:
        Unsupported: the estimator and the problem do not fit. ValueError: an argument out of range, or an estimate
        of the wrong shape. FloatingPointError: an estimate that is not finite.
    """
    if num_samples < 1 or not 0 < precision < 1 or not 2 <= min_replicates <= max_replicates or not time_budget > 0:
        raise ValueError("need num_samples >= 1, 0 < precision < 1, 2 <= min_replicates <= max_replicates, budget > 0")
    if bias_precision is not None and not bias_precision > 0:
        raise ValueError("need bias_precision > 0, or None")
    where = _place(problem, point)
    cell: Row = {
        "estimator": estimator_name or _name(estimator),
        "problem": problem_name or type(problem).__name__,
        "point": point if isinstance(point, str) else "given",
        "latent_dim": latent_dim(problem, where),
        "num_samples": num_samples,
        "seed": seed,
        "device": where.device.type,
        "dtype": str(where.dtype).removeprefix("torch."),
    }
    cell_stream = stream(*(cell[name] for name in ("seed", "problem", "point", "latent_dim", "num_samples")))
    with torch.random.fork_rng(), one_thread():
        torch.manual_seed(cell_stream)
        rows = min(chunk_rows(problem, where, num_samples), max_replicates)
        fewest = math.ceil(min_replicates / rows)
        rows = min(rows, max_replicates // fewest)
        target = Target(precision, bias_precision, fewest, max_replicates // rows, time_budget)
        estimator, tuning = tune(estimator, problem, where, num_samples, cell_stream)
        settings = problem, where, num_samples, rows, cell_stream
        eager = Chunks(estimator, *settings)
        compiled = _compiled(eager) if compile else None
        chunks = Chunks(compiled, *settings) if compiled else eager
        known, run = replicate(chunks, eager, target, exact, progress)
        with quiet:
            cost = cost_of(chunks, eager)
    lacking, reasons = run.lacks_variance(), run.reasons(target)
    cell_columns = {
        "tuning_evaluations": tuning,
        "chunk_rows": rows,
        "compile_seconds": compiled.seconds if compiled else 0.0,
    }
    note = f"runs uncompiled: {compiled.refusals[0]}" if compiled and compiled.refusals else ""
    return [
        cell
        | {"group": name}
        | summary.row(run.total, known, i, cost, not lacking[name])
        | cell_columns
        | {"status": "budget" if reasons[name] else "ok", "reason": reasons[name] or note}
        for i, name in enumerate(known.groups)
    ]


def _compiled(chunks: Chunks) -> Compiled:
    """The estimator of some chunks, compiled for them and for one estimate alone before any clock runs."""
    compiled = Compiled(chunks.estimator)
    for rows in (chunks.rows, 1):
        compiled(chunks.problem, leaf(chunks.point, rows), num_samples=chunks.num_samples)
    return compiled


def replicate(chunks: Chunks, eager: Chunks, target: Target, exact: bool, progress: bool = False) -> tuple[Known, Run]:
    """Everything of a cell but its cost: what is known of it, and its replicates. eager: the chunks, uncompiled."""
    problem, where = chunks.problem, chunks.point
    named = problem.groups | {"all": slice(None)}
    groups = {name: slice(*group.indices(len(where))[:2]) for name, group in named.items()}
    reference = reference_gradient(problem, where)
    moments = exact_moments(eager.estimator, problem, where, eager.num_samples) if exact else None
    known = Known(groups, sampling.pilot(eager), reference, moments)
    with tqdm(desc="replicates", disable=None if progress else True, leave=False, delay=1, position=1) as bar:
        run = sampling.run(chunks, known, target, bar)
        if summary.contradicts(run.total, known):
            known = Known(groups, known.pilot, reference, None)
            run = sampling.run(chunks, known, target, bar)
    return known, run


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


def _name(estimator: Estimator) -> str:
    if isinstance(estimator, partial):
        return _name(estimator.func)
    return getattr(estimator, "__name__", type(estimator).__name__)
