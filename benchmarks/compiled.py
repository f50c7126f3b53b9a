"""An estimator as one fused graph: its draws, its forward and its backward pass compiled together, once a shape."""

import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.engine import Estimator, seed_generator
from estimators.core import Problem

Graph = Callable[[Tensor], Tensor]

SHARED = {"fallback_random": True, "freezing": True}
OPTIONS: dict[str, dict[str, Any]] = {
    "cpu": {**SHARED, "cpp.enable_floating_point_contract_flag": "fast"},
    "cuda": {**SHARED, "coordinate_descent_tuning": True},
}
SEEDS = (0, 1)
TOLERANCE = 1e-3
ROUNDING_ERRORS = 8
TURNED = 0.01
NARROW = 32


class Compiled:
    """An estimator that runs as a graph of its own for each shape of params, traced through autograd and compiled.

    torch's own generator draws in it, as it does in the estimator: it is ten times as fast on a CPU as the one that
    torch compiles, and a seed gives the same numbers. Every graph is held against the estimator on the same draws;
    where it cannot be made (the estimator looks at a value) or does not agree, the estimator runs as it is.

    seconds: spent on compiling so far. torch keeps graphs on disk: a cell of a shape that was compiled before takes a
        fraction of a second.
    refusals: why a shape runs uncompiled.
    """

    def __init__(self, estimator: Estimator) -> None:
        self.estimator = estimator
        self.graphs: dict[tuple[Problem, tuple[int, ...], int], Graph] = {}
        self.seconds = 0.0
        self.refusals: list[str] = []

    def __call__(self, problem: Problem, params: Tensor, num_samples: int = 1) -> Tensor:
        key = problem, (*params.shape, *params.stride()), num_samples
        if key not in self.graphs:
            start = time.perf_counter()
            self.graphs[key] = self._graph(problem, params.detach(), num_samples)
            self.seconds += time.perf_counter() - start
        return self.graphs[key](params.detach())

    def _graph(self, problem: Problem, params: Tensor, num_samples: int) -> Graph:
        """A compiled graph, or the estimator itself."""

        def estimate(params: Tensor) -> Tensor:
            return self.estimator(problem, params.requires_grad_(), num_samples=num_samples).detach()

        devices = [params.device] if params.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            try:
                graph = fused(estimate, params)
                graph = captured(graph, params) if devices else graph
                agrees = all(_agree(graph, estimate, params, seed) for seed in SEEDS)
            except Exception as error:  # whatever torch's tracer and compiler cannot do
                looks = "_local_scalar_dense" in str(error)
                self.refusals.append("it looks at a value" if looks else str(error).partition("\n")[0])
                return estimate
        if not agrees:
            self.refusals.append("compiled, the same seed gives other numbers")
        return graph if agrees else estimate


def _agree(graph: Graph, estimate: Graph, params: Tensor, seed: int) -> bool:
    """Whether both give the same estimates on the same draws, each coordinate by its own size.

    All but a few rows: rounding may turn a discrete draw.
    """
    found = []
    for call in (graph, estimate):
        seed_generator(params.device, seed)
        found.append(call(params.detach()).double())
    size = found[1].square().mean(0).sqrt()
    rounding = ROUNDING_ERRORS * torch.finfo(params.dtype).eps * size.norm()
    near = ((found[0] - found[1]).abs() <= TOLERANCE * size + rounding).all(1)
    return bool(near.double().mean() >= 1 - TURNED)


def fused(f: Callable[..., Any], *given: Tensor) -> Callable[..., Any]:
    """A function of tensors like those given, autograd and all, as one compiled graph."""
    from torch import _inductor  # a second to import, for those who compile only
    from torch.fx.experimental.proxy_tensor import make_fx

    examples: list[Any] = [x.detach() for x in given]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own code
        traced = make_fx(f)(*examples)
        traced.graph.eliminate_dead_code()
        traced.recompile()
        device = examples[0].device.type
        options = OPTIONS[device]
        if device == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX512" and _narrow(traced):
            options = {**options, "cpp.simdlen": 256}
        with torch.no_grad():
            graph = _inductor.compile(traced, examples, options=options)

    def call(*tensors: Tensor) -> Any:
        with torch.no_grad():
            return graph(*tensors)

    return call


def _narrow(traced: Any) -> bool:
    """Whether most of a trace's numbers stand in rows of NARROW bytes at most, of which the widest vectors hold two."""
    narrow = total = 0
    for node in traced.graph.nodes:
        value = node.meta.get("val")
        if isinstance(value, Tensor) and value.ndim:
            total += value.numel()
            narrow += value.numel() if value.shape[-1] * value.itemsize <= NARROW else 0
    return 2 * narrow > total


def captured(call: Graph, params: Tensor) -> Graph:
    """A call recorded as a CUDA graph and replayed: its kernels start at once, however small they are.

    What it returns is overwritten by the next call.
    """
    rows = 1 if params.stride(0) == 0 else len(params)  # a leaf is one row that only seems to be many
    held, graph = params[:rows].clone(), torch.cuda.CUDAGraph()
    given = held.expand_as(params)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            call(given)
    torch.cuda.current_stream().wait_stream(side)
    with torch.cuda.graph(graph):
        found = call(given)

    def replay(params: Tensor) -> Tensor:
        held.copy_(params[:rows])
        graph.replay()
        return found

    return replay
