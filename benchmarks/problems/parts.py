"""Parts that problems share: checks, a flat parameter vector's layout, named points, the diagonal Gaussian, images."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from estimators.core import Unsupported

Shapes = Mapping[str, Sequence[int]]

STEPS = {"init": 0.0, "near": 0.9, "optimum": 1.0}


def check_bounds(noise_variance: float = 1.0, **sizes: int) -> None:
    """Raise ValueError for a size below 1 or a noise variance that is not positive."""
    check_at_least(1, **sizes)
    if not noise_variance > 0:
        raise ValueError(f"noise_variance={noise_variance}: it must be positive")


def check_at_least(lowest: float, **values: float) -> None:
    """Raise ValueError for a value below the lowest one allowed (or that is no number)."""
    for name, value in values.items():
        if not value >= lowest:
            raise ValueError(f"{name}={value}: it must be at least {lowest}")


def check_dimension(latent_dim: int, least: int = 1, most: int | None = None) -> None:
    """Raise ValueError for a latent_dim below 1, and Unsupported for one that the problem does not have."""
    check_at_least(1, latent_dim=latent_dim)
    if latent_dim < least:
        raise Unsupported(f"the problem needs latent_dim >= {least}")
    if most is not None and latent_dim > most:
        raise Unsupported(f"the problem has data for latent_dim <= {most} only")


def check_choice(allowed: Iterable[str], **choices: str) -> None:
    """Raise ValueError for a choice that is not among the allowed ones, which it lists."""
    for name, choice in choices.items():
        if choice not in allowed:
            raise ValueError(f"{name}={choice}: choose from {', '.join(allowed)}")


def on_the_way(point: str, init: Tensor, optimum: Callable[[], Tensor]) -> Tensor:
    """A point of STEPS: `init`, `optimum`, or `near`, nine tenths of the way from the one to the other; (P,)."""
    step = STEPS[point]
    return init if step == 0 else init + step * (optimum().to(init) - init)


def flatten(tensors: Mapping[str, Tensor], shapes: Shapes) -> Tensor:
    """Named tensors of the given shapes as one vector (P,), in the order of `shapes`.

    Raises ValueError for a tensor of another shape.
    """
    for name, shape in shapes.items():
        if tuple(tensors[name].shape) != tuple(shape):
            raise ValueError(f"{name} has shape {tuple(tensors[name].shape)}; it must be {tuple(shape)}")
    return torch.cat([tensors[name].reshape(-1) for name in shapes])


def unflatten(params: Tensor, shapes: Shapes) -> dict[str, Tensor]:
    """(R, P) -> name -> (R, *shape)."""
    pieces = params.split([math.prod(shape) for shape in shapes.values()], dim=-1)
    return {
        name: piece.reshape(params.shape[0], *shape)
        for (name, shape), piece in zip(shapes.items(), pieces, strict=True)
    }


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One layer, its weights by row: x (..., R, B, I) or (B, I), weight (R, O, I), bias (R, O) -> (..., R, B, O).

    x may have one row for all.
    """
    by_row = x[None] if x.ndim == 2 else x.movedim(-3, 0)
    by_row = by_row.expand(len(weight), *by_row.shape[1:])
    y = torch.bmm(by_row.flatten(1, -2), weight.mT).add_(bias[:, None])
    return y.view(*by_row.shape[:-1], weight.shape[1]).movedim(0, -3)


def fan_in_normal(shapes: Shapes) -> dict[str, Tensor]:
    """Initial weights, always the same ones: matrices (O, I) Gaussian with variance 1/I, all else zero; float64."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(*shape, generator=generator, dtype=torch.float64) / math.sqrt(shape[1])
        if len(shape) == 2
        else torch.zeros(*shape, dtype=torch.float64)
        for name, shape in shapes.items()
    }


def slices(**sizes: int) -> dict[str, slice]:
    """Consecutive slices of the given sizes: slices(loc=2, log_scale=2) covers 0:2 and 2:4."""
    ends = list(accumulate(sizes.values()))
    return {name: slice(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)}


def climbed(init: Tensor, slope: Callable[[Tensor], Tensor], steps: int, learning_rate: float) -> Tensor:
    """Where steps of Adam up a slope, (1, P) -> (1, P), lead from init, (P,); always with the same random numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        params = init[None].clone().requires_grad_()
        adam = torch.optim.Adam([params], lr=learning_rate, maximize=True)
        for _ in range(steps):
            params.grad = slope(params)
            adam.step()
    return params.detach()[0]


class DiagonalNormal(Independent):
    """Gaussian with independent coordinates, (..., D); the last event_dims axes are one draw: z = loc + scale eps."""

    def __init__(self, loc: Tensor, log_scale: Tensor, event_dims: int) -> None:
        # rows of one leaf are one row in memory, over which exp is slow where they are short
        normal = Normal(loc.contiguous(), log_scale.contiguous().exp(), validate_args=False)
        super().__init__(normal, event_dims, validate_args=False)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Independent:
        shape = torch.Size([*batch_shape, *self.event_shape])
        return Independent(self.base_dist.expand(shape), self.reinterpreted_batch_ndims, validate_args=False)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return (self.base_dist.scale * self._eps(sample_shape)).add_(self.base_dist.loc)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            return torch.addcmul(self.base_dist.loc, self.base_dist.scale, self._eps(sample_shape))

    def _eps(self, sample_shape: Sequence[int]) -> Tensor:
        loc = self.base_dist.loc
        return torch.randn(self._extended_shape(torch.Size(sample_shape)), dtype=loc.dtype, device=loc.device)

    def log_prob(self, value: Tensor) -> Tensor:
        given = value, self.base_dist.loc, self.base_dist.scale, self.reinterpreted_batch_ndims
        return _GaussianLogDensity.apply(*given)[0]  # type: ignore[no-untyped-call]


class _GaussianLogDensity(torch.autograd.Function):
    """log q(z) = -1/2 ||eps||^2 - sum_d (log scale_d + 1/2 log 2 pi), eps = (z - loc) / scale, over the last axes.

        grad_loc = eps / scale,    grad_scale = (eps^2 - 1) / scale,    grad_z = -eps / scale

    By hand it takes half as many passes over z as operation by operation. It can be differentiated twice.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, loc: Tensor, scale: Tensor, event_dims: int) -> tuple[Tensor, Tensor, Tensor]:
        axes = tuple(range(-event_dims, 0))
        inverse = scale.reciprocal()
        eps = (z - loc).mul_(inverse)
        normaliser = (scale.log() + 0.5 * math.log(2 * math.pi)).sum(axes)
        return torch.linalg.vector_norm(eps, dim=axes).square() * -0.5 - normaliser, eps, inverse

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        z, loc, scale, event_dims = inputs
        ctx.ones = [1] * event_dims
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(z, loc, scale, *output[1:])

    @staticmethod
    def backward(ctx: Any, weight: Tensor | None, *_: None) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        if weight is None:
            return None, None, None, None
        z, loc, scale, eps, inverse = ctx.saved_tensors
        if torch.is_grad_enabled():
            inverse = scale.reciprocal()
            eps = (z - loc) * inverse
        weight = weight.reshape(*weight.shape, *ctx.ones)
        g = weight * eps
        grad_z = (g * -inverse).sum_to_size(z.shape) if ctx.needs_input_grad[0] else None
        grad_loc = g.sum_to_size(loc.shape) * inverse
        squares = g * eps if torch.is_grad_enabled() else g.mul_(eps)
        total = weight.sum_to_size(*scale.shape[: scale.ndim - len(ctx.ones)], *ctx.ones)
        return grad_z, grad_loc, (squares.sum_to_size(scale.shape) - total) * inverse, None


# apply reads the signature at each call, which takes it as long as the rest
_GaussianLogDensity.forward.__signature__ = inspect.signature(_GaussianLogDensity.forward)  # type: ignore[attr-defined]


def digits(batch_size: int) -> Tensor:
    """The first images of scikit-learn's 8x8 handwritten digits, (B, 64), float64 in [0, 1].

    Raises ValueError unless 1 <= batch_size <= 1797.
    """
    from sklearn.datasets import load_digits

    images = torch.as_tensor(load_digits().data / 16)
    if not 1 <= batch_size <= len(images):
        raise ValueError(f"batch_size={batch_size}: choose from 1 to {len(images)}")
    return images[:batch_size]
