"""What an estimate costs: seconds, alone and in a full chunk, and the memory of a chunk at its peak."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.benchmark import Timer

from benchmarks.engine import Chunks, leaf
from benchmarks.intervals import LEVEL, Interval

FEWEST_TIMINGS = 9
TIMING_SECONDS = 0.05


@dataclass(frozen=True)
class Costs:
    """Seconds of one estimate, amortised over a full chunk, and alone: (median, low, high); bytes of a chunk."""

    seconds: Interval
    latency: Interval
    peak_memory: int


def cost_of(chunks: Chunks, eager: Chunks) -> Costs:
    """Time a cell's estimates; eager: the same, uncompiled, whose allocations torch shows on a CPU."""
    return Costs(_seconds(chunks, chunks.rows), _seconds(chunks, 1), peak_memory(lambda: eager(0), eager.point.device))


def _seconds(chunks: Chunks, rows: int) -> Interval:
    """Median seconds an estimate takes when `rows` run at once, with its 95 % interval (order statistics)."""
    timer = Timer(
        "estimator(problem, params, num_samples=num_samples)",
        globals={
            "estimator": chunks.estimator,
            "problem": chunks.problem,
            "params": leaf(chunks.point, rows),
            "num_samples": chunks.num_samples,
        },
        num_threads=torch.get_num_threads(),
    )
    times = list(timer.blocked_autorange(min_run_time=TIMING_SECONDS).times)
    while len(times) < FEWEST_TIMINGS:
        times.extend(timer.timeit(1).times)
    ends: Any = stats.quantile_test(times, q=0, p=0.5).confidence_interval(LEVEL)
    return float(np.median(times)) / rows, float(ends.low) / rows, float(ends.high) / rows


def peak_memory(call: Callable[[], Any], device: torch.device) -> int:
    """Bytes of tensors that a call holds at its peak, beyond those that were there before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    with _Allocations() as allocations:
        call()
    return allocations.peak


class _Allocations(TorchDispatchMode):
    """Adds up the storages that operations return, until they are freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.alive:
                    self.alive[storage._cdata] = storage.nbytes()
                    weakref.finalize(storage, self.alive.pop, storage._cdata, None)
        self.peak = max(self.peak, sum(self.alive.values()))
        return result
