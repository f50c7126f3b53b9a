"""Runs the cells of a job, each into a file of its own, and skips those that are there."""

import sys
import threading
import traceback
from collections.abc import Iterator
from itertools import product

from tqdm import tqdm

from benchmarks import engine, store
from benchmarks.config import CELL_KEYS, Job, cause
from benchmarks.measure import measure
from benchmarks.summary import Row
from estimators.core import Unsupported


def cells(job: Job) -> Iterator[tuple[str, int, int]]:
    """(key, latent_dim, num_samples) of each cell."""
    return ((job.key(d, s), d, s) for d, s in product(job.latent_dims, job.num_samples))


def finished(job: Job, key: str) -> bool:
    """Whether a cell needs no run; a failed one does, so that a mended estimator is tried again."""
    rows = store.read(job.out, key)
    return bool(rows) and rows[0]["status"] != "failed"


def run(job: Job, bar: tqdm, stop: threading.Event) -> None:
    """Measure the unfinished cells of a job; a cell that fails becomes a row with its reason.

    Raises KeyboardInterrupt before the next cell once it is to stop.
    """
    for key, latent_dim, num_samples in cells(job):
        if stop.is_set():
            raise KeyboardInterrupt
        bar.set_description(f"{job.estimator_name} · {job.problem_name} D={latent_dim} S={num_samples}")
        if finished(job, key):
            store.reuse(job.out, key)
        else:
            store.save(job.out, key, [row | {"key": key} for row in run_cell(job, latent_dim, num_samples)])
            bar.update()


def run_cell(job: Job, latent_dim: int, num_samples: int) -> list[Row]:
    """The rows of one cell, whatever happens to it."""
    config = job.config
    own = ("estimator", "problem", "device", "dtype", "out", "panels")
    try:
        problem = job.problem(latent_dim)
        size = engine.latent_dim(problem, problem.at(config["point"]))
        if size != latent_dim:
            raise Unsupported(f"{job.problem_name} has latent_dim={size} only")
        return measure(
            job.estimator(),
            problem,
            num_samples=num_samples,
            estimator_name=job.estimator_name,
            problem_name=job.problem_name,
            progress=True,
            **{name: value for name, value in config.items() if name not in own},
        )
    except Exception as error:
        reason = cause(error)
        skipped = isinstance(reason, Unsupported)
        if not skipped:
            tqdm.write("".join(traceback.format_exception(reason)), file=sys.stderr, end="")
        lines = str(reason).splitlines() or [""]
        return [
            {
                "estimator": job.estimator_name,
                "problem": job.problem_name,
                "latent_dim": latent_dim,
                "num_samples": num_samples,
                **{name: config[name] for name in CELL_KEYS},
                "group": "all",
                "status": "skipped" if skipped else "failed",
                "reason": lines[0] if skipped else f"{type(reason).__name__}: {lines[0]}",
            }
        ]
