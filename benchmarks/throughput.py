"""How fast estimates are made: as shares of the rate at which their random numbers are drawn, in one run."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from hydra.utils import get_object
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks import rivals
from benchmarks.compiled import Compiled, fused
from benchmarks.engine import Estimator, chunk_rows, leaf
from benchmarks.intervals import Array, median
from estimators.core import Problem

Row = dict[str, Any]
Call = Callable[[], object]

Quadratic = get_object("benchmarks.problems.quadratic.Quadratic")
VAE = get_object("benchmarks.problems.vae.VAE")
ESTIMATORS: dict[str, Estimator] = {
    "score": get_object("estimators.score_function.score"),
    "reparam": get_object("estimators.pathwise.reparam"),
}
Coins = get_object("benchmarks.problems.bernoulli.BernoulliCost")
Categories = get_object("benchmarks.problems.categorical.CategoricalCost")
concrete = get_object("estimators.relaxations.concrete")
rebar: Estimator = partial(get_object("estimators.relaxations.relaxed_control"), surrogate=concrete)
DISCRETE: list[tuple[str, Callable[[int], Problem], dict[str, Estimator]]] = [
    ("coins", Coins, {"disarm": get_object("estimators.binary.disarm")}),
    (
        "three categories",
        partial(Categories, categories=3, cost="absolute"),
        {"arsm": get_object("estimators.categorical.arsm")},
    ),
]
JOBS = [(64, 16), (2, 1), (8, 1), (128, 1), (32, 4), (2, 64), (128, 64)]
NETWORKS = [{"hidden": 32, "batch_size": 16}, {"hidden": 256, "batch_size": 64}, {"hidden": 512, "batch_size": 64}]
ROUNDS, ROUND_SECONDS = 15, 0.01
AGREE = 4.7  # standard errors; 128 coordinates exceed it by chance 3 times in 10,000


def interleaved(calls: Mapping[str, Call], device: str = "cpu") -> dict[str, Array]:
    """Seconds of each call, one a round; all calls in turn, so that they meet the machine in one state."""

    def timed(call: Call, repeats: int) -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        if device == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / repeats

    for call in calls.values():
        timed(call, 2)
    repeats = {name: math.ceil(ROUND_SECONDS / timed(call, 1)) for name, call in calls.items()}
    rounds = [{name: timed(call, repeats[name]) for name, call in calls.items()} for _ in range(ROUNDS)]
    return {name: np.array([seconds[name] for seconds in rounds]) for name in calls}


def median_row(values: Array) -> Row:
    """The median over the rounds, with its interval."""
    return dict(zip(("value", "low", "high"), median(values), strict=True))


def jobs(device: str) -> Iterator[Row]:
    """Each job's estimators, as they are and compiled, against drawing as many normals."""
    for D, S in JOBS:
        yield from _against_the_floor("throughput", Quadratic(D), S, ESTIMATORS, device)


def discrete(device: str) -> Iterator[Row]:
    """The same for coordinates that are coins or categories; the floor has a normal for each number of a draw."""
    for what, make, own in DISCRETE:
        estimators = {"score": ESTIMATORS["score"], "rebar": rebar, **own}
        for row in _against_the_floor("discrete", make(16), 4, estimators, device):
            yield row | {"name": f"{what}: {row['name']}"}


def _against_the_floor(
    section: str, problem: Problem, S: int, estimators: Mapping[str, Estimator], device: str
) -> Iterator[Row]:
    problem.to(device, torch.float32)
    point = problem.at("init")
    rows, size = chunk_rows(problem, point, S), problem.q(leaf(point, 1)).event_shape
    floor: dict[str, Call] = {"floor": partial(torch.randn, S, rows, *size, device=device)}
    calls = floor | _both_ways(estimators, problem, rows, S)
    yield from _shares(section, interleaved(calls, device), size[0], S, rows, dict.fromkeys(calls, rows))


def others(device: str) -> Iterator[Row]:
    """The first job in other libraries, batched by hand; the mean of their estimates must be the exact gradient."""
    D, S = JOBS[0]
    problem = Quadratic(D).float()
    rows = chunk_rows(problem, problem.at("init"), S)
    for kind, estimator in ESTIMATORS.items():
        found = rivals.installed(kind, rows, D, S)
        sizes = {name: _agrees(name, call, D) for name, call in found.items()}
        floor: dict[str, Call] = {"floor": partial(torch.randn, S, rows, D)}
        own = floor | _both_ways({"Gradiometer": estimator}, problem, rows, S)
        seconds = interleaved({**own, **found})
        for row in _shares("others", seconds, D, S, rows, dict.fromkeys(own, rows) | sizes):
            yield row | {"name": f"{kind}: {row['name']}"}


def roofline(device: str) -> Iterator[Row]:
    """Normals a second of the first job's estimators, the bytes that each normal moves, and what memory allows.

    Eager: the sizes of all that each operation reads and writes. Compiled: the normals are written once, and read once
    for the sum over S, and for the score function before that for the sum over D.
    """
    D, S = JOBS[0]
    problem = Quadratic(D).to(device, torch.float32)
    rows = chunk_rows(problem, problem.at("init"), S)
    normals = S * rows * D
    x = torch.empty(normals, device=device)
    floors: dict[str, Call] = {"copy": x.clone, "randn": partial(torch.randn, normals, device=device)}
    calls = floors | _both_ways(ESTIMATORS, problem, rows, S)
    moved = {"copy": 8.0, "randn": 4.0, "score, compiled": 12.0, "reparam, compiled": 8.0}
    moved |= {name: _traffic(call) / normals for name, call in calls.items() if name not in moved}
    for name, seconds in interleaved(calls, device).items():
        job = {"section": "roofline", "name": name, "D": D, "S": S, "chunk_rows": rows, "bytes": moved[name]}
        yield job | {"unit": "numbers a second"} | median_row(normals / seconds)


def _traffic(call: Call) -> int:
    """Bytes that the operations of a call read and write, views left out."""
    counter = _Traffic()
    with counter:
        call()
    return counter.bytes


class _Traffic(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view and "detach" not in func.name():
            operands = [x for x in tree_leaves((args, result)) if isinstance(x, Tensor)]
            self.bytes += sum(x.untyped_storage().nbytes() if 0 in x.stride() else x.nbytes for x in operands)
        return result


def networks(device: str) -> Iterator[Row]:
    """The decoder of a VAE, there and back for all of z and the weights, as a share of the matrix product's rate."""
    n, D, S = 1024, 32, 16
    for options in NETWORKS:
        problem = VAE(D, **options).to(device, torch.float32)
        point = problem.init.to(device, torch.float32)
        rows = chunk_rows(problem, point, S)
        params = point.expand(rows, -1)
        given = problem.q(params).sample((S,)), params
        decoder = partial(_there_and_back, problem.log_likelihood)
        a, b = torch.randn(2, n, n, device=device)
        calls: dict[str, Call] = {
            "product": partial(torch.matmul, a, b),
            "eager": partial(decoder, *given),
            "compiled": partial(fused(decoder, *given), *given),
        }
        seconds = interleaved(calls, device)
        pixels = problem.x.shape[1]
        operations = 3 * 2 * S * rows * options["batch_size"] * options["hidden"] * (D + pixels)
        for way in ("eager", "compiled"):
            share = operations / seconds[way] / (2 * n**3 / seconds["product"])
            name = f"decoder, {options['hidden']} hidden units, {options['batch_size']} images, {way}"
            job = {"section": "networks", "name": name, "D": D, "S": S, "chunk_rows": rows}
            yield job | {"unit": "of the product's rate"} | median_row(share)


def _there_and_back(log_likelihood: Callable[..., Tensor], z: Tensor, params: Tensor) -> tuple[Tensor, ...]:
    z, params = z.detach().requires_grad_(), params.detach().requires_grad_()
    return torch.autograd.grad(log_likelihood(z, params).sum(), (z, params))


def _both_ways(estimators: Mapping[str, Estimator], problem: Problem, rows: int, num_samples: int) -> dict[str, Call]:
    """Each estimator's estimates, as it is and compiled."""
    return {
        f"{name}, {way}": estimates(call, problem, rows, num_samples)
        for name, estimator in estimators.items()
        for way, call in (("eager", estimator), ("compiled", Compiled(estimator)))
    }


def estimates(estimator: Estimator, problem: Problem, rows: int, num_samples: int) -> Call:
    return partial(estimator, problem, leaf(problem.at("init"), rows), num_samples=num_samples)


def _shares(section: str, seconds: dict[str, Array], D: int, S: int, rows: int, sizes: dict[str, int]) -> Iterator[Row]:
    """Two rows a call: its share of the floor, and estimates a second."""
    for name, own in seconds.items():
        job = {"section": section, "name": name, "D": D, "S": S, "chunk_rows": rows}
        yield job | {"unit": "of the floor"} | median_row(seconds["floor"] / rows * sizes[name] / own)
        yield job | {"unit": "estimates a second"} | median_row(sizes[name] / own)


def _agrees(name: str, call: rivals.Call, D: int) -> int:
    """How many estimates a call makes. Raises AssertionError if the mean of sixteen calls is not the exact gradient."""
    estimates = torch.cat([call() for _ in range(16)])
    error = estimates.std(0) / math.sqrt(len(estimates))
    far = float(((estimates.mean(0) - rivals.exact(name, D)) / error).abs().max())
    assert far < AGREE, f"{name} is {far:.1f} standard errors from the exact gradient"
    return len(estimates) // 16
