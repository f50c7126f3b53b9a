"""Throughput of each estimator against the floor, drawing as many normals, with what it measures beside. No time fails.

`pytest tests/test_speed.py --benchmark-enable --benchmark-save=NAME` keeps it all in a file that `benchmarks/check.py`
reads; without `--benchmark-enable` each estimator is called once.
"""

import pytest
import torch
from omegaconf import OmegaConf
from torch.utils.benchmark import Timer

from benchmarks.config import estimator_of
from benchmarks.engine import chunk_rows, leaf
from benchmarks.measure import measure
from estimators.core import Unsupported
from tests.cases import CHOICES, ESTIMATORS, PROBLEMS, ready

NUM_SAMPLES = 4
FITTING = ("quadratic", "bernoulli_mixed", "categorical_joint", "gamma_poisson", "gaussian_target")


def fitting(name):
    """The first problem that an estimator can serve: its name, the problem, and the estimator, ready."""
    for problem_name in FITTING:
        problem = PROBLEMS[problem_name]().float()
        try:
            return problem_name, problem, ready(ESTIMATORS[name], problem, problem.at("init"))
        except Unsupported:
            continue
    raise AssertionError(f"{name} fits none of {FITTING}")


@pytest.mark.parametrize("name", ESTIMATORS)
def test_throughput(benchmark, name):
    torch.set_default_dtype(torch.float32)
    problem_name, problem, estimator = fitting(name)
    point = problem.at("init")
    rows = chunk_rows(problem, point, NUM_SAMPLES)
    params = leaf(point, rows)
    gradient = benchmark(estimator, problem, params, num_samples=NUM_SAMPLES)
    assert gradient.shape == params.shape
    if not benchmark.enabled:
        return
    shape = (NUM_SAMPLES, rows, *problem.q(leaf(point, 1)).event_shape)
    timer = Timer("torch.randn(shape)", globals={"torch": torch, "shape": shape}, num_threads=torch.get_num_threads())
    floor = timer.blocked_autorange(min_run_time=0.1).median
    fresh = estimator_of(OmegaConf.to_container(CHOICES["estimator"][name]))
    names = {"estimator_name": name, "problem_name": problem_name}
    found = measure(fresh, problem, num_samples=NUM_SAMPLES, max_replicates=65536, **names)
    benchmark.extra_info |= {column: found[-1][column] for column in ("variance", "bias", "evaluations")}
    benchmark.extra_info["share_of_floor"] = floor / benchmark.stats.stats.median
    benchmark.extra_info["estimates_per_second"] = rows / benchmark.stats.stats.median
    benchmark.extra_info["rows"] = found
