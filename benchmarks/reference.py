"""The gradient that estimates are compared with: exact where the problem knows it, else a long run."""

import copy
import hashlib
import inspect
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.cache import cached
from benchmarks.engine import Chunks, chunk_rows, leaf, stream
from benchmarks.moments import Moments
from estimators.core import Problem, Unsupported, grad
from estimators.pathwise import reparam

DRAWS = 2**18
DRAWS_EACH = 64


@dataclass(frozen=True)
class Reference:
    """A gradient (P,) in float64, the standard error of each coordinate (0 if exact), and where it is from."""

    gradient: Tensor
    standard_error: Tensor
    source: str


def reference_gradient(problem: Problem, point: Tensor) -> Reference:
    """Gradient of the objective at a point (P,), in float64: autograd of `value`, else a long pathwise run.

    The run takes DRAWS draws of z, and is kept in the cache folder.

    Raises:
        Unsupported: neither an exact objective nor a q with rsample.
    """
    problem = copy.deepcopy(problem).double()
    params = leaf(point.double(), 1)
    try:
        gradient = grad(problem.value(params)[None], params)[0]
        return Reference(gradient, torch.zeros_like(gradient), "exact")
    except Unsupported:
        parts = ["reference", DRAWS, DRAWS_EACH, *_identity(problem, params)]
        gradient, standard_error = cached(parts, lambda: _long_run(problem, params.detach()[0]))
        return Reference(gradient, standard_error, "reference")


def _long_run(problem: Problem, point: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard error of DRAWS pathwise draws."""
    with torch.random.fork_rng():
        rows = chunk_rows(problem, point, DRAWS_EACH)
        chunks = Chunks(reparam, problem, point, DRAWS_EACH, rows, stream("reference"))
        total = Moments.of(chunks(0))
        for k in range(1, max(DRAWS // (rows * DRAWS_EACH), 2)):
            total = total + Moments.of(chunks(k))
    return total.mean, (total.variance / total.n).sqrt()


def _identity(problem: Problem, params: Tensor) -> list[str]:
    """What decides the gradient: the problem's source, its plain attributes, its tensors, and the point."""
    source = inspect.getsource(inspect.getmodule(type(problem)) or type(problem))
    plain = sorted((name, repr(value)) for name, value in vars(problem).items() if not name.startswith("_"))
    tensors = {"params": params.detach(), **problem.state_dict()}
    digest = hashlib.sha256(repr([source, plain, list(tensors)]).encode())
    for tensor in tensors.values():
        digest.update(tensor.numpy(force=True).tobytes())
    return [type(problem).__qualname__, digest.hexdigest()]
