"""Times the cells of a command line when told to: what `lockstep` starts for each of two versions of the code.

It imports whichever `benchmarks` comes first on PYTHONPATH, and of that only `run.plan`, what a job builds, `tune`,
`chunk_rows` and `leaf`. It is told `build K` or `time CALLS`, a line each, and answers each with a line of JSON.
"""

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from itertools import product
from typing import Any

import torch

from benchmarks import run, tuning
from benchmarks.config import BadInput
from benchmarks.engine import chunk_rows, latent_dim, leaf

Cell = dict[str, Any]


def planned(arguments: list[str]) -> list[tuple[Cell, Any]]:
    """Every cell of a command line, and the job that it is of."""
    found = []
    for job in run.plan(arguments).values():
        names = {"estimator": job.estimator_name, "problem": job.problem_name}
        names |= {name: job.config[name] for name in ("point", "seed", "device", "dtype")}
        for size, draws in product(job.latent_dims, job.num_samples):
            found.append((names | {"latent_dim": size, "num_samples": draws}, job))
    return found


def built(cell: Cell, job: Any) -> Callable[[], object]:
    """A cell's estimator on a full chunk of rows, tuned as it is when it is measured, and called once."""
    problem = job.problem(cell["latent_dim"])
    point = problem.at(cell["point"])
    if latent_dim(problem, point) != cell["latent_dim"]:
        raise ValueError("no such size")
    draws = cell["num_samples"]
    estimator, _ = tuning.tune(job.estimator(), problem, point, draws, 0)
    if job.config["compile"]:
        estimator = _compiled(estimator)
    params = leaf(point, chunk_rows(problem, point, draws))

    def call() -> object:
        torch.manual_seed(0)
        return estimator(problem, params, num_samples=draws)

    call()
    return call


def _compiled(estimator: Callable[..., Any]) -> Callable[..., Any]:
    """As this version of the code compiles it: by `benchmarks.compiled`, which older ones lack, or by torch."""
    if importlib.util.find_spec("benchmarks.compiled") is None:
        return torch.compile(estimator)
    return importlib.import_module("benchmarks.compiled").Compiled(estimator)


def seconds(call: Callable[[], object], calls: int) -> float:
    """Of one call, the mean over so many. On a CPU they are this process's own, without those that others take."""
    on_gpu = torch.cuda.is_initialized()
    clock = time.perf_counter if on_gpu else time.process_time
    start = clock()
    for _ in range(calls):
        call()
    if on_gpu:
        torch.cuda.synchronize()
    return (clock() - start) / calls


def answer(words: list[str], cells: list[tuple[Cell, Any]], state: dict[str, Any]) -> Any:
    """What a line asks for: `build K` the seconds of a call, or why there are none; `time CALLS` the seconds."""
    if words[0] == "time":
        return seconds(state["call"], int(words[1]))
    state.clear()
    try:
        state["call"] = built(*cells[int(words[1])])
        return seconds(state["call"], 1)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main() -> int:
    """Answer until the input ends; returns the exit status, 2 for arguments that cannot be planned."""
    torch.set_num_threads(1)
    answers, sys.stdout = sys.stdout, sys.stderr
    try:
        cells = planned(sys.argv[1:])
    except BadInput as error:
        print(f"{error}", file=sys.stderr)
        return 2
    print(json.dumps([cell for cell, _ in cells]), file=answers, flush=True)
    state: dict[str, Any] = {}
    for line in sys.stdin:
        print(json.dumps(answer(line.split(), cells, state)), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
