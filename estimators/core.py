"""What every estimator is made of: a problem, one gradient primitive, and a way to refuse."""

from abc import ABC, abstractmethod
from typing import Annotated, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent


class Unsupported(Exception):
    """An estimator and a problem (or num_samples) that do not fit together; the message says why."""


class Bound(NamedTuple):
    """What an option has to be, as part of its type: `temperature: Annotated[float, Bound(0, above=True)]`."""

    least: float
    above: bool = False

    def check(self, **options: float) -> None:
        """Raise ValueError for an option that is out of bounds."""
        for name, value in options.items():
            if not (value > self.least if self.above else value >= self.least):
                raise ValueError(f"{name}={value}: it must be {'above' if self.above else 'at least'} {self.least:g}")


Positive = Annotated[float, Bound(0, above=True)]
Nonnegative = Annotated[float, Bound(0)]
Count = Annotated[int, Bound(1)]


class Problem(nn.Module, ABC):
    """An objective E_q[f(z)] + known, and the points at which its gradient is measured.

    Shapes: params (R, P) holds R replicates as rows, all at the same point; z (S, R, ...); rows never interact.
    A subclass sets `groups` (name -> slice of the P parameters; together they cover all of them) and `points`
    (names), and keeps its tensors as buffers, so that `problem.to(device, dtype)` moves it.

    blocks: how many leading axes of z's event f is a sum over (1 for the images of a batch, each with a latent vector
    of its own); `factors` then returns these terms.
    """

    groups: dict[str, slice]
    points: tuple[str, ...]
    blocks: int = 0

    @abstractmethod
    def at(self, point: str) -> Tensor:
        """The parameters at a named point, shape (P,)."""

    @abstractmethod
    def q(self, params: Tensor) -> Distribution:
        """The distribution that z is drawn from; batch shape (R,)."""

    @abstractmethod
    def f(self, z: Tensor, q: Distribution, params: Tensor) -> Tensor:
        """The cost at z, shape (S, R). q serves density terms, params the model's own parameters."""

    def factors(self, z: Tensor, q: Distribution, params: Tensor) -> Tensor:
        """The terms of f, (S, R, ...), where each needs one block of z only; they add up to f.

        The axes after R are the first ones of z's event: (S, R, D) for one term a coordinate, (S, R, B) for one a
        latent vector.
        """
        raise Unsupported(f"{type(self).__name__} has a cost that does not factorise over z")

    def known(self, params: Tensor) -> Tensor:
        """The part of the objective that needs no estimate (an analytic KL), shape (R,).

        It is not in f: the harness differentiates it and adds it to every estimate.
        """
        return params.new_zeros(params.shape[0])

    def value(self, params: Tensor) -> Tensor:
        """The exact objective E_q[f(z)] + known, shape (R,); its autograd is the exact gradient."""
        raise Unsupported(f"{type(self).__name__} has no exact objective")


def base_of(q: Distribution) -> Distribution:
    """The distribution of one coordinate, or of all where they are not independent."""
    return q.base_dist if isinstance(q, Independent) else q


def flat(x: Tensor, axes: int = 2) -> Tensor:
    """x with all axes after the first ones as a single one, which may be of size one."""
    return x.reshape(*x.shape[:axes], -1)


def one_hot(index: Tensor, categories: int) -> Tensor:
    """The indices as one-hot booleans, (..., C); torch's own looks at their values, which cannot be compiled."""
    return index[..., None] == torch.arange(categories, device=index.device)


def choice(probs: Tensor, u: Tensor) -> Tensor:
    """The category in whose share of [0, 1) u, (..., 1), is, as one-hot booleans; probs and result (..., C)."""
    ends = probs.detach().to(u.dtype).cumsum(-1)
    return one_hot((u * ends[..., -1:] >= ends[..., :-1]).sum(-1), probs.shape[-1])


def mean_of(q: Distribution) -> Tensor:
    """The mean of q. Raises Unsupported where it has none, or torch does not know it."""
    try:
        if isinstance(base_of(q), Categorical):
            raise NotImplementedError
        return q.mean
    except NotImplementedError as error:
        raise Unsupported(f"needs the mean of q; none is implemented for {type(base_of(q)).__name__}") from error


def grad(y: Tensor, params: Tensor, weight: Tensor | None = None, create_graph: bool = False) -> Tensor:
    """Sample mean of weight x gradient of y with respect to each row of params.

        (1/S) sum_s weight_s grad y_s

    The weight is a constant, as papers write it: no learning signal needs `.detach()`. With `create_graph` the
    result can be differentiated again, through weight too (to train a control variate).

    Args:
        y: broadcasts with weight to (S, R, ...); axes after R are summed.
        params: (R, P).
        weight: as y; 1 if left out.

    Returns:
        (R, P); zero where y does not depend on params.
    """
    if not y.requires_grad:
        return params.new_zeros(params.shape)
    y, weight = torch.broadcast_tensors(y, y.new_ones(()) if weight is None else weight)
    (g,) = torch.autograd.grad(
        y,
        params,
        weight / y.shape[0],
        retain_graph=True,
        create_graph=create_graph,
        allow_unused=True,
        materialize_grads=True,
    )
    return g
