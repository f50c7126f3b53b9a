"""The gradient that estimates are compared with: exact where the problem knows it, else a long run."""

import copy
import hashlib
import inspect
import sys
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.cache import cached
from benchmarks.engine import Chunks, Counted, Estimator, chunk_rows, leaf, stream
from benchmarks.moments import BATCHES
from estimators.baselines import leave_one_out
from estimators.core import Problem, Unsupported, grad
from estimators.pathwise import reparam
from estimators.score_function import score, score_local

DRAWS = 2**18
DRAWS_EACH = 64
CANDIDATES: dict[str, Estimator] = {
    "reparam": reparam,
    "score_local": partial(score_local, baseline=leave_one_out),
    "score": partial(score, baseline=leave_one_out),
}


@dataclass(frozen=True)
class Reference:
    """A gradient (P,) in float64 and where it is from.

    batches, (K, P): the means of the K batches whose mean it is, which tell its error; zeros where it is exact.
    """

    gradient: Tensor
    batches: Tensor
    source: str

    @property
    def variance(self) -> Tensor:
        """Squared standard error of each coordinate, (P,)."""
        return self.batches.var(0) / len(self.batches)


def reference_gradient(problem: Problem, point: Tensor) -> Reference:
    """Gradient of the objective at a point (P,), in float64: autograd of `value`, else a long run.

    The run is of the first of CANDIDATES, unbiased estimators, that the problem supports. It takes DRAWS evaluations of
    f on the CPU, and is kept in the cache folder where the problem can be described.

    Raises:
        Unsupported: neither an exact objective nor a candidate that fits.
    """
    problem = copy.deepcopy(problem).double()
    params = leaf(point.double(), 1)
    try:
        gradient = grad(problem.value(params)[None], params)[0]
        return Reference(gradient, gradient.new_zeros(BATCHES, len(gradient)), "exact")
    except Unsupported:
        here, problem = params.detach()[0].cpu(), problem.cpu()
        identity = _identity(problem, here)
        name, num_samples = _candidate(problem, here)
        if identity is None:
            batches = _long_run(problem, here, name, num_samples)
        else:
            parts = ["reference", name, DRAWS, DRAWS_EACH, num_samples, identity]
            batches = cached(parts, lambda: _long_run(problem, here, name, num_samples))
        batches = batches.to(point.device)
        return Reference(batches.mean(0), batches, "reference")


def _candidate(problem: Problem, point: Tensor) -> tuple[str, int]:
    """The first candidate that fits, and how many draws it takes for about DRAWS_EACH evaluations an estimate."""
    reasons = []
    for name, estimator in CANDIDATES.items():
        counted = Counted(problem)
        try:
            with torch.random.fork_rng():
                estimator(counted, leaf(point, 1), num_samples=2)
        except Unsupported as reason:
            reasons.append(str(reason))
        else:
            return name, max(2 * DRAWS_EACH // max(counted.evaluations, 1), 2)
    raise Unsupported(f"no exact objective, and no long run: {'; '.join(reasons)}")


def _long_run(problem: Problem, point: Tensor, name: str, num_samples: int) -> Tensor:
    """Means of BATCHES batches of a candidate's estimates, (K, P)."""
    with torch.random.fork_rng():
        rows = chunk_rows(problem, point, DRAWS_EACH)
        chunks = Chunks(CANDIDATES[name], problem, point, num_samples, rows, stream("reference"))
        each = max(DRAWS // (rows * DRAWS_EACH * BATCHES), 1)
        draws = (torch.stack([chunks(k * each + i).mean(0) for i in range(each)]).mean(0) for k in range(BATCHES))
        return torch.stack(list(draws))


def _identity(problem: Problem, point: Tensor) -> str | None:
    """Hash of what decides the gradient: classes' sources, plain attributes, tensors, the point; None if unknown."""
    described: list[str] = []
    for module in problem.modules():
        plain = {name: value for name, value in vars(module).items() if not name.startswith("_")}
        if not all(_is_plain(value) for value in plain.values()):
            return None
        try:
            ours = [cls for cls in type(module).__mro__ if not cls.__module__.startswith(("torch.", "abc", "builtins"))]
            described += [inspect.getsource(sys.modules[cls.__module__]) for cls in ours]
        except (OSError, TypeError, KeyError):
            return None
        described.append(repr(sorted(plain.items())))
    tensors = {"point": point, **problem.state_dict()}
    digest = hashlib.sha256(repr([described, list(tensors)]).encode())
    for tensor in tensors.values():
        digest.update(tensor.numpy(force=True).tobytes())
    return digest.hexdigest()


def _is_plain(value: object) -> bool:
    """Whether repr tells all about a value."""
    if isinstance(value, dict):
        return all(_is_plain(item) for pair in value.items() for item in pair)
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float | bool | slice)
