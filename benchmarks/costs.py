"""What an estimate costs: seconds, alone and in a full chunk, and the memory of a chunk at its peak."""

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from timeit import Timer
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.engine import Chunks, clock_of, leaf
from benchmarks.intervals import Interval, median

ROUNDS = 15
ROUND_SECONDS = 0.002
LONGEST = 0.25


@dataclass(frozen=True)
class Costs:
    """Of one estimate: (median, low, high) of its seconds amortised over a full chunk, of those relative to drawing as
    many normals, and of its seconds alone; bytes that a chunk takes.
    """

    seconds: Interval
    relative: Interval
    latency: Interval
    peak_memory: int


def cost_of(chunks: Chunks, eager: Chunks) -> Costs:
    """Time a cell's estimates; eager: the same, uncompiled, whose allocations torch shows on a CPU.

    A full chunk, as many normals and a single estimate are timed in short turns, so that they meet the machine in one
    state; on a CPU by the thread's own clock, so that what else is running does not count.
    Where a full chunk takes longer than LONGEST seconds, it is a part of one: nothing is left to amortise.
    """
    rows, where, problem, num_samples = chunks.rows, chunks.point, chunks.problem, chunks.num_samples
    size = problem.q(leaf(where, 1)).event_shape.numel() * num_samples

    def timers(rows: int) -> list[Timer]:
        params, one = leaf(where, rows), leaf(where, 1)
        calls: tuple[Callable[[], object], ...] = (
            lambda: chunks.estimator(problem, params, num_samples=num_samples),
            lambda: torch.randn(size * rows, dtype=where.dtype, device=where.device),
            lambda: chunks.estimator(problem, one, num_samples=num_samples),
        )
        return [Timer(call, timer=clock_of(where.device)) for call in calls]

    first = [timer.timeit(1) for timer in timers(rows)]
    if first[0] > LONGEST:
        rows = max(int(rows * LONGEST / first[0]), 1)
    timed = timers(rows)
    counts = [math.ceil(ROUND_SECONDS / timer.timeit(1)) for timer in timed]
    times = [[t.timeit(n) / n for t, n in zip(timed, counts, strict=True)] for _ in range(ROUNDS)]
    chunk, floor, alone = np.array(times).T
    return Costs(
        median(chunk / rows),
        median(chunk / floor),
        median(alone),
        peak_memory(lambda: eager(0), eager.point.device),
    )


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
