"""Problems with finite outcomes: coordinates, and points in a box of logits, since an optimum lies at infinity."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Categorical, Distribution, Independent, OneHotCategorical
from torch.nn.functional import logsigmoid

from benchmarks.problems.parts import STEPS
from estimators.core import Problem, choice

BOX = 8.0
NEAR = STEPS["near"]


class Cornered(Problem):
    """A problem with the points `init`, `near`, `optimum` (a corner of the box) and `saturated` (a wrong corner).

    init, near, optimum, saturated: (P,) each; `near` is nine tenths of the way in probability, see `near_bits` and
    `near_shares`.
    """

    points = (*STEPS, "saturated")

    def __init__(self, init: Tensor, near: Tensor, optimum: Tensor, saturated: Tensor) -> None:
        super().__init__()
        self.corners = nn.Buffer(torch.stack([init, near, optimum, saturated]).double())

    def at(self, point: str) -> Tensor:
        return dict(zip(self.points, self.corners, strict=True))[point]


def near_bits(init: Tensor, optimum: Tensor) -> Tensor:
    """Logits of bits nine tenths of the way from init to optimum in probability; any shape."""
    return torch.lerp(init.sigmoid(), optimum.sigmoid(), NEAR).logit()


def near_shares(init: Tensor, optimum: Tensor) -> Tensor:
    """As `near_bits`, of categories: logits (..., C)."""
    return torch.lerp(init.softmax(-1), optimum.softmax(-1), NEAR).log()


def signs(chosen: Tensor) -> Tensor:
    """The corner of the box for bits: BOX where chosen (booleans), else -BOX; float64."""
    return BOX * (2 * chosen.double() - 1)


def alternating(size: int) -> Tensor:
    """The corner BOX, -BOX, BOX, ... (size,)."""
    return signs(torch.arange(size) % 2 == 0)


def one_of(chosen: Tensor, categories: int) -> Tensor:
    """The corner with logit BOX for the chosen categories (integers, ...), else 0: (..., C), float64."""
    return BOX * nn.functional.one_hot(chosen, categories).double()


def spaced(middle: float, spread: float, size: int) -> Tensor:
    """Evenly spaced numbers from middle - spread to middle + spread; one number is the middle; (size,), float64."""
    return middle + spread * (torch.linspace(-1, 1, size, dtype=torch.float64) if size > 1 else torch.zeros(1).double())


def bits(logits: Tensor, event_dims: int = 1) -> Independent:
    """Independent Bernoulli coordinates; the last event_dims axes are one draw."""
    return Independent(Bits(logits=logits, validate_args=False), event_dims, validate_args=False)


def one_hots(logits: Tensor, event_dims: int = 1) -> Independent:
    """Independent one-hot coordinates with logits (..., C); the event_dims axes before the last are one draw."""
    return Independent(OneHots(logits), event_dims, validate_args=False)


def normals(*shape: int) -> Tensor:
    """Standard normal numbers, always the same ones; float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Bits(Bernoulli):
    """Bernoulli with draws 1[u < p], u uniform, and a density linear in z; a third of the time of torch's own."""

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        p = self.probs.detach()
        u = torch.rand(self._extended_shape(torch.Size(sample_shape)), dtype=p.dtype, device=p.device)
        return (u < p).to(p)

    def log_prob(self, value: Tensor) -> Tensor:
        return torch.lerp(logsigmoid(-self.logits), logsigmoid(self.logits), value)


class OneHots(OneHotCategorical):
    """One-hot categories with finite logits (..., C), each drawn by the inverse distribution function of a uniform.

    torch's own draws take two to five times as long, and look at values, as its validation does: neither can be
    compiled.
    """

    def __init__(self, logits: Tensor) -> None:
        self._categorical = Categorical(logits=logits, validate_args=False)
        Distribution.__init__(self, logits.shape[:-1], logits.shape[-1:], validate_args=False)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "OneHots":
        return OneHots(self.logits.expand(*batch_shape, *self.event_shape))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        p = self.logits.detach().exp()
        *shape, _ = self._extended_shape(torch.Size(sample_shape))
        return choice(p, torch.rand(*shape, 1, dtype=p.dtype, device=p.device)).to(p)

    def log_prob(self, value: Tensor) -> Tensor:
        return (value * self.logits).sum(-1)
