"""Throughput of each estimator as a share of the floor: drawing as many normals. Nothing here fails on time."""

import pytest
import torch
from torch.utils.benchmark import Timer

from benchmarks.engine import chunk_rows, leaf
from benchmarks.problems.quadratic import Quadratic
from estimators.core import Unsupported
from tests.cases import ESTIMATORS, ready

LATENT_DIM, NUM_SAMPLES = 64, 16


@pytest.mark.parametrize("name", ESTIMATORS)
def test_throughput(benchmark, name):
    problem = Quadratic(LATENT_DIM).float()
    point = problem.at("init")
    rows = chunk_rows(problem, point, NUM_SAMPLES)
    params = leaf(point, rows)
    try:
        estimator = ready(ESTIMATORS[name], problem, point)
    except Unsupported as reason:
        pytest.skip(str(reason))
    gradient = benchmark(estimator, problem, params, num_samples=NUM_SAMPLES)
    assert gradient.shape == (rows, 2 * LATENT_DIM)
    if benchmark.enabled:
        draw = "torch.randn(shape, dtype=torch.float32)"
        shape = (NUM_SAMPLES, rows, LATENT_DIM)
        timer = Timer(draw, globals={"torch": torch, "shape": shape}, num_threads=torch.get_num_threads())
        floor = timer.blocked_autorange(min_run_time=0.1).median
        benchmark.extra_info["share_of_floor"] = floor / benchmark.stats.stats.median
        benchmark.extra_info["estimates_per_second"] = rows / benchmark.stats.stats.median
