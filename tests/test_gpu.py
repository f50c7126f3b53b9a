"""On a GPU: the same numbers as the closed forms say, eager and compiled; skipped where there is none."""

import pytest
import torch

from benchmarks.compiled import Compiled
from benchmarks.engine import Chunks, chunk_rows, leaf
from benchmarks.measure import measure
from benchmarks.problems.quadratic import Quadratic
from estimators.pathwise import reparam
from estimators.score_function import score

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture
def problem():
    return Quadratic(8).to("cuda", torch.float32)


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("estimator", [score, reparam])
def test_variance_and_bias_are_those_of_the_closed_form(problem, estimator, compile):
    """At 1e-4 and a precision of 1 %: the pathwise variance is (4 D + (8 + 4) D) / S; an error of 3 % is found."""
    row = measure(estimator, problem, num_samples=4, compile=compile, precision=0.01, exact=False)[-1]
    assert row["status"] == "ok"
    assert row["device"] == "cuda"
    assert row["bias_p"] > 1e-4
    if estimator is reparam:
        half = (row["variance_high"] - row["variance_low"]) / 2
        assert abs(row["variance"] - 32) < 2 * half
    assert (row["compile_seconds"] > 0) == compile
    assert row["reason"] == ""


def test_a_chunk_is_its_seeds_alone_and_compiled_is_the_same(problem):
    where = problem.at("init")
    rows = chunk_rows(problem, where, 4)
    for estimator in (reparam, Compiled(reparam)):
        chunks = Chunks(estimator, problem, where, 4, rows, seed=7)
        first, second, again = chunks(0), chunks(1), chunks(0)
        assert first.equal(again)
        assert not first.equal(second)
    plain = Chunks(reparam, problem, where, 4, rows, seed=7)(0)
    torch.testing.assert_close(first, plain, rtol=1e-4, atol=1e-4)


def test_a_graph_takes_the_parameters_that_it_is_given(problem):
    compiled, where = Compiled(reparam), problem.at("init")
    found = []
    for point in (where, where + 1):
        torch.cuda.manual_seed(3)
        found.append(compiled(problem, leaf(point, 64), num_samples=4).clone())
        torch.cuda.manual_seed(3)
        torch.testing.assert_close(found[-1], reparam(problem, leaf(point, 64), num_samples=4), rtol=1e-4, atol=1e-4)
    assert not found[0].equal(found[1])
