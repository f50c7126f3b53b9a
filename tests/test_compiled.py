"""Compiled estimators against themselves: the same draws, the same estimates; what cannot be compiled runs as it is."""

import numpy as np
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from benchmarks.compiled import Compiled, _narrow
from benchmarks.engine import leaf
from benchmarks.measure import measure
from benchmarks.problems.linear_vae import LinearVAE
from benchmarks.problems.quadratic import Quadratic
from estimators.core import grad
from tests.cases import ESTIMATORS, PROBLEMS, ready

PAIRS = [
    ("score", "quadratic_general"),
    ("score_loo", "linear_vae_mc"),
    ("stl", "linear_vae_small_mc"),
    ("score_nvil", "quadratic"),
    ("rebar_untuned", "bernoulli_mixed"),
    ("disarm", "bernoulli_mixed"),
    ("score_loo", "categorical_absolute"),
    ("rebar_untuned", "categorical_absolute"),
    ("bitflip", "bernoulli_mixed"),
]


def both(estimator, problem, rows=32, num_samples=4):
    """The compiled estimator, and estimates by both ways on the same draws."""
    compiled, params = Compiled(estimator), leaf(problem.at(problem.points[0]), rows)
    estimates = []
    for way in (compiled, compiled, estimator):
        torch.manual_seed(3)
        estimates.append(way(problem, params, num_samples=num_samples).detach())
    return compiled, estimates


@pytest.mark.parametrize(("name", "problem"), PAIRS)
def test_compiled_estimates_are_the_estimators_on_the_same_draws(name, problem):
    problem = PROBLEMS[problem]()
    compiled, (first, again, plain) = both(ready(ESTIMATORS[name], problem, problem.at("init")), problem)
    assert compiled.refusals == []
    assert compiled.seconds > 0
    assert first.equal(again), "the graph draws from torch's generator"
    torch.testing.assert_close(first, plain, rtol=1e-9, atol=1e-9 * float(plain.abs().max()))


def test_an_estimator_that_looks_at_a_value_runs_as_it_is():
    def looks(problem, params, num_samples=1):
        q = problem.q(params)
        f = problem.f(q.rsample((num_samples,)), q, params)
        return grad(f, params) if f.isfinite().all() else params

    compiled, (first, _, plain) = both(looks, Quadratic(2))
    assert compiled.refusals == ["it looks at a value"]
    assert first.equal(plain)
    row = measure(looks, Quadratic(2), compile=True, precision=0.3)[-1]
    assert (row["status"], row["reason"]) == ("ok", "runs uncompiled: it looks at a value")


def test_draws_that_compile_to_others_are_refused():
    def stamps(problem, params, num_samples=1):
        state = torch.get_rng_state()[:8].sum()  # a constant of the trace
        return torch.randn_like(params) + state

    compiled, (first, _, plain) = both(stamps, Quadratic(2))
    assert compiled.refusals == ["compiled, the same seed gives other numbers"]
    assert first.equal(plain)


def test_a_small_coordinate_counts_as_much_as_a_large_one():
    """Draws by other means than torch's are constants of the graph; here those of coordinates 1e4 times smaller."""
    generator = np.random.default_rng(0)

    def half_hidden(problem, params, num_samples=1):
        small = torch.as_tensor(generator.standard_normal((len(params), 2)))
        return torch.cat([1e4 * torch.randn(len(params), 2), small], 1) + 0 * params

    assert both(half_hidden, Quadratic(2))[0].refusals == ["compiled, the same seed gives other numbers"]


@pytest.mark.parametrize(
    ("width", "dtype", "narrow"),
    [(2, "float32", True), (8, "float32", True), (9, "float32", False), (4, "float64", True), (5, "float64", False)],
)
def test_the_width_of_a_trace_is_that_of_most_of_its_numbers(width, dtype, narrow):
    x = torch.ones(100, width, dtype=getattr(torch, dtype))
    traced = make_fx(lambda x: (x.exp() * x, x.new_zeros(2, 64 if narrow else 2)))(x)
    assert _narrow(traced) == narrow


def test_one_graph_a_shape():
    problem = LinearVAE(2, batch_size=2)
    compiled = Compiled(ESTIMATORS["reparam"])
    for rows in (4, 8, 4):
        compiled(problem, leaf(problem.at("init"), rows), num_samples=1)
    assert [shape[0] for _, shape, _ in compiled.graphs] == [4, 8]
