"""Runs the cells of a job, each into a file of its own, and skips those that are there."""

import sys
import threading
import traceback
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import product

from tqdm import tqdm

from benchmarks import engine, store, workers
from benchmarks.config import CELL_KEYS, NUMBERLESS, Job, cause
from benchmarks.measure import UNSHARED, measure
from benchmarks.summary import Row
from estimators.core import Unsupported

LOST = "its process died; out of memory?"


@dataclass(frozen=True)
class Cell:
    """A cell of a job, and the key of its file."""

    job: Job
    key: str
    latent_dim: int
    num_samples: int

    def finished(self) -> bool:
        """Whether it needs no run; a failed one does, so that a mended estimator is tried again."""
        rows = store.read(self.job.out, self.key)
        return bool(rows) and rows[0]["status"] != "failed"

    def measure(self, quiet: AbstractContextManager[object] = UNSHARED, progress: bool = False) -> None:
        """Measure it into its file; where it fails, into a row with the reason."""
        self.save(run_cell(self.job, self.latent_dim, self.num_samples, quiet, progress))

    def save(self, rows: list[Row]) -> None:
        """Write its rows into its file."""
        store.save(self.job.out, self.key, [row | {"key": self.key} for row in rows])


def cells(job: Job) -> list[Cell]:
    """The cells of a job."""
    return [Cell(job, job.key(d, s), d, s) for d, s in product(job.latent_dims, job.num_samples)]


def run(asked: list[Cell], bar: tqdm, stop: threading.Event, processes: int = 1) -> None:
    """Measure the unfinished ones of some cells, by several processes at once.

    Raises KeyboardInterrupt before the next cell once it is to stop.
    """
    todo = []
    for cell in asked:
        if cell.finished():
            store.reuse(cell.job.out, cell.key)
        else:
            todo.append(cell)
    if processes > 1 and len(todo) > 1:
        todo.sort(key=lambda cell: -cell.latent_dim * cell.num_samples)  # so that none is left with the longest
        lost = workers.run(lambda i, quiet: todo[i].measure(quiet), len(todo), min(processes, len(todo)), bar.update)
        for cell in (todo[i] for i in lost if not todo[i].finished()):
            cell.save(unmeasured(cell.job, cell.latent_dim, cell.num_samples, "failed", LOST))
        return
    for cell in todo:
        if stop.is_set():
            raise KeyboardInterrupt
        job = cell.job
        bar.set_description(f"{job.estimator_name} · {job.problem_name} D={cell.latent_dim} S={cell.num_samples}")
        cell.measure(progress=True)
        bar.update()


def run_cell(
    job: Job, latent_dim: int, num_samples: int, quiet: AbstractContextManager[object], progress: bool
) -> list[Row]:
    """The rows of one cell, whatever happens to it."""
    config = job.config
    own = ("estimator", "problem", "device", "dtype", *NUMBERLESS)
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
            progress=progress,
            quiet=quiet,
            **{name: value for name, value in config.items() if name not in own},
        )
    except Exception as error:
        reason = cause(error)
        skipped = isinstance(reason, Unsupported)
        if not skipped:
            tqdm.write("".join(traceback.format_exception(reason)), file=sys.stderr, end="")
        line = (str(reason).splitlines() or [""])[0]
        said = line if skipped else f"{type(reason).__name__}: {line}"
        return unmeasured(job, latent_dim, num_samples, "skipped" if skipped else "failed", said)


def unmeasured(job: Job, latent_dim: int, num_samples: int, status: str, reason: str) -> list[Row]:
    """The row of a cell without numbers."""
    return [
        {
            "estimator": job.estimator_name,
            "problem": job.problem_name,
            "latent_dim": latent_dim,
            "num_samples": num_samples,
            **{name: job.config[name] for name in CELL_KEYS},
            "group": "all",
            "status": status,
            "reason": reason,
        }
    ]
