"""Replicates are rows: drawing chunks of independent gradients, each from a random stream of its own."""

import ctypes
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256

import torch
from torch import Tensor
from torch.distributions import Distribution

from estimators.core import Problem, grad

Estimator = Callable[..., Tensor]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
CHUNK_ELEMENTS = {"cpu": 2**20, "cuda": 2**28}
CHUNK_ROWS = {"cpu": (1, 4096), "cuda": (64, 2**18)}


def stream(*parts: object) -> int:
    """A 32-bit seed that depends on the text of its parts only; chunk k of a stream uses seed + k.

    torch's CPU generator takes 32 bits, so that counting from one seed, not hashing k too, keeps a cell's chunks
    distinct for certain.
    """
    return int.from_bytes(sha256("|".join(map(str, parts)).encode()).digest()[:4], "big")


def clock_of(device: torch.device) -> Callable[[], float]:
    """What tells the seconds of work: on a CPU the calling thread's own, so that what else is running does not count.

    On a GPU the machine's, once the GPU is done with what it was given.
    """
    if device.type == "cpu":
        return time.thread_time

    def clock() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return clock


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch's operations on the calling thread: sums then do not depend on how many cores there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def keep_memory() -> None:
    """Let this process keep what it frees, where the C library can be told (glibc).

    To give pages back after each chunk, and to get them again, takes a tenth to a fifth of a chunk's time.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda *_: 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_MMAP_THRESHOLD, 2**30)


def leaf(point: Tensor, rows: int) -> Tensor:
    """The point repeated as rows (rows, P) of one leaf, without a copy."""
    return point.detach().expand(rows, -1).requires_grad_()


def seed_generator(device: torch.device, seed: int) -> None:
    """Seed torch's generator of a device, and no other: torch.manual_seed asks every backend, which takes 0.1 ms."""
    generator = torch.cuda.default_generators[device.index or 0] if device.type == "cuda" else torch.default_generator
    generator.manual_seed(seed % 2**32)


def chunk_rows(problem: Problem, point: Tensor, num_samples: int) -> int:
    """Replicates a chunk holds: a power of two that keeps what autograd saves, or the draws, near CHUNK_ELEMENTS.

    On a CPU a chunk then stays near its second-level cache, where an operation takes a third of the time; on a GPU it
    is so large that starting the kernels takes no time. It depends on the problem, num_samples and the kind of device
    only, not on the estimator, the machine or the run's length: so estimators meet the same draws, and a seed gives the
    same numbers everywhere.
    """
    elements = 0

    def count(saved: Tensor) -> Tensor:
        nonlocal elements
        elements += saved.numel()
        return saved

    params = leaf(point, 1)
    with torch.autograd.graph.saved_tensors_hooks(count, lambda saved: saved):
        q = problem.q(params)
        z = (q.rsample if q.has_rsample else q.sample)((num_samples,))
        problem.f(z, q, params)
    elements = 4 * point.numel() + max(elements, 2 * z.numel())  # autograd saves nothing of draws that it cannot pass
    fewest, most = CHUNK_ROWS[point.device.type]
    return min(max(2 ** int(math.log2(max(CHUNK_ELEMENTS[point.device.type] / elements, 1))), fewest), most)


class Chunks:
    """The replicates of one cell: calling it with k gives chunk k, gradients (rows, P) of the whole objective.

    Raises:
        ValueError: the estimator returned something other than a tensor like params.
        FloatingPointError: a gradient is not finite.
    """

    def __init__(
        self, estimator: Estimator, problem: Problem, point: Tensor, num_samples: int, rows: int, seed: int
    ) -> None:
        self.estimator = estimator
        self.problem = problem
        self.point = point
        self.num_samples = num_samples
        self.rows = rows
        self.seed = seed
        params = leaf(point, 1)
        self.known = grad(problem.known(params)[None], params)

    def __call__(self, k: int) -> Tensor:
        seed_generator(self.point.device, self.seed + k)
        params = leaf(self.point, self.rows)
        g = self.estimator(self.problem, params, num_samples=self.num_samples)
        if not isinstance(g, Tensor) or g.shape != params.shape:
            got = f"shape {tuple(g.shape)}" if isinstance(g, Tensor) else type(g).__name__
            raise ValueError(f"the estimator returned {got}; it must return shape {tuple(params.shape)}, like params")
        g = g.detach() + self.known
        if not g.sum().isfinite() and not g.isfinite().all():
            raise FloatingPointError(f"{(~g.isfinite()).any(1).sum()} of {self.rows} gradients are not finite")
        return g


class Wrapped(Problem):
    """A problem that hands everything on to another; a wrapper overrides what it changes."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.problem = problem
        self.groups = problem.groups
        self.points = problem.points
        self.blocks = problem.blocks

    def at(self, point: str) -> Tensor:
        return self.problem.at(point)

    def q(self, params: Tensor) -> Distribution:
        return self.problem.q(params)

    def f(self, z: Tensor, q: Distribution, params: Tensor) -> Tensor:
        return self.problem.f(z, q, params)

    def factors(self, z: Tensor, q: Distribution, params: Tensor) -> Tensor:
        return self.problem.factors(z, q, params)

    def known(self, params: Tensor) -> Tensor:
        return self.problem.known(params)

    def value(self, params: Tensor) -> Tensor:
        return self.problem.value(params)


class Counted(Wrapped):
    """A problem that counts the evaluations of f and the passes of its gradient."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.evaluations = 0
        self.gradient_evaluations = 0

    def f(self, z: Tensor, q: Distribution, params: Tensor) -> Tensor:
        return self._counted(self.problem.f, z, q, params)

    def factors(self, z: Tensor, q: Distribution, params: Tensor) -> Tensor:
        return self._counted(self.problem.factors, z, q, params)

    def _counted(self, f: Callable[..., Tensor], z: Tensor, q: Distribution, params: Tensor) -> Tensor:
        """A pass of the gradient is seen at f or, as those of second derivatives are, where it reaches z; once."""
        seen = z.view_as(z) if z.requires_grad else z
        y = f(seen, q, params)
        count = y.shape[: z.ndim - len(q.event_shape)].numel()
        self.evaluations += count
        passes = set()

        def count_pass(_: Tensor) -> None:
            backward = torch._C._current_graph_task_id()
            self.gradient_evaluations += count if backward not in passes else 0
            passes.add(backward)

        for watched in (seen, y):
            if watched.requires_grad:
                watched.register_hook(count_pass)
        return y


def latent_dim(problem: Problem, point: Tensor) -> int:
    """D, the size of one latent vector: z's first axis after its blocks."""
    event = problem.q(leaf(point, 1)).event_shape
    return event[problem.blocks] if event else 1
